"""Pods with volumes of hyperconverged pools: which volumes those are, and where their replicas lie."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol
from urllib.parse import quote

from csi.admission.affinity import Use, choose_terms, make_patch
from csi.admission.known import KnownClass, KnownDiskPool, KnownPool
from csi.admission.quantity import parse_quantity
from csi.admission.review import Review, Verdict
from csi.claims import path_of
from csi.identity import NAME
from replication.errors import NotFound
from replication.kubernetes.access import Json
from replication.kubernetes.client import Client
from replication.model import ReplicaState, Volume

BETA_CLASS = "volume.beta.kubernetes.io/storage-class"

ListVolumes = Callable[[], Sequence[Volume]]


class Neighbourhood(Protocol):
    """What is known without asking."""

    def find_class(self, name: str) -> KnownClass | None: ...
    def find_default_class(self) -> KnownClass | None: ...
    def find_pool(self, name: str) -> KnownPool | None: ...
    def list_disk_pools(self) -> tuple[KnownDiskPool, ...]: ...


class Pods:
    """A claim is read when a pod names it, its PersistentVolume only when its pool is hyperconverged."""

    def __init__(self, client: Client, known: Neighbourhood, list_volumes: ListVolumes) -> None:
        self._client = client
        self._known = known
        self._list_volumes = list_volumes

    def review(self, review: Review) -> Verdict:
        """Unavailable when what has to be read cannot be."""
        uses = tuple(self._find_uses(review))
        if not uses:
            return Verdict()
        terms = choose_terms(uses, self._known.list_disk_pools())
        return Verdict(patch=make_patch(review.new, terms))

    def _find_uses(self, review: Review) -> Iterator[Use]:
        for volume in review.new["spec"].get("volumes") or ():
            if volume.get("ephemeral"):
                yield from self._find_new(volume["ephemeral"].get("volumeClaimTemplate") or {})
            elif volume.get("persistentVolumeClaim"):
                yield from self._find_claimed(review.namespace, volume["persistentVolumeClaim"]["claimName"])

    def _find_claimed(self, namespace: str, name: str) -> Iterator[Use]:
        """A claim that is still to be made says nothing."""
        try:
            claim = self._client.get(path_of(namespace, name))
        except NotFound:
            return
        bound = claim["spec"].get("volumeName")
        if not bound:
            yield from self._find_new(claim)
        elif self._find_pool(claim):
            yield from self._find_existing(bound)

    def _find_new(self, claim: Json) -> Iterator[Use]:
        pool = self._find_pool(claim)
        if pool:
            requests = (claim["spec"].get("resources") or {}).get("requests") or {}
            yield Use(pool, size_bytes=parse_quantity(requests.get("storage", "")))

    def _find_existing(self, name: str) -> Iterator[Use]:
        try:
            source = self._client.get(f"/api/v1/persistentvolumes/{quote(name, safe='')}")["spec"].get("csi")
        except NotFound:
            return
        if source and source["driver"] == NAME:
            matching = (each for each in self._list_volumes() if each.id == source["volumeHandle"])
            yield from (Use(each.pool, replicas=_holders(each)) for each in matching)

    def _find_pool(self, claim: Json) -> str:
        """Its name, if the claim's class is ours and it wants pods near their replicas; else ""."""
        name = class_of(claim)
        found = self._known.find_class(name) if name else self._find_default(claim)
        if found is None or not found.ours:
            return ""
        wanted = found.hyperconverged
        if wanted is None:
            pool = self._known.find_pool(found.pool)
            wanted = pool is not None and pool.hyperconverged
        return found.pool if wanted else ""

    def _find_default(self, claim: Json) -> KnownClass | None:
        """An empty name means no class; only one that is left out means the default."""
        left_out = claim["spec"].get("storageClassName") is None
        return self._known.find_default_class() if left_out else None


def class_of(claim: Json) -> str:
    """The name of its StorageClass, "" without one; as Kubernetes reads it, the annotation first."""
    annotations = claim.get("metadata", {}).get("annotations") or {}
    return str(annotations.get(BETA_CLASS, claim["spec"].get("storageClassName") or ""))


def _holders(volume: Volume) -> frozenset[str]:
    """Nodes with a replica that can be read, or will be soon."""
    return frozenset(each.node for each in volume.replicas if each.state is not ReplicaState.STALE)
