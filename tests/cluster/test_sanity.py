"""csi-sanity on a node of the cluster, against the controller and the node plugin that run there."""

import pytest

from csi.claims import NAME, NAMESPACE
from hack.helm import chart
from hack.sanity.build import ensure_csi_sanity
from hack.sanity.suite import Wish, run_inside
from tests.cluster.pods import POOL, Cluster, Json, make_claim
from tests.lab.sanity.test_sanity import MOST_SKIPS

NODE_SOCKET = "/var/lib/kubelet/plugins/csi.trilith.io/csi.sock"


@pytest.mark.more
def test_every_spec_passes_where_a_controller_runs(cluster: Cluster) -> None:
    cluster.apply(make_claim("sanity", "none"))
    pod = find_controller(cluster)
    folder = f"/var/lib/kubelet/pods/{pod['metadata']['uid']}/volumes/kubernetes.io~empty-dir/socket"
    machine = cluster.machines[pod["spec"]["nodeName"]]
    outcome = run_inside(
        ensure_csi_sanity(),
        machine,
        (NODE_SOCKET, f"{folder}/csi.sock"),
        POOL,
        Wish("mount", 3),
        {NAME: "sanity", NAMESPACE: "default"},
    )
    print(f"{len(outcome.passed)} passed in {outcome.seconds:.0f} s: {dict(outcome.reasons())}")
    assert [(spec.name, spec.why) for spec in outcome.failed] == []
    assert set(outcome.reasons()) <= MOST_SKIPS


def find_controller(cluster: Cluster) -> Json:
    words = ("--namespace", chart.NAMESPACE, "--selector", "app.kubernetes.io/component=controller")
    return cluster.kubectl.get("pods", *words)[0]
