"""What the chart gives is what a real API server takes, and what it must not be asked for is refused."""

from itertools import product

import pytest

from csi.server import CALLS
from hack.helm.chart import NAMESPACE, lint, render
from hack.kubernetes.manifests import path_of
from hack.lab.errors import LabError
from replication.kubernetes.access import Json
from replication.kubernetes.client import Client
from tests.kubernetes.patience import patiently
from tests.kubernetes.rights import Right, list_rights

LEADERS = "--csi-address=/csi/leader.sock"
MONITORS = {"PodMonitor", "PrometheusRule"}  # kinds of the Prometheus operator

INSTALLATIONS = {
    "as it comes": (),
    "one controller": ("controller.replicas=1",),
    "another kubelet": ("kubeletDir=/var/lib/k0s/kubelet",),
    "another registry": (
        "image.repository=registry.example.org/trilith",
        f"image.digest=sha256:{'0' * 64}",
        "image.pullSecrets[0].name=key",
    ),
    "told more": ("logging.verbose=true", "claims=Never", "failover.enabled=false"),
    "a tenth at once": ("node.maxUnavailable=10%", "failover.confirm=peers"),
    "watched": ("monitoring.rules.enabled=true", "monitoring.podMonitor.enabled=true"),
    "to be removed": ("uninstall.removeEverything=true",),
}

REFUSED = {
    "claims=Sometimes": "claims",
    "failover.confirm=nobody": "confirm",
    "kubeletDir=var/lib/kubelet": "kubeletDir",
    "controller.replicas=0": "replicas",
    "controller.nodeGraceSeconds=0": "nodeGraceSeconds",
    "controller.nodeGraceSeconds=5m": "nodeGraceSeconds",
    "node.maxUnavailable=0": "maxUnavailable",
    "node.ports.agent=70000": "agent",
    "image.repository=": "repository",
    "image.digest=sha256:abc": "digest",
    "sidecars.attacher.image=csi-attacher": "image",
    "sidecars.provisioner.capacityPollInterval=soon": "capacityPollInterval",
    "imgae.tag=1": "imgae",
    "controller.resources.request.cpu=1": "request",
}


def test_helm_finds_nothing_to_say_against_it() -> None:
    assert "0 chart(s) failed" in lint()


@pytest.mark.parametrize("name", INSTALLATIONS)
def test_the_api_server_takes_all_of_it(admin: Client, name: str) -> None:
    for document in render(*INSTALLATIONS[name]):
        if document["kind"] not in MONITORS:
            try_out(admin, document)


@pytest.mark.parametrize(("setting", "named"), REFUSED.items())
def test_a_value_that_makes_no_sense_is_refused_by_its_name(setting: str, named: str) -> None:
    with pytest.raises(LabError, match=named):
        render(setting)


def test_without_fail_over_a_node_that_was_given_up_can_still_be_taken_back() -> None:
    rules = {setting: list_failover_rules(setting) for setting in ("true", "false")}
    assert rules["true"]
    assert rules["false"] == rules["true"]


def list_failover_rules(enabled: str) -> list[Json]:
    found = render(f"failover.enabled={enabled}")
    roles = [each for each in found if each["metadata"]["name"] == "trilith-failover"]
    return [role.get("rules") or role["subjects"] for role in roles]


def test_sidecars_leave_room_for_a_probe() -> None:
    """Provisioner and resizer have two queues each, with as many workers for either."""
    args = {
        each["name"]: dict(split(arg) for arg in each.get("args", ())) for each in list_containers(render())
    }
    workers = (
        2 * int(args["csi-provisioner"]["--worker-threads"])
        + int(args["csi-attacher"]["--worker-threads"])
        + 2 * int(args["csi-resizer"]["--workers"])
    )
    assert 50 < workers <= CALLS - 8


def test_sidecars_of_before_can_go_on_with_their_elections_during_an_upgrade() -> None:
    """helm changes rules first: without that they would end, and nobody attach until others begin."""
    names = ("csi-trilith-io", "external-attacher-leader-csi-trilith-io", "external-resizer-csi-trilith-io")
    rights = list_rights(render(), "trilith-control")
    for verb, name in product(("get", "create", "update"), names):
        asked = Right(verb, "coordination.k8s.io", "leases", NAMESPACE, name)
        assert any(right.covers(asked) for right in rights), asked


