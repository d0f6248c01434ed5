"""Nodes that behave, as Kubernetes sees them: objects, kubelets' Leases, what is attached."""

import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from csi.failover.objects import ATTACHMENTS, LEASES, NODES, UNIQUE_NAME, VOLUMES
from csi.identity import NAME
from replication.clock import SystemClock
from replication.control.control import Control, build_control
from replication.control.volumes import VolumeRequest
from replication.errors import AlreadyExists, NotFound
from replication.kubernetes.access import Json
from replication.kubernetes.client import Client
from replication.model import GIB, Volume
from tests.fakes.behind import StoreBehind
from tests.fakes.node import FakeCluster

SHOP = "shop"
SHOP_PODS = f"/api/v1/namespaces/{SHOP}/pods"
SHOP_CLAIMS = f"/api/v1/namespaces/{SHOP}/persistentvolumeclaims"
LEASE_SECONDS = 2


@dataclass
class Stand:
    """A cluster of fake machines with real objects in Kubernetes."""

    admin: Client
    fakes: FakeCluster
    control: Control

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.fakes.nodes)

    def __post_init__(self) -> None:
        self.fakes.add_to(self.control)
        for name in self.names:
            self.admin.create(NODES, {"kind": "Node", "metadata": {"name": name}})
            self.admin.patch(f"{NODES}/{name}", [{"op": "add", "path": "/spec/taints", "value": []}])
            self.tell(name)
            self.renew(name)

    def tell(self, node: str, *in_use: str, ready: str = "True") -> None:
        """The node's status, as its kubelet writes it."""
        condition = {"type": "Ready", "status": ready, "reason": "Test", "message": ""}
        path = f"{NODES}/{node}/status"
        status: Json = {"conditions": [condition], "volumesInUse": list(in_use)}
        self.admin.patch(path, [{"op": "add", "path": "/status", "value": status}])

    def renew(self, node: str, seconds: int = LEASE_SECONDS) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": node, "leaseDurationSeconds": seconds, "renewTime": now}
        try:
            step = {"op": "replace", "path": "/spec", "value": spec}
            self.admin.patch(f"{LEASES}/{node}", [step])
        except NotFound:
            self.admin.create(LEASES, {"kind": "Lease", "metadata": {"name": node}, "spec": spec})

    def attach(self, claim: str, node: str, replicas: int = 3) -> Volume:
        """A volume with its claim, as provisioner, controllers and kubelet leave it."""
        volume = self.make_volume(claim, node, replicas)
        self.control.volumes.attach(volume.id, node)
        self.make_attachment(f"pvc-{claim}", node, NAME)
        return volume

    def make_volume(self, claim: str, node: str, replicas: int = 3) -> Volume:
        """With its claim, attached nowhere."""
        request = VolumeRequest(f"pvc-{claim}", GIB, "nvme", replicas, preferred_nodes=(node,))
        volume = self.control.volumes.create(request)
        spec: Json = {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "claimRef": {"namespace": SHOP, "name": claim},
            "csi": {"driver": NAME, "volumeHandle": volume.id},
        }
        name = f"pvc-{claim}"
        self.admin.create(VOLUMES, {"kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec})
        return volume

    def make_attachment(self, volume: str, node: str, driver: str, *, done: bool = True) -> None:
        name = f"csi-{volume}"
        wanted = {
            "kind": "VolumeAttachment",
            "metadata": {"name": name},
            "spec": {"attacher": driver, "nodeName": node, "source": {"persistentVolumeName": volume}},
        }
        self.admin.create(ATTACHMENTS, wanted)
        told = {"op": "add", "path": "/status", "value": {"attached": done}}
        self.admin.patch(f"{ATTACHMENTS}/{name}/status", [told])

    def make_claim(self, name: str, source: Json) -> None:
        """Bound to a volume of its name that is not ours."""
        spec: Json = {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "",
            "capacity": {"storage": "1Gi"},
            "claimRef": {"namespace": SHOP, "name": name},
            **source,
        }
        if "local" in source:
            spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": [{"matchExpressions": [_here("a")]}]}}
        self.admin.create(VOLUMES, {"kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec})
        self.bind_claim(name, name)

    def bind_claim(self, name: str, volume: str) -> None:
        spec: Json = {"accessModes": ["ReadWriteOnce"], "storageClassName": "", "volumeName": volume}
        spec["resources"] = {"requests": {"storage": "1Gi"}}
        claim = {"kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}
        self.admin.create(SHOP_CLAIMS, claim)

    def run_pod(self, name: str, node: str, *claims: str, inline: Json | None = None) -> None:
        """With these claims, and a volume that it names itself."""
        volumes = [{"name": claim, "persistentVolumeClaim": {"claimName": claim}} for claim in claims]
        volumes += [{"name": "inline", **inline}] if inline else []
        spec = {"nodeName": node, "containers": [{"name": "main", "image": "none"}], "volumes": volumes}
        self.admin.create(SHOP_PODS, {"kind": "Pod", "metadata": {"name": name}, "spec": spec})
        told = {"op": "add", "path": "/status/phase", "value": "Running"}
        self.admin.patch(f"{SHOP_PODS}/{name}/status", [told])

    def list_pods(self) -> dict[str, bool]:
        """By name; whether each is being deleted."""
        found = self.admin.get(SHOP_PODS)["items"]
        return {pod["metadata"]["name"]: "deletionTimestamp" in pod["metadata"] for pod in found}

    def read_taints(self, node: str) -> set[str]:
        taints = self.admin.get(f"{NODES}/{node}")["spec"].get("taints", [])
        return {f"{taint['key']}={taint.get('value', '')}:{taint['effect']}" for taint in taints}

    def read_in_use(self, node: str) -> list[str]:
        found: list[str] = self.admin.get(f"{NODES}/{node}")["status"].get("volumesInUse", [])
        return found

    def list_events(self, node: str) -> list[str]:
        """Kinds, the oldest first."""
        return [event.kind for event in reversed(self.control.events.list(node))]


class Kubelets:
    """Leases of `alive` nodes are renewed until the end."""

    def __init__(self, stand: Stand, interval: float = 0.5) -> None:
        self.alive = set(stand.names)
        self._stand = stand
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Kubelets":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            for node in sorted(self.alive):
                self._stand.renew(node)


def _here(node: str) -> Json:
    return {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}


def make_stand(admin: Client) -> Stand:
    """Records are in memory: what is written to Kubernetes is what the fail-over writes."""
    fakes = FakeCluster(["a", "b", "c"])
    return Stand(admin, fakes, build_control(StoreBehind(fakes.name), fakes.connect, SystemClock()))


def unique(volume: Volume) -> str:
    return f"{UNIQUE_NAME}{volume.id}"


def make_namespace(admin: Client) -> None:
    """And its account, which nobody makes here."""
    for path, name, kind in (
        ("/api/v1/namespaces", SHOP, "Namespace"),
        (f"/api/v1/namespaces/{SHOP}/serviceaccounts", "default", "ServiceAccount"),
    ):
        try:
            admin.create(path, {"kind": kind, "metadata": {"name": name}})
        except AlreadyExists:
            continue


def remove_all(admin: Client) -> None:
    for path in (SHOP_PODS, SHOP_CLAIMS, ATTACHMENTS, VOLUMES, LEASES, NODES):
        for found in admin.get(path)["items"]:
            with suppress(NotFound):
                _remove(admin, f"{path}/{found['metadata']['name']}", found)


def _remove(admin: Client, path: str, found: Json) -> None:
    if found["metadata"].get("finalizers"):
        admin.patch(path, [{"op": "remove", "path": "/metadata/finalizers"}])
    admin.delete(path, grace_seconds=0)
