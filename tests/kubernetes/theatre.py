"""Kubernetes' own controllers, scheduler and csi-attacher over machines that are fakes.

What decides is all real: StatefulSets, taint eviction, pod garbage collection, attach-detach, the scheduler,
csi-attacher and our Controller service. Machines behave as in tests/fakes; a thread does for each of them
what a kubelet would write.
"""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from csi.controller import register_controller
from csi.endpoint import UnixEndpoint
from csi.failover.objects import ATTACHMENTS, LEASES, NODES, UNIQUE_NAME, VOLUMES
from csi.identity import NAME
from csi.server import serve
from csi.topology import NODE_KEY
from hack.golang import ensure_program
from hack.kubernetes.arguments import controller_manager_argv, scheduler_argv
from hack.kubernetes.build import ATTACHER, CONTROLLER_MANAGER, SCHEDULER
from hack.kubernetes.plane import ControlPlane
from replication.clock import SystemClock, wait_until
from replication.control.control import Control, build_control
from replication.control.store.memory import MemoryStore
from replication.control.volumes import VolumeRequest
from replication.errors import NotFound, TrilithError
from replication.kubernetes.access import Json, read_kubeconfig
from replication.kubernetes.client import Client
from replication.model import GIB, Volume
from replication.pki import Identity
from tests.fakes.node import FakeCluster

SHOP = "shop"
PODS = f"/api/v1/namespaces/{SHOP}/pods"
NAMES = ("a", "b", "c")
INTERVAL = 0.3
SECONDS = 120.0