@pytest.mark.parametrize("name", ["csi-provisioner", "csi-attacher", "csi-resizer"])
def test_sidecars_ask_where_only_the_leader_is_ready_and_have_no_elections(name: str) -> None:
    """With elections besides, those of two replicas could each wait for the other."""
    (sidecar,) = (each for each in list_containers(render()) if each["name"] == name)
    (controller,) = (each for each in list_containers(render()) if each["name"] == "controller")
    assert LEADERS in sidecar["args"]
    assert "--sidecars=unix:///csi/leader.sock" in controller["args"]
    assert [arg for arg in sidecar["args"] if arg.startswith("--leader-election")] == []


def test_the_alert_counts_as_many_sidecars_as_there_are() -> None:
    sidecars = [each for each in list_containers(render()) if LEADERS in each.get("args", ())]
    (rules,) = (each for each in render("monitoring.rules.enabled=true") if each["kind"] == "PrometheusRule")
    alerts = {each["alert"]: each["expr"] for each in rules["spec"]["groups"][0]["rules"]}
    assert alerts["TrilithSidecarsMissing"] == f"trilith_sidecars < {len(sidecars)}"


def test_every_replica_is_asked_whether_it_lives() -> None:
    """On the other socket whoever does not lead is not ready, and would be started again and again."""
    probes = [each for each in list_containers(render()) if each["name"] == "livenessprobe"]
    assert len(probes) == 2, "of controllers and of nodes"
    assert all("--csi-address=/csi/csi.sock" in probe["args"] for probe in probes)


def split(arg: str) -> tuple[str, str]:
    name, _, value = arg.partition("=")
    return name, value


def test_every_image_is_pinned() -> None:
    images = {each["image"] for each in list_containers(render())}
    assert len(images) == 6
    assert [image for image in images if image.endswith(":latest") or ":" not in image] == []


def test_only_two_containers_are_privileged() -> None:
    containers = list_containers(render())
    assert {each["name"] for each in containers if is_privileged(each)} == {"check", "agent"}
    confined = [each["securityContext"] for each in containers if not is_privileged(each)]
    assert confined
    assert all(
        each["readOnlyRootFilesystem"] and each["capabilities"] == {"drop": ["ALL"]} for each in confined
    )


def test_controllers_are_nobody_and_nodes_hold_a_token_only_where_they_ask() -> None:
    found = {
        each["kind"]: each["spec"]["template"]["spec"]
        for each in render()
        if "template" in each.get("spec", {})
    }
    assert found["Deployment"]["securityContext"]["runAsUser"] == 65532
    assert found["DaemonSet"]["automountServiceAccountToken"] is False
    asking = [
        each["name"]
        for each in [*found["DaemonSet"]["initContainers"], *found["DaemonSet"]["containers"]]
        if any(mount["name"] == "account" for mount in each["volumeMounts"])
    ]
    assert asking == ["identity", "csi"]


def test_nodes_without_a_kernel_of_their_own_get_no_agent() -> None:
    (spec,) = (each["spec"]["template"]["spec"] for each in render() if each["kind"] == "DaemonSet")
    required = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    (term,) = required["nodeSelectorTerms"]
    assert {each["key"]: (each["operator"], each["values"]) for each in term["matchExpressions"]} == {
        "type": ("NotIn", ["virtual-kubelet"]),
        "eks.amazonaws.com/compute-type": ("NotIn", ["fargate"]),
    }


def test_how_long_a_node_may_be_away_is_the_installations_to_say() -> None:
    for settings, wanted in (((), "300"), (("controller.nodeGraceSeconds=45",), "45")):
        (controller,) = (each for each in list_containers(render(*settings)) if each["name"] == "controller")
        assert f"--node-grace={wanted}" in controller["args"]


def test_the_kubelets_folder_is_mounted_where_the_kubelet_has_it() -> None:
    (spec,) = (
        each["spec"]["template"]["spec"] for each in render("kubeletDir=/k") if each["kind"] == "DaemonSet"
    )
    (agent,) = (each for each in spec["containers"] if each["name"] == "agent")
    assert {"name": "kubelet", "mountPath": "/k", "mountPropagation": "Bidirectional"} in agent[
        "volumeMounts"
    ]
    hosts = [volume["hostPath"]["path"] for volume in spec["volumes"] if "hostPath" in volume]
    assert {"/k", "/k/plugins/csi.trilith.io", "/k/plugins_registry"} <= set(hosts)


def try_out(admin: Client, document: Json) -> None:
    path = path_of(document)
    patiently(lambda: admin.apply(path, document, dryRun="All", fieldValidation="Strict"))


def list_containers(documents: list[Json]) -> list[Json]:
    specs = [each["spec"]["template"]["spec"] for each in documents if "template" in each.get("spec", {})]
    return [each for spec in specs for each in [*spec.get("initContainers", []), *spec["containers"]]]


def is_privileged(container: Json) -> bool:
    return bool(container["securityContext"].get("privileged"))
