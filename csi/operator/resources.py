"""What the operator reads in Kubernetes, as values: StoragePools, Nodes, and the pods of our agents."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from replication.errors import DataLoss
from replication.kubernetes.access import Json

GROUP = "trilith.io"
VERSION = f"{GROUP}/v1alpha1"
STORAGE_POOLS = f"/apis/{VERSION}/storagepools"
DISK_POOLS = f"/apis/{VERSION}/diskpools"
STORAGE_CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
ATTRIBUTES_CLASSES = "/apis/storage.k8s.io/v1/volumeattributesclasses"
NODES = "/api/v1/nodes"

DAEMON_SET, AGENT, AGENT_PORT = "trilith-node", "agent", 7443
GUARD, WAITS = "trilith.io/guard", "trilith.io/waits-for"
UNGUARDED = "trilith.io/unguarded"
ZONE = "topology.kubernetes.io/zone"

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class StoragePool:
    """What a user wants, and what was said of it so far."""

    namespace: str
    name: str
    uid: str
    version: str
    generation: int
    created: float  # seconds since 1970
    deleting: bool
    finalizers: tuple[str, ...]
    replicas: int
    selector: Pairs = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    striped: bool = False
    hyperconverged: bool = False
    tier: str = "standard"
    zones: tuple[str, ...] = ()
    status: Json = field(default_factory=dict, compare=False)

    @property
    def path(self) -> str:
        return f"/apis/{VERSION}/namespaces/{self.namespace}/storagepools/{self.name}"

    @property
    def age(self) -> tuple[float, str, str]:
        """The first pool of a name, or on a disk, is the smallest."""
        return self.created, self.namespace, self.name


@dataclass(frozen=True, slots=True)
class Machine:
    """A Node."""

    name: str
    uid: str
    labels: Pairs
    unschedulable: bool
    taints: frozenset[str]  # keys
    unguarded: bool = False  # somebody said that it may be stopped, whatever is on it

    @property
    def zone(self) -> str:
        return dict(self.labels).get(ZONE, "")


@dataclass(frozen=True, slots=True)
class AgentPod:
    """An agent, by the pod of the DaemonSet that runs it; `address` is empty before it has one."""

    node: str
    address: str  # HOST:PORT
    data_address: str
    image: str
    pull_secrets: tuple[str, ...] = ()
    priority_class: str = ""


@dataclass(frozen=True, slots=True)
class GuardPod:
    """A pod that a drain has to wait for; `ended` when it does so no more, or not every drain does."""

    name: str
    node: str
    ended: bool


@dataclass(frozen=True, slots=True)
class Budget:
    """A PodDisruptionBudget: how many guards of a node have to stay, and for what. No node: not ours."""

    name: str
    node: str
    least: int
    waits: str
    uid: str = ""
    unhealthy: str = ""  # its unhealthyPodEvictionPolicy


def parse_storage_pool(found: Json) -> StoragePool:
    """As the API server's schema lets it be."""
    metadata, spec = found["metadata"], found.get("spec") or {}
    disks = spec.get("disks") or {}
    return StoragePool(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        version=metadata["resourceVersion"],
        generation=metadata.get("generation", 0),
        created=_parse_time(metadata["creationTimestamp"]),
        deleting="deletionTimestamp" in metadata,
        finalizers=tuple(metadata.get("finalizers") or ()),
        replicas=spec.get("replicas", 3),
        selector=_pairs(spec.get("nodeSelector")),
        include=tuple(disks.get("include") or ()),
        exclude=tuple(disks.get("exclude") or ()),
        striped=bool(disks.get("striped")),
        hyperconverged=bool(spec.get("hyperconverged")),
        tier=spec.get("tier", "standard"),
        zones=tuple(spec.get("zones") or ()),
        status=found.get("status") or {},
    )


def parse_machine(found: Json) -> Machine:
    metadata, spec = found["metadata"], found.get("spec") or {}
    return Machine(
        name=metadata["name"],
        uid=metadata["uid"],
        labels=_pairs(metadata.get("labels")),
        unschedulable=bool(spec.get("unschedulable")),
        taints=frozenset(taint["key"] for taint in spec.get("taints") or ()),
        unguarded=(metadata.get("annotations") or {}).get(UNGUARDED) == "true",
    )


def parse_pod(found: Json) -> AgentPod | GuardPod | None:
    """None for another's."""
    metadata, spec = found["metadata"], found["spec"]
    if GUARD in (metadata.get("labels") or {}):
        phase = (found.get("status") or {}).get("phase", "")
        over = "deletionTimestamp" in metadata or phase in {"Failed", "Succeeded"}
        return GuardPod(metadata["name"], spec.get("nodeName", ""), over or _is_of_a_node(metadata))
    return parse_agent_pod(found)


def _is_of_a_node(metadata: Json) -> bool:
    """As an earlier release made guards: Karpenter takes such pods for static ones, and drains past them."""
    return any(owner["kind"] == "Node" for owner in metadata.get("ownerReferences") or ())


def parse_budget(found: Json) -> Budget:
    metadata = found["metadata"]
    owners = metadata.get("ownerReferences") or ()
    ours = GUARD in (metadata.get("labels") or {})
    node = next((owner["name"] for owner in owners if owner["kind"] == "Node" and ours), "")
    spec = found.get("spec") or {}
    least, unhealthy = spec.get("minAvailable"), spec.get("unhealthyPodEvictionPolicy", "")
    waits = (metadata.get("annotations") or {}).get(WAITS, "")
    uid = metadata.get("uid", "")
    number = least if isinstance(least, int) else -1
    return Budget(metadata["name"], node, number, waits, uid, unhealthy)


def parse_agent_pod(found: Json) -> AgentPod | None:
    """None for a pod that is no agent, or is on its way out."""
    metadata, spec = found["metadata"], found["spec"]
    owners = metadata.get("ownerReferences") or ()
    ours = any(owner["kind"] == "DaemonSet" and owner["name"] == DAEMON_SET for owner in owners)
    container = next((each for each in spec["containers"] if each["name"] == AGENT), None)
    if not ours or container is None or "deletionTimestamp" in metadata or not spec.get("nodeName"):
        return None
    ip = _find_ipv4(found.get("status") or {})
    port = _find_port(container.get("ports") or ())
    secrets = tuple(each["name"] for each in spec.get("imagePullSecrets") or ())
    address, priority = f"{ip}:{port}" if ip else "", spec.get("priorityClassName", "")
    return AgentPod(spec["nodeName"], address, ip, container["image"], secrets, priority)


def parse_object(found: Json) -> Json:
    """What is compared as it is, without what only the server cares for."""
    metadata = {key: value for key, value in found["metadata"].items() if key != "managedFields"}
    return {**found, "metadata": metadata}


def _find_ipv4(status: Json) -> str:
    """NVMe/TCP is reached over IPv4."""
    known = [status.get("podIP", ""), *(each["ip"] for each in status.get("podIPs") or ())]
    return next((ip for ip in known if "." in ip), "")


def _find_port(ports: Iterable[Mapping[str, object]]) -> int:
    """The one called after the container, else the first, else the usual."""
    numbers = {str(each.get("name", "")): int(str(each["containerPort"])) for each in ports}
    return numbers.get(AGENT, next(iter(numbers.values()), AGENT_PORT))


def _pairs(plain: Mapping[str, str] | None) -> Pairs:
    return tuple(sorted((plain or {}).items()))


def _parse_time(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError as error:
        raise DataLoss(f"{text!r} is no time") from error
