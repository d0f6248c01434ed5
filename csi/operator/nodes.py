"""Nodes of Kubernetes and nodes of ours: joining, moving, cordoned, drained, gone.

A node joins when an agent of our DaemonSet answers on it. It leaves when its Node has been gone for a while,
nothing answers there, and no data was there alone. In between its address and labels follow pod and Node.
"""

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from csi.operator.chores import Chores
from csi.operator.refusals import apart
from csi.operator.resources import AgentPod, Machine
from replication.clock import Clock
from replication.control.control import Control
from replication.control.cordons import Cordon
from replication.control.insync import in_sync
from replication.errors import FailedPrecondition, NotFound
from replication.model import Node, Phase, Volume

FOLLOWS = "kubernetes"
HOSTNAME = "kubernetes.io/hostname"  # kubelet sets it: a node without it was never Kubernetes'
DRAIN = "trilith.io/drain"
LEAVING_TAINTS = frozenset(
    {
        DRAIN,
        "ToBeDeletedByClusterAutoscaler",
        "karpenter.sh/disrupted",
        "karpenter.sh/disruption",
    }
)
"""Of nodes that will not come back: their replicas move first. A cordon alone may end with an uncordon."""

GRACE_SECONDS = 300.0
"""That a Node may be missing. Kubelet makes one that was deleted by mistake anew when it starts again."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """What differs between Kubernetes' nodes and ours."""

    join: tuple[Node, ...] = ()
    change: tuple[Node, ...] = ()
    gone: tuple[str, ...] = ()
    cordon: tuple[Cordon, ...] = ()
    uncordon: tuple[str, ...] = ()


def plan_nodes(
    machines: Collection[Machine],
    pods: Iterable[AgentPod],
    nodes: Collection[Node],
    cordons: Collection[Cordon],
) -> Plan:
    """Pure."""
    wanted = {node.name: node for node in make_nodes(machines, pods, nodes)}
    known = {node.name: node for node in nodes}
    there = {machine.name for machine in machines}
    kubernetes = {node.name for node in nodes if HOSTNAME in dict(node.labels)}
    put, lift = _plan_cordons([m for m in machines if m.name in known], cordons)
    return Plan(
        join=tuple(node for name, node in wanted.items() if name not in known),
        change=tuple(node for name, node in wanted.items() if name in known and node != known[name]),
        gone=tuple(sorted(kubernetes - there)),
        cordon=put,
        uncordon=lift,
    )


def make_nodes(
    machines: Iterable[Machine], pods: Iterable[AgentPod], nodes: Iterable[Node]
) -> tuple[Node, ...]:
    """As they should be recorded. Where the agent's pod is being replaced, it stays where it was."""
    agents = {pod.node: pod for pod in pods if pod.address}
    known = {node.name: node for node in nodes}
    made = []
    for machine in machines:
        agent, old = agents.get(machine.name), known.get(machine.name)
        if agent is not None:
            made.append(Node(machine.name, agent.address, agent.data_address, machine.labels))
        elif old is not None:
            made.append(Node(machine.name, old.address, old.data_address, machine.labels))
    return tuple(made)


def _plan_cordons(
    machines: Iterable[Machine], cordons: Iterable[Cordon]
) -> tuple[tuple[Cordon, ...], tuple[str, ...]]:
    """What an administrator has cordoned is his, unless Kubernetes says more."""
    known = {cordon.name: cordon for cordon in cordons}
    put, lift = [], []
    for machine in machines:
        wanted, found = find_cordon(machine), known.get(machine.name)
        if wanted is None:
            if found is not None and found.follows == FOLLOWS:
                lift.append(machine.name)
        elif _says_more(wanted, found):
            put.append(wanted)
    return tuple(put), tuple(lift)


def _says_more(wanted: Cordon, found: Cordon | None) -> bool:
    if found is None or found.follows == FOLLOWS:
        return found != wanted
    return wanted.draining and not found.draining


def find_cordon(machine: Machine) -> Cordon | None:
    """What follows from a Node."""
    draining = bool(machine.taints & LEAVING_TAINTS)
    if draining or machine.unschedulable:
        return Cordon(machine.name, draining, FOLLOWS)
    return None


def list_only_there(volumes: Iterable[Volume], node: str) -> list[str]:
    """Names of volumes of which no other node has a replica in sync."""
    return [
        v.name for v in volumes if v.phase is not Phase.DELETING and {r.node for r in in_sync(v)} == {node}
    ]


class Nodes:
    """Of one term as leader: since when Nodes are missing is counted anew in each."""

    def __init__(
        self, control: Control, chores: Chores, clock: Clock, grace_seconds: float = GRACE_SECONDS
    ) -> None:
        self._control = control
        self._chores = chores
        self._clock = clock
        self._grace = grace_seconds
        self._missing: dict[str, float] = {}

    def reconcile(self, machines: Collection[Machine], pods: Iterable[AgentPod]) -> None:
        store = self._control.store
        plan = plan_nodes(machines, pods, store.list_nodes(), store.list_cordons())
        for node in plan.join:
            self._chores.start(("join", node.name), partial(self._control.nodes.add, node))
        for node in plan.change:
            self._chores.start(("change", node.name), partial(self._control.nodes.update, node))
        for cordon in plan.cordon:
            with apart(f"the cordon of node {cordon.name}"):
                self._control.emptying.cordon(cordon.name, draining=cordon.draining, follows=cordon.follows)
        for name in plan.uncordon:
            with apart(f"the cordon of node {name}"):
                self._control.emptying.uncordon(name)
        for name in self._list_overdue(plan.gone):
            self._chores.start(("remove", name), partial(self._remove, name))

    def explain(self, pods: Iterable[AgentPod]) -> Mapping[str, str]:
        """Of agents that did not join: why."""
        failures = {pod.node: self._chores.find_failure(("join", pod.node)) for pod in pods}
        return {node: why for node, why in failures.items() if why}

    def _remove(self, name: str) -> None:
        """FailedPrecondition while it answers, or has what nobody else has: then it may come back with it."""
        kept = list_only_there(self._read_volumes_on(name), name)
        if kept:
            raise FailedPrecondition(
                f"node {name} has left Kubernetes, and is kept: it alone is in sync of {', '.join(kept)}. "
                f"If it never comes back, say so with `trilith node remove {name} --lost`"
            )
        self._control.emptying.remove(name, lost=True, follows=FOLLOWS)

    def _read_volumes_on(self, node: str) -> Iterator[Volume]:
        """As they are now: lists of records may be behind."""
        for volume in self._control.volumes.list():
            if any(r.node == node for r in volume.replicas):
                with suppress(NotFound):
                    yield self._control.volumes.get(volume.id)

    def _list_overdue(self, gone: Collection[str]) -> list[str]:
        now = self._clock.now()
        self._missing = {name: self._missing.get(name, now) for name in gone}
        return [name for name, since in self._missing.items() if now - since >= self._grace]
