"""Pools: the disks of some nodes, from which volumes are made."""

from dataclasses import dataclass, replace
from functools import partial

from replication.control.cordons import WHY_SHUT, shut_disks
from replication.control.events import Events
from replication.control.executor import PATIENT_SECONDS, Executor
from replication.control.nodes import Nodes
from replication.control.parallel import ask_all, errors_of
from replication.control.placement import check_count
from replication.control.store.base import Store
from replication.errors import FailedPrecondition, InvalidRequest, NotFound, TrilithError
from replication.model import NodeFacts, Pool, VolumeGroup


@dataclass(frozen=True, slots=True)
class NodeUsage:
    """What a pool has on one node; `problem` says why nothing is known."""

    node: str
    groups: tuple[VolumeGroup, ...]
    problem: str = ""


class Pools:
    """Made and removed on all their nodes at once."""

    def __init__(self, store: Store, nodes: Nodes, executor: Executor, events: Events) -> None:
        self._store = store
        self._nodes = nodes
        self._executor = executor
        self._events = events

    def create(
        self,
        name: str,
        nodes: tuple[str, ...],
        replica_count: int,
        disks: tuple[tuple[str, str], ...] = (),
        *,
        striped: bool = False,
    ) -> Pool:
        """`disks` are (node, device path); none for a node means every usable disk of it.

        A new pool, or none: when a node refuses, the others give back what they took.
        """
        pool = Pool(name, tuple(dict.fromkeys(nodes)), replica_count, disks, striped)
        self._check(pool)
        chosen = self._choose_disks(pool)
        new = all(known.name != name for known in self._store.list_pools())
        self._store.add_pool(pool)
        calls = {node: partial(self._make, node, name, chosen[node]) for node in pool.nodes}
        errors = errors_of(ask_all(calls, PATIENT_SECONDS))
        if errors:
            undone = new and self._undo(name)
            state = "was not made" if undone else "is not complete, repeat it or delete it"
            raise FailedPrecondition(f"pool {name} {state}: {_named(errors)}")
        self._events.write(name, "created", f"pool {name} on {', '.join(pool.nodes)}")
        return pool

    def extend(self, name: str, replica_count: int, node: str, disks: tuple[str, ...]) -> None:
        """Add a node, or disks of one, to a pool: recorded first, so that somebody knows of what is taken.

        What it has already may be among `disks`. NotFound when there is no such pool: see `begin`.
        """
        pool = self._store.get_pool(name)
        if pool.replica_count != replica_count:
            raise FailedPrecondition(f"pool {name} was made for {pool.replica_count} replicas")
        self._nodes.get(node)
        if node not in pool.nodes:
            self._store.replace_pool(pool, replace(pool, nodes=(*pool.nodes, node)))
        self._make(node, name, disks)

    def begin(self, name: str, nodes: tuple[str, ...], replica_count: int, *, striped: bool = False) -> Pool:
        """Record a pool of these nodes, whose disks `extend` takes. AlreadyExists when another is there."""
        pool = Pool(name, nodes, replica_count, striped=striped)
        self._check(pool)
        self._store.add_pool(pool)
        self._events.write(name, "created", f"pool {name} on {', '.join(nodes)}")
        return pool

    def get(self, name: str) -> Pool:
        return self._store.get_pool(name)

    def list(self) -> tuple[Pool, ...]:
        return self._store.list_pools()

    def delete(self, name: str) -> None:
        """FailedPrecondition names the volumes in it. Nothing to do when unknown."""
        try:
            pool = self._store.get_pool(name)
        except NotFound:
            return
        self._require_empty(name)
        calls = {node: partial(self._remove, node, name) for node in pool.nodes}
        for error in errors_of(ask_all(calls, PATIENT_SECONDS)).values():
            raise error
        self._store.remove_pool(name)
        self._events.write(name, "deleted", f"pool {name}")

    def leave(self, node: str, *, lost: bool) -> None:
        """Take `node` out of every pool; its disks are given back unless it is lost.

        FailedPrecondition when a pool would have fewer nodes than its volumes have replicas; a lost node
        leaves all the same.
        """
        for pool in self._store.list_pools():
            if node in pool.nodes:
                self._take_out(pool, node, lost=lost)

    def _take_out(self, pool: Pool, node: str, *, lost: bool) -> None:
        left = tuple(each for each in pool.nodes if each != node)
        if not lost:
            check_count(pool.replica_count, left, pool.name)
            self._remove(node, pool.name)
        disks = tuple(disk for disk in pool.disks if disk[0] != node)
        self._store.replace_pool(pool, replace(pool, nodes=left, disks=disks))

    def usage(self, name: str) -> tuple[NodeUsage, ...]:
        """One per node of the pool, asked now."""
        pool = self._store.get_pool(name)
        answers = self._executor.describe(pool.nodes)
        return tuple(_usage(name, node, answers[node]) for node in pool.nodes)

    def _check(self, pool: Pool) -> None:
        if not pool.name:
            raise InvalidRequest("a pool needs a name")
        strangers = sorted({node for node, _ in pool.disks} - set(pool.nodes))
        if strangers:
            raise InvalidRequest(f"pool {pool.name} has disks of nodes that it does not name: {strangers}")
        for node in pool.nodes:
            self._nodes.get(node)
        check_count(pool.replica_count, pool.nodes, pool.name)

    def _choose_disks(self, pool: Pool) -> dict[str, tuple[str, ...]]:
        """By node. Those that the pool has already are among them, so that a repeat finds the same."""
        answers = self._executor.describe(pool.nodes)
        for error in errors_of(answers).values():
            raise error
        cordons = self._store.list_cordons()
        facts = [shut_disks(f, cordons) for f in answers.values() if isinstance(f, NodeFacts)]
        return {found.node: _disks_of(pool, found) for found in facts}

    def _undo(self, name: str) -> bool:
        """False when a node does not answer: then it is for the caller to repeat."""
        try:
            self.delete(name)
        except TrilithError:
            return False
        return True

    def _make(self, node: str, pool: str, disks: tuple[str, ...]) -> tuple[VolumeGroup, ...]:
        return self._nodes.to(node).ensure_disk_pool(pool, disks)

    def _remove(self, node: str, pool: str) -> None:
        self._nodes.to(node).remove_disk_pool(pool)

    def _require_empty(self, name: str) -> None:
        inside = [f.volume.name for f in self._store.list_volumes() if f.volume.pool == name]
        if inside:
            raise FailedPrecondition(f"pool {name} holds volumes: {', '.join(inside)}")


def _disks_of(pool: Pool, facts: NodeFacts) -> tuple[str, ...]:
    by_hand = tuple(path for node, path in pool.disks if node == facts.node)
    ours = {group.disk for group in facts.volume_groups if group.pool == pool.name}
    why_not = {disk.path: disk.why_not for disk in facts.disks}
    wanted = by_hand or tuple(disk.path for disk in facts.disks if disk.usable or disk.path in ours)
    disks = tuple(path for path in wanted if why_not.get(path) != WHY_SHUT)
    if not disks:
        seen = "; ".join(f"{path}: {why}" for path, why in why_not.items()) or "it has none"
        raise FailedPrecondition(f"node {facts.node} has no usable disk for pool {pool.name}: {seen}")
    return disks


def _usage(pool: str, node: str, answer: NodeFacts | TrilithError) -> NodeUsage:
    if isinstance(answer, TrilithError):
        return NodeUsage(node, (), str(answer))
    return NodeUsage(node, tuple(group for group in answer.volume_groups if group.pool == pool))


def _named(errors: dict[str, TrilithError]) -> str:
    return "; ".join(f"{node}: {error}" for node, error in sorted(errors.items()))
