"""The StorageClass of each pool, and a VolumeAttributesClass for each tier: made, put right, taken away.

Most of a class cannot be changed once it is there, so that what differs is deleted and made anew. Volumes do
not notice: they keep what they were made with.
"""

import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from csi.identity import NAME as DRIVER
from csi.operator.conditions import READY, Condition
from csi.operator.refusals import apart
from csi.operator.resources import ATTRIBUTES_CLASSES, STORAGE_CLASSES, StoragePool
from replication.control.tiers import TIERS
from replication.errors import AlreadyExists, NotFound
from replication.kubernetes.access import Json
from replication.kubernetes.client import Client
from replication.kubernetes.watched import Watched

POOL_LABEL = "trilith.io/pool"
MANAGED_BY = {"app.kubernetes.io/managed-by": "trilith"}
_IGNORED = ("apiVersion", "kind", "metadata")

logger = logging.getLogger(__name__)


def class_name(pool: str) -> str:
    return f"trilith-{pool}"


def make_storage_class(pool: StoragePool) -> Json:
    parameters = {"pool": pool.name, "replicas": str(pool.replicas), "tier": pool.tier}
    if pool.hyperconverged:
        parameters["hyperconverged"] = "true"
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": _metadata(class_name(pool.name), pool.name),
        "provisioner": DRIVER,
        "parameters": parameters,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowVolumeExpansion": True,
    }


def attributes_name(pool: str, tier: str) -> str:
    return f"{class_name(pool)}-{tier}"


def make_attributes_classes(pool: StoragePool) -> list[Json]:
    return [
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "VolumeAttributesClass",
            "metadata": _metadata(attributes_name(pool.name, tier), pool.name),
            "driverName": DRIVER,
            "parameters": {"tier": tier},
        }
        for tier in TIERS
    ]


def _metadata(name: str, pool: str) -> Json:
    return {"name": name, "labels": {**MANAGED_BY, POOL_LABEL: pool}}


def is_ours(found: Json) -> bool:
    """Whether it is a class that we made, or that somebody made for us under a name of ours.

    Not by labels alone: a user's own class is often a copy of one of these, under another name.
    """
    pool = (found["metadata"].get("labels") or {}).get(POOL_LABEL, "")
    if "provisioner" in found:
        driver, names = found["provisioner"], {class_name(pool)}
    else:
        driver, names = found.get("driverName"), {attributes_name(pool, tier) for tier in TIERS}
    return driver == DRIVER and found["metadata"]["name"] in names


def is_as_wanted(found: Json, wanted: Json) -> bool:
    return _body(found) == _body(wanted)


def find_labels(found: Json, wanted: Json) -> dict[str, str] | None:
    """All that it is to have, those of others among them; None when it has them."""
    labels: dict[str, str] = found["metadata"].get("labels") or {}
    ours: dict[str, str] = wanted["metadata"]["labels"]
    return None if ours.items() <= labels.items() else {**labels, **ours}


def _body(found: Json) -> Json:
    return {key: value for key, value in found.items() if key not in _IGNORED and value}


@dataclass(frozen=True, slots=True)
class Kind:
    """One of the two kinds of classes, and how it is kept."""

    path: str
    watched: Watched[Json]


class Classes:
    """As level-triggered as it can be: what is wanted is compared with what a watch says there is."""

    def __init__(
        self, client: Client, storage_classes: Watched[Json], attributes_classes: Watched[Json]
    ) -> None:
        self._client = client
        self._storage = Kind(STORAGE_CLASSES, storage_classes)
        self._attributes = Kind(ATTRIBUTES_CLASSES, attributes_classes)

    def reconcile(self, pools: Iterable[StoragePool]) -> dict[str, Condition]:
        """For these pools, and no others. By pool: why it has no StorageClass of ours, where that is so."""
        wanted = tuple(pools)
        attributes = [each for pool in wanted for each in make_attributes_classes(pool)]
        self._put_right(self._attributes, _by_name(attributes))
        return self._put_right(self._storage, _by_name(map(make_storage_class, wanted)))

    def _put_right(self, kind: Kind, wanted: Mapping[str, Json]) -> dict[str, Condition]:
        there = {entry.name: entry.get() for entry in kind.watched.list()}
        for name, found in there.items():
            if name not in wanted and is_ours(found):
                with apart(f"{kind.path}/{name}"):
                    self._remove(kind, found)
        lacking = {}
        for name, new in wanted.items():
            trouble = self._put_one_right(kind, new, there.get(name))
            if trouble is not None:
                lacking[new["metadata"]["labels"][POOL_LABEL]] = trouble
        return lacking

    def _put_one_right(self, kind: Kind, new: Json, known: Json | None) -> Condition | None:
        what = f"{new['kind']} {new['metadata']['name']}"
        if known is not None and DRIVER not in {known.get("provisioner"), known.get("driverName")}:
            words = f"{what} is another driver's: rename it, or the pool"
            return Condition(READY, False, "ClassTaken", words)
        with apart(what) as refusals:
            self._change(kind, new, known)
        if refusals and not (known is not None and is_as_wanted(known, new)):
            return Condition(READY, False, "ClassRefused", f"{what} is refused: {refusals[0]}")
        return None

    def _change(self, kind: Kind, new: Json, known: Json | None) -> None:
        if known is None:
            self._make(kind, new)
        elif not is_as_wanted(known, new):
            self._remove(kind, known)
            self._make(kind, _with_annotations(new, known))
        elif (labels := find_labels(known, new)) is not None:
            self._label(kind, new["metadata"]["name"], labels)

    def _make(self, kind: Kind, new: Json) -> None:
        with suppress(AlreadyExists):  # the watch will tell
            kind.watched.put(self._client.create(kind.path, new))
            logger.info("%s %s: made", new["kind"], new["metadata"]["name"])

    def _label(self, kind: Kind, name: str, labels: Mapping[str, str]) -> None:
        step = {"op": "add", "path": "/metadata/labels", "value": labels}
        with suppress(NotFound):
            kind.watched.put(self._client.patch(f"{kind.path}/{name}", [step]))

    def _remove(self, kind: Kind, found: Json) -> None:
        name, uid = found["metadata"]["name"], found["metadata"]["uid"]
        with suppress(NotFound):
            self._client.delete(f"{kind.path}/{name}", uid=uid)
        kind.watched.drop(name, uid)
        logger.info("%s/%s: removed", kind.path, name)


def _by_name(objects: Iterable[Json]) -> dict[str, Json]:
    return {each["metadata"]["name"]: each for each in objects}


def _with_annotations(new: Json, known: Json) -> Json:
    """Such as the one that makes it the default."""
    annotations = known["metadata"].get("annotations") or {}
    return {**new, "metadata": {**new["metadata"], "annotations": annotations}}
