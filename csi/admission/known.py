"""What admission knows of classes, pools and disk pools: from watches, so that an answer waits for nobody."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from csi.identity import NAME
from replication.clock import Clock
from replication.errors import DataLoss, Unavailable
from replication.kubernetes.access import Json
from replication.kubernetes.client import Client
from replication.kubernetes.watched import Watched

CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
DISK_POOLS = "/apis/trilith.io/v1alpha1/diskpools"
DEFAULT = "storageclass.kubernetes.io/is-default-class"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KnownClass:
    """A StorageClass, as far as it matters here."""

    name: str
    ours: bool
    pool: str = ""
    hyperconverged: bool | None = None  # None: as the pool says
    default_since: str = ""  # when it was made, if it is the default of claims that name none


@dataclass(frozen=True, slots=True)
class KnownPool:
    """A StoragePool."""

    name: str
    hyperconverged: bool


@dataclass(frozen=True, slots=True)
class KnownDiskPool:
    """What a pool has on one node, as last told."""

    pool: str
    node: str
    ready: bool
    room_bytes: int  # now, or once old bytes are wiped


class Known:
    """Unavailable while a watch is away for longer than it takes to come back."""

    def __init__(self, client: Client, namespace: str, clock: Clock) -> None:
        """Of pools in `namespace`: elsewhere there are none."""
        self._namespace = namespace
        pools = f"/apis/trilith.io/v1alpha1/namespaces/{namespace}/storagepools"
        self._classes = Watched(client, CLASSES, parse_class, clock)
        self._pools = Watched(client, pools, parse_pool, clock)
        self._disk_pools = Watched(client, DISK_POOLS, parse_disk_pool, clock)

    def start(self) -> None:
        """Watch from now on; whoever asks first need not wait for it."""
        for watched in (self._classes, self._pools, self._disk_pools):
            try:
                watched.list()
            except Unavailable as error:
                log.warning("admission: %s", error)

    def close(self) -> None:
        for watched in (self._classes, self._pools, self._disk_pools):
            watched.close()

    def find_class(self, name: str) -> KnownClass | None:
        found = self._classes.find(name)
        return found.get() if found else None

    def find_default_class(self) -> KnownClass | None:
        return choose_default(entry.get() for entry in self._classes.list())

    def find_pool(self, name: str) -> KnownPool | None:
        found = self._pools.find(f"{self._namespace}/{name}")
        return found.get() if found else None

    def list_disk_pools(self) -> tuple[KnownDiskPool, ...]:
        return tuple(entry.get() for entry in self._disk_pools.list())


def choose_default(classes: Iterable[KnownClass]) -> KnownClass | None:
    """Of several defaults the newest, as Kubernetes has it; of equally new ones the first by name."""
    marked = sorted((each for each in classes if each.default_since), key=lambda each: each.name)
    return max(marked, key=lambda each: each.default_since, default=None)


def parse_class(found: Json) -> KnownClass:
    metadata, parameters = found["metadata"], found.get("parameters") or {}
    default = (metadata.get("annotations") or {}).get(DEFAULT) == "true"
    said = parameters.get("hyperconverged")
    return KnownClass(
        name=metadata["name"],
        ours=found["provisioner"] == NAME,
        pool=parameters.get("pool", ""),
        hyperconverged=None if said is None else said == "true",
        default_since=metadata["creationTimestamp"] if default else "",
    )


def parse_pool(found: Json) -> KnownPool:
    spec = found.get("spec") or {}
    return KnownPool(found["metadata"]["name"], spec.get("hyperconverged") is True)


def parse_disk_pool(found: Json) -> KnownDiskPool:
    """DataLoss when it is none: the schema leaves no other way."""
    try:
        spec, status = found["spec"], found.get("status") or {}
        return KnownDiskPool(
            pool=spec["pool"],
            node=spec["node"],
            ready=any(_is_ready(condition) for condition in status.get("conditions") or ()),
            room_bytes=status.get("available", 0) + status.get("reserved", 0),
        )
    except (KeyError, TypeError) as error:
        raise DataLoss(f"DiskPool {found['metadata']['name']}: {error!r}") from error


def _is_ready(condition: Json) -> bool:
    return (condition["type"], condition["status"]) == ("Ready", "True")