class Theatre:
    """Nodes that are Ready, and whatever runs on them."""

    def __init__(self, plane: ControlPlane, admin: Client, names: tuple[str, ...]) -> None:
        self.plane, self.admin, self.clock, self.names = plane, admin, SystemClock(), names
        self.fakes = FakeCluster(list(names))
        self.control: Control = build_control(MemoryStore(self.fakes.name), self.fakes.connect, self.clock)
        self.fakes.add_to(self.control, replica_count=3)
        self.lease_seconds = 40
        self._alive = set(names)
        self._stop = threading.Event()
        self._kubelets = threading.Thread(target=self._run_kubelets)

    def open(self) -> None:
        self.admin.create("/api/v1/namespaces", {"kind": "Namespace", "metadata": {"name": SHOP}})
        driver = {"kind": "CSIDriver", "metadata": {"name": NAME}, "spec": {"attachRequired": True}}
        self.admin.create("/apis/storage.k8s.io/v1/csidrivers", driver)
        for name in self.names:
            self._make_node(name)
        self._kubelets.start()
        wait_until(self._has_account, "the account of pods", timeout=60, clock=self.clock)

    def _has_account(self) -> bool:
        """The controller manager makes it, and no pod can be made before."""
        try:
            self.admin.get(f"/api/v1/namespaces/{SHOP}/serviceaccounts/default")
        except NotFound:
            return False
        return True

    def close(self) -> None:
        self._stop.set()
        self._kubelets.join()

    def run(self, name: str, claim: str) -> Volume:
        """A StatefulSet of one pod, with a volume of three replicas; once it runs."""
        volume = self.make_claim(claim)
        template = {
            "metadata": {"labels": {"app": name}},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [{"name": "main", "image": "none"}],
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}],
            },
        }
        spec = {"selector": {"matchLabels": {"app": name}}, "serviceName": name, "template": template}
        wanted = {"kind": "StatefulSet", "metadata": {"name": name}, "spec": spec}
        self.admin.create(f"/apis/apps/v1/namespaces/{SHOP}/statefulsets", wanted)
        self.wait_running(f"{name}-0", set(self.names))
        return volume

    def wait_running(self, pod: str, nodes: set[str], seconds: float = SECONDS) -> None:
        what = f"{pod} running on {' or '.join(sorted(nodes))}"
        wait_until(lambda: self.find_node(pod) in nodes, what, timeout=seconds, clock=self.clock)

    def find_node(self, pod: str) -> str:
        """Where it runs, or "" when it does not."""
        try:
            found = self.admin.get(f"{PODS}/{pod}")
        except NotFound:
            return ""
        running = found["status"].get("phase") == "Running" and "deletionTimestamp" not in found["metadata"]
        return str(found["spec"].get("nodeName", "")) if running else ""

    def kill(self, node: str) -> None:
        """Its power goes."""
        self.fakes.node(node).silent = True
        self._alive.discard(node)

    def revive(self, node: str) -> None:
        self.fakes.node(node).boot()
        self._alive.add(node)

    def read_taints(self, node: str) -> set[str]:
        return {taint["key"] for taint in self.admin.get(f"{NODES}/{node}")["spec"].get("taints", [])}

    def _make_node(self, name: str) -> None:
        managed = {"volumes.kubernetes.io/controller-managed-attach-detach": "true"}
        labels = {"kubernetes.io/hostname": name, NODE_KEY: name}
        metadata = {"name": name, "annotations": managed, "labels": labels}
        self.admin.create(NODES, {"kind": "Node", "metadata": metadata})
        room = {"cpu": "4", "memory": "8Gi", "pods": "110"}
        status = {"capacity": room, "allocatable": room, "conditions": [_ready()]}
        self.admin.patch(f"{NODES}/{name}/status", [{"op": "add", "path": "/status", "value": status}])
        drivers = [{"name": NAME, "nodeID": name, "topologyKeys": []}]
        node = {"kind": "CSINode", "metadata": {"name": name}, "spec": {"drivers": drivers}}
        self.admin.create("/apis/storage.k8s.io/v1/csinodes", node)
        spec = {"holderIdentity": name, "leaseDurationSeconds": self.lease_seconds, "renewTime": _now()}
        self.admin.create(LEASES, {"kind": "Lease", "metadata": {"name": name}, "spec": spec})

    def make_claim(self, name: str, class_name: str = "", nodes: tuple[str, ...] = ()) -> Volume:
        """And its volume, of three replicas, on `nodes` if there is a choice."""
        volume = self.control.volumes.create(
            VolumeRequest(f"pvc-{name}", GIB, "nvme", 3, preferred_nodes=nodes)
        )
        self._bind(name, class_name, volume)
        return volume

    def _bind(self, name: str, class_name: str, volume: Volume) -> None:
        size = {"storage": "1Gi"}
        common: Json = {"accessModes": ["ReadWriteOnce"], "storageClassName": class_name}
        kept = {"capacity": size, "claimRef": {"namespace": SHOP, "name": name}}
        source = {"csi": {"driver": NAME, "volumeHandle": volume.id}}
        spec = {**common, **kept, **source}
        made = {"kind": "PersistentVolume", "metadata": {"name": volume.name}, "spec": spec}
        self.admin.create(VOLUMES, made)
        wanted = {**common, "resources": {"requests": size}, "volumeName": volume.name}
        claim = {"kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": wanted}
        self.admin.create(f"/api/v1/namespaces/{SHOP}/persistentvolumeclaims", claim)

    def _run_kubelets(self) -> None:
        while not self._stop.wait(INTERVAL):
            pods = self.admin.get(PODS)["items"]
            attached = self._list_attached()
            for node in sorted(self._alive):
                own = [pod for pod in pods if pod["spec"].get("nodeName") == node]
                with suppress(TrilithError):  # an object changed meanwhile: the next round sees it
                    self._act(node, own, attached.get(node, set()))

    def _act(self, node: str, pods: list[Json], attached: set[str]) -> None:
        """One round of a kubelet: the Lease, what is in use, pods that begin and end."""
        self._patch(f"{LEASES}/{node}", "/spec/renewTime", _now())
        wanted = {name for pod in pods for name in self._names_of(pod)}
        found = self.admin.get(f"{NODES}/{node}")["status"]
        if set(found.get("volumesInUse", [])) != wanted:
            self._patch(f"{NODES}/{node}/status", "/status/volumesInUse", sorted(wanted))
        if not any(each["type"] == "Ready" and each["status"] == "True" for each in found["conditions"]):
            self._patch(f"{NODES}/{node}/status", "/status/conditions", [_ready()])
        for pod in pods:
            path = f"{PODS}/{pod['metadata']['name']}"
            if "deletionTimestamp" in pod["metadata"]:
                self.admin.delete(path, grace_seconds=0)
            elif pod["status"]["phase"] == "Pending" and self._names_of(pod) <= attached:
                self._patch(f"{path}/status", "/status/conditions", [_ready()])
                self._patch(f"{path}/status", "/status/phase", "Running")

    def _patch(self, path: str, field: str, value: object) -> None:
        self.admin.patch(path, [{"op": "add", "path": field, "value": value}])

    def _names_of(self, pod: Json) -> set[str]:
        """Of its volumes, as a node's status has them."""
        claims = [
            each["persistentVolumeClaim"]
            for each in pod["spec"]["volumes"]
            if "persistentVolumeClaim" in each
        ]
        found = (self.control.volumes.find(f"pvc-{claim['claimName']}") for claim in claims)
        return {f"{UNIQUE_NAME}{volume.id}" for volume in found if volume is not None}

    def _list_attached(self) -> dict[str, set[str]]:
        """By node."""
        there: dict[str, set[str]] = {}
        for found in self.admin.get(ATTACHMENTS)["items"]:
            volume = self.control.volumes.find(found["spec"]["source"]["persistentVolumeName"])
            if volume is not None and found["status"]["attached"]:
                there.setdefault(found["spec"]["nodeName"], set()).add(f"{UNIQUE_NAME}{volume.id}")
        return there


def _ready() -> Json:
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"type": "Ready", "status": "True", "reason": "Test", "message": "", "lastTransitionTime": stamp}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@contextmanager
def playing(folder: Path, names: tuple[str, ...] = NAMES) -> Iterator[Theatre]:
    """With everything that a cluster decides by."""
    with ExitStack() as stack:
        plane = stack.enter_context(ControlPlane())
        for program, user, argv in (
            (CONTROLLER_MANAGER, "system:kube-controller-manager", controller_manager_argv),
            (SCHEDULER, "system:kube-scheduler", scheduler_argv),
        ):
            words = argv(ensure_program(program), plane.folder, plane.kubeconfig(user))
            plane.daemon(program.name, [*words, "--secure-port=0"]).start()
        admin = Client(read_kubeconfig(plane.admin_kubeconfig))
        stack.callback(admin.close)
        theatre = Theatre(plane, admin, names)
        server = serve(
            partial(register_controller, theatre.control), UnixEndpoint(folder / "csi.sock"), _no_identity
        )
        stack.callback(server.stop, 0)
        attacher = [str(ensure_program(ATTACHER)), f"--csi-address={folder / 'csi.sock'}"]
        plane.daemon("csi-attacher", [*attacher, f"--kubeconfig={plane.admin_kubeconfig}"]).start()
        stack.callback(theatre.close)
        theatre.open()
        yield theatre


def _no_identity() -> Identity:
    raise AssertionError("a UNIX socket needs no certificate")
