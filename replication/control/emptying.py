"""Nodes and disks on their way out: cordoned, drained, removed; what moves is moved by the reconciler."""

from collections.abc import Collection

from replication.control import insync
from replication.control.cordons import (
    Cordon,
    find_cordon,
    find_pooled,
    is_of,
    is_there,
    list_inside,
)
from replication.control.events import Events
from replication.control.nodes import Nodes
from replication.control.pools import Pools
from replication.control.records import Records
from replication.control.volumes import Volumes
from replication.errors import FailedPrecondition, NotFound, Unavailable
from replication.model import Phase, Replica, ReplicaState, Volume


class Emptying:
    """Each call can be repeated."""

    def __init__(
        self, records: Records, nodes: Nodes, pools: Pools, volumes: Volumes, events: Events
    ) -> None:
        self._records = records
        self._store = records.store
        self._nodes = nodes
        self._pools = pools
        self._volumes = volumes
        self._events = events

    def cordon(self, node: str, *, draining: bool = False, follows: str = "") -> Cordon:
        """No new replicas there; when draining, those that are there move away. NotFound when unknown.

        `follows`: what it is the consequence of, and ends with.
        """
        self._nodes.get(node)
        return self._put(Cordon(node, draining, follows), node)

    def drain_disk(self, node: str, path: str) -> Cordon:
        """As `cordon` with draining, for one disk. NotFound unless a pool has it."""
        name = find_pooled(self._nodes.facts(node), path)
        if name is None:
            raise NotFound(f"disk {path} of node {node}: no pool has it")
        return self._put(Cordon(name, draining=True, disk=path), node)

    def uncordon(self, node: str) -> None:
        """What has not moved yet stays."""
        self._nodes.get(node)
        self._lift(node, node)

    def uncordon_disk(self, node: str, path: str) -> None:
        """Also one that no pool has: then one may take it."""
        facts = self._nodes.facts(node)
        cordon = find_cordon(facts, path, self._store.list_cordons())
        if cordon is not None:
            self._lift(cordon.name, node)
        elif path not in {disk.path for disk in facts.disks} and find_pooled(facts, path) is None:
            raise NotFound(f"node {node} has no disk {path}, and none that had this path is cordoned")

    def list_left(self, cordon: Cordon) -> tuple[tuple[Volume, Replica], ...]:
        """What has not moved yet."""
        return tuple((v, r) for v in self._volumes.list() for r in list_inside(v, cordon))

    def list_used(self, node: str) -> tuple[Volume, ...]:
        """Volumes that somebody uses there: no drain moves these."""
        return tuple(v for v in self._volumes.list() if v.consumer == node and not v.upkeep)

    def remove_disk(self, node: str, path: str) -> Cordon | None:
        """Out of its pool, and emptied. FailedPrecondition names what is still there.

        What nobody counts on goes with a disk that is dead or away, which only its node can tell. The cordon
        that keeps pools from taking it again; None where nothing is kept of it: no pool has it, or the node
        has not, any more.
        """
        facts = self._nodes.facts(node)
        kept = find_cordon(facts, path, self._store.list_cordons())
        name = find_pooled(facts, path) or (kept.name if kept else None)
        if name is None:
            return None
        cordon = Cordon(name, draining=True, disk=path)
        self._require_unneeded(cordon, node)
        self._put(cordon, node)
        self._require_unneeded(cordon, node)  # what was placed there meanwhile
        try:
            self._nodes.to(node).remove_disk(name.removeprefix(f"{node}/"))
        except FailedPrecondition:  # by the names that people know, where a record has them
            _refuse(cordon, node, self.list_left(cordon))
            raise
        self._events.write(node, "removed", f"disk {path} is in no pool any more ({name})")
        if is_there(facts, name):
            return cordon
        self._lift(name, node)
        return None

    def remove(self, node: str, *, lost: bool = False, follows: str = "") -> None:
        """Out of its pools, then out of the cluster. FailedPrecondition names what is still there.

        `lost`: its machine never comes back. It must not answer; its replicas are replaced at once.
        `follows` as of `cordon`, which is what stays of a removal that was cut short.
        """
        self._nodes.get(node)
        if lost:
            self._forsake(node)
        else:
            self._require_empty(node)
        self.cordon(node, follows=follows)
        self._pools.leave(node, lost=lost)
        self._store.remove_node(node)
        for cordon in self._store.list_cordons():
            if is_of(node, cordon):
                self._store.remove_cordon(cordon.name)
        self._events.write(node, "removed", f"node {node} has left the cluster{' for good' if lost else ''}")

    def _forsake(self, node: str) -> None:
        if self._answers(node):
            raise FailedPrecondition(f"node {node} answers: drain it, then remove it")
        for volume in self._volumes.list():
            if volume.consumer == node and insync.can_fence(volume):
                self._volumes.end(volume.id)
        for volume in self._volumes.list():
            self._records.change(volume.id, lambda v: insync.forsake(v, node))

    def _answers(self, node: str) -> bool:
        try:
            self._nodes.facts(node)
        except Unavailable:
            return False
        return True

    def _require_empty(self, node: str) -> None:
        users = self._nodes.list_volumes_on(node)
        if users:
            pools = [f"pool {pool.name}" for pool in self._pools.list() if node in pool.nodes]
            raise FailedPrecondition(f"node {node} is used by {', '.join(pools + users)}: drain it first")

    def _require_unneeded(self, cordon: Cordon, node: str) -> None:
        _refuse(cordon, node, [each for each in self.list_left(cordon) if _is_needed(*each)])

    def _put(self, cordon: Cordon, node: str) -> Cordon:
        if cordon not in self._store.list_cordons():
            self._store.put_cordon(cordon)
            self._events.write(node, "draining" if cordon.draining else "cordoned", cordon.name)
        return cordon

    def _lift(self, name: str, node: str) -> None:
        if any(cordon.name == name for cordon in self._store.list_cordons()):
            self._store.remove_cordon(name)
            self._events.write(node, "uncordoned", name)


def _is_needed(volume: Volume, replica: Replica) -> bool:
    """What is stale nobody counts on, unless its volume is lost: a person may go on from it."""
    counts = replica.state is not ReplicaState.STALE or bool(volume.lost_since)
    return counts and volume.phase is not Phase.DELETING


def _refuse(cordon: Cordon, node: str, left: Collection[tuple[Volume, Replica]]) -> None:
    """FailedPrecondition, unless nothing is left on the disk."""
    if left:
        named = ", ".join(f"{replica.id} of volume {volume.name}" for volume, replica in left)
        todo = f"drain it first: `trilith disk drain {node} {cordon.disk}`"
        raise FailedPrecondition(f"disk {cordon.disk} of node {node} holds {named}: {todo}")
