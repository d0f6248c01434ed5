"""Trilith as users install it: helm, the image of deploy/Dockerfile, a StoragePool, a pod.

It has a cluster of its own, which is gone before the other tests' is made.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.helm.chart import NAMESPACE
from hack.kubernetes.cluster import KubernetesCluster, make_machines
from hack.kubernetes.installation import Installation, archives
from hack.lab.paths import REPOSITORY
from replication.kernel.run import run
from replication.kubernetes.access import read_kubeconfig
from replication.kubernetes.client import Client
from tests.cluster.conftest import POOL, STORAGE_CLASS, keep_evidence
from tests.cluster.pods import PATH, Cluster, ephemeral, is_so, make_pod


@pytest.fixture(scope="module")
def installed(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with (
        make_machines(*archives()) as machines,
        keep_evidence(request.session, machines),
        KubernetesCluster(machines) as kubernetes,
    ):
        Installation(kubernetes).install()
        client = Client(read_kubeconfig(kubernetes.plane.admin_kubeconfig))
        yield Cluster(client, kubernetes.kubectl)
        client.close()


def test_a_pod_has_a_volume_of_a_pool_that_was_applied(installed: Cluster) -> None:
    pool = {"apiVersion": "trilith.io/v1alpha1", "kind": "StoragePool", "spec": {"replicas": 3}}
    installed.apply({**pool, "metadata": {"name": POOL, "namespace": NAMESPACE}})
    installed.wait(lambda: is_pool_ready(installed), "the pool ready")
    installed.apply(make_pod("one", ephemeral(STORAGE_CLASS)))
    installed.wait_for_condition("one")
    installed.run("one", f"echo hello > {PATH}/file && sync")
    assert installed.run("one", f"cat {PATH}/file") == "hello\n"
    installed.clean()
    installed.wait(lambda: installed.list("volumes") == [], "no volume")


def test_the_administrators_command_runs_in_a_controllers_pod(
    installed: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kubectl").symlink_to(installed.kubectl.program)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("KUBECONFIG", str(installed.kubectl.kubeconfig))
    plugin = str(REPOSITORY / "deploy/kubectl-trilith")
    nodes = json.loads(run((plugin, "--output", "json", "node", "list"), timeout=120))
    assert {node["name"] for node in nodes} == {"m1", "m2", "m3"}
    assert all(node["kernel"] for node in nodes), "the agents answered"


def is_pool_ready(cluster: Cluster) -> bool:
    found = cluster.kubectl.find("storagepools", POOL, "--namespace", NAMESPACE)
    return found is not None and is_so(found, "Ready")
