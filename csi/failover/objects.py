"""What Kubernetes says of nodes and of the volumes attached to them, as values."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from csi.failover.deciding import Pod
from csi.identity import NAME
from replication.kubernetes.access import Json

NODES = "/api/v1/nodes"
PODS = "/api/v1/pods"
VOLUMES = "/api/v1/persistentvolumes"
CLAIMS = "/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}"
ATTACHMENTS = "/apis/storage.k8s.io/v1/volumeattachments"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"

TAINT = "trilith.io/failed-over"
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
OURS = "trilith"  # value of both taints: an administrator's own is left alone
OVER = {"Succeeded", "Failed"}  # such pods hold no volumes
CLAIMED = frozenset({"persistentVolumeClaim", "ephemeral"})  # volumes of a pod that are claims
HARMLESS = frozenset(
    {"emptyDir", "configMap", "secret", "projected", "downwardAPI", "hostPath", "image", "gitRepo"}
)
"""Volumes of a pod that are gone with it, or its node's own: nobody elsewhere has the same."""

UNIQUE_NAME = f"kubernetes.io/csi/{NAME}^"  # of our volumes, in the status of nodes


@dataclass(frozen=True, slots=True)
class KubernetesNode:
    """A Node, as far as it matters here."""

    name: str
    ready: bool
    taints: frozenset[tuple[str, str]] = frozenset()  # key, value
    in_use: frozenset[str] = frozenset()  # ids of our volumes

    @property
    def marked(self) -> bool:
        return (TAINT, OURS) in self.taints

    @property
    def out_of_service(self) -> bool:
        return any(key == OUT_OF_SERVICE for key, _ in self.taints)


@dataclass(frozen=True, slots=True)
class Resident:
    """A pod of a node, whatever it uses."""

    pod: Pod
    others: bool  # it names a volume itself that others may use elsewhere


@dataclass(frozen=True, slots=True)
class Attached:
    """A VolumeAttachment."""

    node: str
    ours: bool
    volume: str = ""  # the PersistentVolume's name
    done: bool = False  # its status says that it is attached


@dataclass(frozen=True, slots=True)
class Lease:
    """A kubelet's."""

    renewed: str  # as it is written: it changes with each renewal
    ends: float  # wall clock
    seconds: float  # that it lasts without a renewal


def parse_node(found: Json) -> KubernetesNode:
    status, spec = found.get("status") or {}, found.get("spec") or {}
    conditions = status.get("conditions") or ()
    return KubernetesNode(
        name=found["metadata"]["name"],
        ready=any((each["type"], each["status"]) == ("Ready", "True") for each in conditions),
        taints=frozenset((each["key"], each.get("value", "")) for each in spec.get("taints") or ()),
        in_use=frozenset(
            name.removeprefix(UNIQUE_NAME)
            for name in status.get("volumesInUse") or ()
            if name.startswith(UNIQUE_NAME)
        ),
    )


def is_our_taint(taint: Json) -> bool:
    return taint["key"] in {TAINT, OUT_OF_SERVICE} and taint.get("value") == OURS


def parse_attachment(found: Json) -> Attached:
    spec, status = found["spec"], found.get("status") or {}
    return Attached(
        node=spec["nodeName"],
        ours=spec["attacher"] == NAME,
        volume=spec["source"].get("persistentVolumeName") or "",
        done=status.get("attached") is True,
    )


def parse_lease(found: Json) -> Lease | None:
    """None when it has never been renewed, or lasts for no time."""
    spec = found.get("spec") or {}
    renewed, seconds = spec.get("renewTime"), spec.get("leaseDurationSeconds")
    if not renewed or not seconds:
        return None
    return Lease(renewed, datetime.fromisoformat(renewed).timestamp() + seconds, seconds)


def parse_resident(found: Json) -> Resident:
    metadata = found["metadata"]
    claims = frozenset(_list_claims(metadata["name"], found["spec"]))
    pod = Pod(metadata["namespace"], metadata["name"], metadata["uid"], claims)
    volumes = found["spec"].get("volumes") or ()
    return Resident(pod, others=not all(_is_claimed_or_harmless(each) for each in volumes))


def is_harmless_persistent(spec: Json) -> bool:
    """Of a PersistentVolume: ours, which is fenced, or bound to its node."""
    return _is_by_us(spec) or "local" in spec or "hostPath" in spec


def find_handle(spec: Json) -> str:
    """Of a PersistentVolume, if it is ours; else ""."""
    return str(spec["csi"]["volumeHandle"]) if _is_by_us(spec) else ""


def _is_claimed_or_harmless(volume: Json) -> bool:
    return volume.keys() - {"name"} <= CLAIMED | HARMLESS or _is_by_us(volume)


def _is_by_us(source: Json) -> bool:
    return bool((source.get("csi") or {}).get("driver") == NAME)


def _list_claims(pod: str, spec: Json) -> Iterator[str]:
    """The claim of a generic ephemeral volume is called by its pod and the volume."""
    for volume in spec.get("volumes") or ():
        if volume.get("persistentVolumeClaim"):
            yield volume["persistentVolumeClaim"]["claimName"]
        elif volume.get("ephemeral"):
            yield f"{pod}-{volume['name']}"
