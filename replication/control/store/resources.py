"""Records as objects of Kubernetes, and back: deploy/crds says what each of them looks like."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import Any, Generic, TypeVar

from replication.control.cordons import Cordon
from replication.control.settings import Settings
from replication.control.store.codec import from_plain, to_plain
from replication.errors import DataLoss
from replication.kubernetes.access import Json
from replication.model import Node, Pool, Versioned, Volume

API_VERSION = "trilith.io/v1alpha1"
FINALIZER = "trilith.io/record"  # a record is not lost because somebody deletes its object
_ROOT = f"/apis/{API_VERSION}"
_LONGEST = 200
_OBJECT_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_HASHED = "sha256-"

Named = TypeVar("Named", Node, Pool, Cordon, Settings)


@dataclass(frozen=True, slots=True)
class Resource(Generic[Named]):
    """Where records of one kind are kept, each in an object of its own."""

    kind: str
    plural: str
    record: type[Named]
    word: str  # for people
    name_of: Callable[[str], str]  # the object's, for a record's name

    @property
    def path(self) -> str:
        return f"{_ROOT}/{self.plural}"

    def to_object(self, item: Named) -> Json:
        return _object(self.kind, self.name_of(item.name), to_spec(item))

    def parse(self, found: Json) -> Named:
        """DataLoss when it is not one."""
        what = f"{self.word} {found['metadata']['name']} in Kubernetes"
        return from_spec(self.record, found.get("spec"), what)


CLUSTERS = f"{_ROOT}/clusterrecords"
CLUSTER_NAME = "trilith"
VOLUMES = f"{_ROOT}/volumes"
VOLUME_NAMES = f"{_ROOT}/volumenames"


def is_object_name(name: str) -> bool:
    return len(name) <= _LONGEST and _OBJECT_NAME.fullmatch(name) is not None


def object_name(name: str) -> str:
    """The name itself where Kubernetes takes it, else its hash; never the same for two names."""
    if is_object_name(name) and not name.startswith(_HASHED):
        return name
    return f"{_HASHED}{sha256(name.encode(errors='surrogatepass')).hexdigest()}"


def _settings_name(pool: str) -> str:
    return f"pool.{object_name(pool)}" if pool else "cluster"


NODES = Resource("NodeRecord", "noderecords", Node, "node", object_name)
POOLS = Resource("PoolRecord", "poolrecords", Pool, "pool", object_name)
CORDONS = Resource("CordonRecord", "cordonrecords", Cordon, "cordon", object_name)
SETTINGS = Resource("SettingsRecord", "settingsrecords", Settings, "settings", _settings_name)


def cluster_object(cluster: str, namespace: str, number: int) -> Json:
    """`number` is the records' format."""
    spec = {"cluster": cluster, "lockNamespace": namespace, "format": number}
    return _object("ClusterRecord", CLUSTER_NAME, spec)


def volume_object(volume: Volume, version: int) -> Json:
    made = _object("Volume", volume.id, volume_spec(volume, version))
    made["metadata"]["finalizers"] = [FINALIZER]
    return made


def volume_spec(volume: Volume, version: int) -> Json:
    spec = to_spec(volume)
    del spec["id"]  # the object's name
    return {"version": version, **spec}


def parse_volume(found: Json) -> Versioned:
    """DataLoss when it is none."""
    volume_id = found["metadata"]["name"]
    what = f"record of volume {volume_id} in Kubernetes"
    spec = dict(found.get("spec") or {})
    version = spec.pop("version", None)
    if not isinstance(version, int):
        raise DataLoss(f"{what} is damaged: it has no version")
    return Versioned(from_spec(Volume, {"id": volume_id, **spec}, what), version)


def volume_name_object(volume: Volume, uid: str) -> Json:
    """It goes with its volume: Kubernetes collects what has lost its owner."""
    made = _object("VolumeName", object_name(volume.name), {"name": volume.name, "volume": volume.id})
    owner = {"apiVersion": API_VERSION, "kind": "Volume", "name": volume.id, "uid": uid}
    made["metadata"]["ownerReferences"] = [owner]
    return made


def _object(kind: str, name: str, spec: Json) -> Json:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


Record = TypeVar("Record")


def to_spec(record: object) -> Json:
    """Names as Kubernetes writes them; what is None is not there; pairs by name where they have one."""
    spec: Json = _to_camel(to_plain(record))
    for field, (write, _) in _PAIRS.items():
        if field in spec:
            spec[field] = write(spec[field])
    return spec


def from_spec(kind: type[Record], spec: object, what: str) -> Record:
    """DataLoss, naming `what`, unless it is a `kind`."""
    if not isinstance(spec, dict):
        raise DataLoss(f"{what} is damaged: it has no spec")
    try:
        read = {field: read(spec[field]) for field, (_, read) in _PAIRS.items() if field in spec}
    except (AttributeError, KeyError, TypeError) as error:
        raise DataLoss(f"{what} is damaged: {error!r}") from error
    return from_plain(kind, _to_snake({**spec, **read}), what)


Convert = Callable[[Any], Any]


def _read_map(pairs: dict[str, str]) -> list[list[str]]:
    return [list(pair) for pair in sorted(pairs.items())]


def _write_disks(disks: list[list[str]]) -> list[dict[str, str]]:
    return [{"node": node, "path": path} for node, path in disks]


def _read_disks(disks: list[dict[str, str]]) -> list[list[str]]:
    return [[disk["node"], disk["path"]] for disk in disks]


_PAIRS: dict[str, tuple[Convert, Convert]] = {
    "parameters": (dict, _read_map),
    "labels": (dict, _read_map),
    "disks": (_write_disks, _read_disks),
}
"""Fields that are tuples of pairs, which no schema can describe: how each is written, and read."""


def _to_camel(plain: Any) -> Any:  # noqa: ANN401 - whatever json knows
    if isinstance(plain, dict):
        return {_camel(name): _to_camel(value) for name, value in plain.items() if value is not None}
    return [_to_camel(item) for item in plain] if isinstance(plain, list) else plain


def _to_snake(spec: Any) -> Any:  # noqa: ANN401
    if isinstance(spec, dict):
        return {_snake(name): _to_snake(value) for name, value in spec.items()}
    return [_to_snake(item) for item in spec] if isinstance(spec, list) else spec


@cache
def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


@cache
def _snake(name: str) -> str:
    return re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", name)
