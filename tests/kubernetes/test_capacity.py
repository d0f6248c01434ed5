"""How much room there is, as the scheduler is told: csi-provisioner asks our Controller service for it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from csi.identity import NAME
from csi.topology import CLUSTER_KEY, NODE_KEY
from hack.golang import ensure_program
from hack.helm.chart import render
from hack.kubernetes.arguments import controller_manager_argv, scheduler_argv
from hack.kubernetes.build import CONTROLLER_MANAGER, PROVISIONER, SCHEDULER
from hack.kubernetes.plane import ControlPlane
from replication.clock import wait_until
from replication.control.volumes import VolumeRequest
from replication.errors import NotFound
from replication.kubernetes.access import Json
from replication.kubernetes.client import Client
from replication.model import GIB
from tests.fakes.node import FakeNode
from tests.kubernetes.conftest import NAMESPACE
from tests.kubernetes.controllers import Replica, running
from tests.kubernetes.machines import NODES, PODS, Machines, machines_of
from tests.kubernetes.patience import CLOCK, wait_for
from tests.kubernetes.test_operator_pools import EVENTS, make_pool, wait_for_condition

pytestmark = pytest.mark.more  # csi-provisioner and the scheduler are not among what `make e2e` builds

CAPACITIES = f"/apis/storage.k8s.io/v1/namespaces/{NAMESPACE}/csistoragecapacities"
CLAIMS = f"/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims"
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
CSI_NODES, DRIVERS = "/apis/storage.k8s.io/v1/csinodes", "/apis/storage.k8s.io/v1/csidrivers"
FRESH_SECONDS = 10.0
POOLED, BARE = ("m1", "m2", "m3"), "m4"
REPLICATED, LOCAL = "trilith-nvme", "local"


@dataclass
class Stand:
    """A pool over three of four machines, with a class of three replicas and one of one."""

    plane: ControlPlane
    admin: Client
    machines: Machines
    replica: Replica
    folder: Path

    def open(self) -> None:
        driver = {"attachRequired": True, "storageCapacity": True}
        self.admin.create(DRIVERS, {"kind": "CSIDriver", "metadata": {"name": NAME}, "spec": driver})
        for name in (*POOLED, BARE):
            self._register(name)
        make_pool(self.admin, nodeSelector={"pooled": "true"})
        wait_for_condition(self.admin, {"status": "True"})
        local = {"provisioner": NAME, "parameters": {"pool": "nvme", "replicas": "1"}}
        binding = {"volumeBindingMode": "WaitForFirstConsumer"}
        self.admin.create(CLASSES, {"metadata": {"name": LOCAL}, **local, **binding})

    def _register(self, name: str) -> None:
        """As kubelet does for a node on which the driver runs."""
        place = {NODE_KEY: name, CLUSTER_KEY: self.machines.fakes.name}
        labels = {**place, **({"pooled": "true"} if name in POOLED else {})}
        node = {"name": NAME, "nodeID": name, "topologyKeys": list(place)}
        self.admin.create(CSI_NODES, {"metadata": {"name": name}, "spec": {"drivers": [node]}})
        for key, value in labels.items():
            self.machines.change(name, f"/metadata/labels/{key.replace('/', '~1')}", value)
        self.machines.change(name, "/spec/taints", None)
        room = {"cpu": "4", "memory": "8Gi", "pods": "110"}
        status = {"capacity": room, "allocatable": room, "conditions": [{"type": "Ready", "status": "True"}]}
        self.admin.patch(f"{NODES}/{name}/status", [{"op": "add", "path": "/status", "value": status}])

    def node(self, name: str) -> FakeNode:
        return self.machines.fakes.node(name)

    def read(self, class_name: str) -> dict[str, int]:
        """Bytes by node: the largest volume of this class that a pod there can have."""
        found: list[Json] = self.admin.get(CAPACITIES)["items"]
        return {
            each["nodeTopology"]["matchLabels"][NODE_KEY]: to_bytes(each["maximumVolumeSize"])
            for each in found
            if each["storageClassName"] == class_name
        }

    def measure(self, name: str, change: Callable[[], object], told: Callable[[], bool]) -> None:
        """From the change until the objects say so."""
        change()
        began = CLOCK.now()
        wait_until(told, name, timeout=60, clock=CLOCK)
        took = CLOCK.now() - began
        print(f"figure: {name} value={took:.2f} unit=s goal=<={FRESH_SECONDS:g}")
        assert took <= FRESH_SECONDS

    def close(self) -> None:
        for path in (CAPACITIES, CLAIMS, CLASSES, CSI_NODES, DRIVERS):
            for found in self.admin.get(path)["items"]:
                target = f"{path}/{found['metadata']['name']}"
                with suppress(NotFound):
                    if found["metadata"].get("finalizers"):
                        self.admin.patch(target, [{"op": "remove", "path": "/metadata/finalizers"}])
                    self.admin.delete(target)


def to_bytes(quantity: str) -> int:
    units = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": GIB}
    number, unit = (quantity[:-2], quantity[-2:]) if quantity[-2:] in units else (quantity, "")
    return int(number) * units.get(unit, 1)


def provisioner_argv(plane: ControlPlane, socket: Path) -> list[str]:
    """As the chart has it, without what needs a pod of its own."""
    containers = (
        each["spec"]["template"]["spec"]["containers"] for each in render() if each["kind"] == "Deployment"
    )
    (args,) = (each["args"] for found in containers for each in found if each["name"] == "csi-provisioner")
    needs_pod = ("--leader-election", "--csi-address", "--capacity-ownerref-level")
    kept = [word for word in args if not word.startswith(needs_pod)]
    ours = [f"--csi-address={socket}", f"--kubeconfig={plane.admin_kubeconfig}"]
    binary = str(ensure_program(PROVISIONER))
    return ["env", f"NAMESPACE={NAMESPACE}", binary, *kept, *ours, "--capacity-ownerref-level=-1"]


@contextmanager
def program(plane: ControlPlane, name: str, argv: list[str]) -> Iterator[None]:
    daemon = plane.daemon(name, argv)
    daemon.start()
    try:
        yield
    finally:
        daemon.end()


@pytest.fixture
def stand(plane: ControlPlane, admin: Client, tmp_path: Path) -> Iterator[Stand]:
    socket = tmp_path / "csi.sock"
    with (
        machines_of(admin, [*POOLED, BARE]) as machines,
        running(plane, machines.fakes, socket) as replica,
    ):
        wait_until(lambda: replica.controller.leads, "a leader", timeout=60, clock=CLOCK)
        opened = Stand(plane, admin, machines, replica, tmp_path)
        try:
            opened.open()
            with program(plane, "csi-provisioner", provisioner_argv(plane, socket)):
                wait_for(lambda: len(opened.read(REPLICATED)) == len(opened.read(LOCAL)) == 4, True)
                yield opened
        finally:
            opened.close()


def test_it_is_told_within_10_seconds_of_a_change(stand: Stand) -> None:
    whole = stand.read(REPLICATED)
    assert len(set(whole.values())) == 1
    assert whole[BARE] > 90 * GIB  # it has no disk, and reaches all others
    local = stand.read(LOCAL)
    assert {name for name, size in local.items() if size > 90 * GIB} == set(POOLED)
    assert local[BARE] == 0

    volumes = stand.replica.control.volumes
    stand.measure(
        "capacity-after-a-volume",
        lambda: volumes.create(VolumeRequest("data", 10 * GIB, "nvme")),
        lambda: all(0 < size <= whole[BARE] - 10 * GIB for size in stand.read(REPLICATED).values()),
    )
    stand.measure(
        "capacity-of-a-full-node",
        lambda: setattr(stand.node("m1"), "reserved_bytes", 100 * GIB),
        lambda: stand.read(LOCAL)["m1"] == 0,
    )
    assert stand.read(LOCAL)["m2"] > 0
    assert set(stand.read(REPLICATED).values()) == {0}  # two nodes are not enough for three replicas
    stand.measure(
        "capacity-of-a-node-with-room-again",
        lambda: setattr(stand.node("m1"), "reserved_bytes", 0),
        lambda: min(stand.read(LOCAL)["m1"], *stand.read(REPLICATED).values()) > 0,
    )


@contextmanager
def scheduling(plane: ControlPlane) -> Iterator[None]:
    kubeconfig = plane.kubeconfig("system:kube-scheduler")
    argv = scheduler_argv(ensure_program(SCHEDULER), plane.folder, kubeconfig)
    with program(plane, "kube-scheduler", [*argv, "--secure-port=0"]):
        yield


@contextmanager
def binding(plane: ControlPlane) -> Iterator[None]:
    """Of all that a controller manager does, what has to do with claims."""
    kubeconfig = plane.kubeconfig("system:kube-controller-manager")
    argv = controller_manager_argv(ensure_program(CONTROLLER_MANAGER), plane.folder, kubeconfig)
    words = ("--controllers=persistentvolume-binder-controller", "--secure-port=0")
    with program(plane, "binder", [*argv, *words]):
        yield


def test_the_scheduler_waits_while_a_pool_is_full(stand: Stand) -> None:
    for name in POOLED:
        stand.node(name).reserved_bytes = 100 * GIB
    wait_for(lambda: set(stand.read(REPLICATED).values()), {0})
    with scheduling(stand.plane):
        make_pod(stand.admin, "shop")
        words = "did not have enough free storage"
        wait_until(lambda: words in read_verdict(stand.admin, "shop"), words, timeout=60, clock=CLOCK)
        assert find_choice(stand.admin, "shop") is None
        for name in POOLED:
            stand.node(name).reserved_bytes = 0
        wait_until(lambda: bool(find_choice(stand.admin, "shop")), "a choice", timeout=90, clock=CLOCK)


def test_a_pod_goes_past_a_full_node_that_it_prefers(stand: Stand) -> None:
    stand.node("m1").reserved_bytes = 100 * GIB
    wait_for(lambda: stand.read(LOCAL)["m1"], 0)
    with scheduling(stand.plane), binding(stand.plane):
        make_pod(stand.admin, "shop", LOCAL, prefers="m1")
        wait_until(lambda: bool(find_node(stand.admin, "shop")), "placed", timeout=90, clock=CLOCK)
    (volume,) = stand.replica.control.volumes.list()
    assert [each.node for each in volume.replicas] == [find_node(stand.admin, "shop")]
    assert "ProvisioningFailed" not in {each["reason"] for each in stand.admin.get(EVENTS)["items"]}


def make_pod(admin: Client, name: str, class_name: str = REPLICATED, prefers: str = "") -> None:
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": class_name,
        "resources": {"requests": {"storage": "1Gi"}},
    }
    admin.create(CLAIMS, {"metadata": {"name": name}, "spec": spec})
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": name}}
    expression = {"key": NODE_KEY, "operator": "In", "values": [prefers]}
    term = {"weight": 100, "preference": {"matchExpressions": [expression]}}
    pod = {
        "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [term]}},
        "serviceAccountName": "trilith-node",
        "automountServiceAccountToken": False,
        "containers": [{"name": "main", "image": "none"}],
        "volumes": [volume],
    }
    admin.create(PODS, {"metadata": {"name": name}, "spec": pod})


def read_verdict(admin: Client, pod: str) -> str:
    """What the scheduler says of it."""
    conditions = admin.get(f"{PODS}/{pod}")["status"].get("conditions", [])
    return next((each.get("message", "") for each in conditions if each["type"] == "PodScheduled"), "")


def find_node(admin: Client, pod: str) -> str:
    """Where it is to run, once its volume is bound; "" before that."""
    return str(admin.get(f"{PODS}/{pod}")["spec"].get("nodeName", ""))


def find_choice(admin: Client, claim: str) -> str | None:
    """The node for which the scheduler has asked csi-provisioner to make the volume."""
    notes: dict[str, str] = admin.get(f"{CLAIMS}/{claim}")["metadata"].get("annotations") or {}
    return notes.get("volume.kubernetes.io/selected-node")
