"""The cluster's nodes, and how they are reached."""

import builtins
import threading
from collections.abc import Callable
from dataclasses import replace

from replication.clock import Clock
from replication.control.store.base import Store
from replication.errors import FailedPrecondition
from replication.model import Node, NodeFacts
from replication.rpc.contract import NodeApi

AUTHENTICATION_KNOWN_FOR = 60.0  # a node's kernel changes with a boot only


class Nodes:
    """Every node has one connection, made when first needed, shared by all threads."""

    def __init__(self, store: Store, connect: Callable[[Node], NodeApi], clock: Clock) -> None:
        self._store = store
        self._connect = connect
        self._clock = clock
        self._mutex = threading.Lock()
        self._connections: dict[str, tuple[Node, NodeApi]] = {}
        self._authentication: dict[str, tuple[float, bool]] = {}

    def add(self, node: Node) -> None:
        """The node must answer, by that name. AlreadyExists when the name has another address.

        A node that is there already keeps its labels when none are given.
        """
        self._check(node)
        labelled = (known for known in self._store.list_nodes() if known.labels and not node.labels)
        if node not in (replace(known, labels=()) for known in labelled):
            self._store.add_node(node)

    def update(self, node: Node) -> None:
        """Another address, or other labels, of a node that is known. It must answer at a new address."""
        old = self._store.get_node(node.name)
        if _reach(old) != _reach(node):
            self._check(node)
        if old != node:
            self._store.replace_node(old, node)

    def label(self, name: str, labels: dict[str, str]) -> Node:
        """Set labels, or take away those with an empty value. Placement heeds them from then on."""
        old = self._store.get_node(name)
        kept = {key: value for key, value in {**dict(old.labels), **labels}.items() if value}
        new = replace(old, labels=tuple(sorted(kept.items())))
        if new != old:
            self._store.replace_node(old, new)
        return new

    def get(self, name: str) -> Node:
        return self._store.get_node(name)

    def list(self) -> tuple[Node, ...]:
        return self._store.list_nodes()

    def remove(self, name: str) -> None:
        """FailedPrecondition while a pool, a replica or a consumer is on it. Nothing to do when unknown."""
        users = self._users(name)
        if users:
            raise FailedPrecondition(f"node {name} is used by {', '.join(users)}")
        self._store.remove_node(name)

    def facts(self, name: str, only: str | None = None) -> NodeFacts:
        """Asked now; `only` is NodeApi.describe's. Unavailable when it does not answer."""
        facts = self.to(name).describe(only)
        self._authentication[name] = (self._clock.now(), facts.authentication)
        return facts

    def to(self, name: str) -> NodeApi:
        """The way to a node. NotFound when the store does not know it."""
        node = self._store.get_node(name)
        with self._mutex:
            known = self._connections.get(name)
            if known is None or _reach(known[0]) != _reach(node):
                known = (node, self._connect(node))
                self._connections[name] = known
            return known[1]

    def authenticates(self, name: str) -> bool:
        """Whether the node's kernel has NVMe in-band authentication."""
        known = self._authentication.get(name)
        if known is not None and self._clock.now() - known[0] < AUTHENTICATION_KNOWN_FOR:
            return known[1]
        return self.facts(name, only="").authentication

    def _check(self, node: Node) -> None:
        facts = self._connect(node).describe()
        if facts.node != node.name:
            raise FailedPrecondition(f"at {node.address} answers node {facts.node}, not {node.name}")
        if facts.cluster != self._store.cluster():
            wanted = self._store.cluster()
            raise FailedPrecondition(f"node {node.name} is of cluster {facts.cluster}, not of {wanted}")

    def _users(self, name: str) -> builtins.list[str]:
        pools = [f"pool {pool.name}" for pool in self._store.list_pools() if name in pool.nodes]
        return pools + self.list_volumes_on(name)

    def list_volumes_on(self, name: str) -> builtins.list[str]:
        """Those with a replica there, or attached there, as people call them."""
        return [
            f"volume {found.volume.name}"
            for found in self._store.list_volumes()
            if name in {found.volume.consumer, *(r.node for r in found.volume.replicas)}
        ]


def _reach(node: Node) -> tuple[str, str]:
    """All but what can change while a connection stays."""
    return node.address, node.data_address
