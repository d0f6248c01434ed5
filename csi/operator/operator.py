"""The operator: what users wrote in Kubernetes is compared with what there is, and made so.

It is level-triggered: a pass looks at everything and decides anew. Watches, finished chores and each survey
of the reconciler start one; nothing that a watch missed can be missed for long.
"""

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from typing import TypeVar

from csi.operator.announcer import Announcer
from csi.operator.chores import Chores
from csi.operator.classes import Classes
from csi.operator.disk_pools import DiskPools
from csi.operator.guards import Guards
from csi.operator.hearing import Hearing
from csi.operator.judging import Sight
from csi.operator.letting_go import Ground
from csi.operator.nodes import GRACE_SECONDS, Nodes
from csi.operator.resources import (
    ATTRIBUTES_CLASSES,
    DISK_POOLS,
    NODES,
    STORAGE_CLASSES,
    STORAGE_POOLS,
    AgentPod,
    Budget,
    GuardPod,
    Machine,
    StoragePool,
    parse_budget,
    parse_machine,
    parse_object,
    parse_pod,
    parse_storage_pool,
)
from csi.operator.statuses import Statuses
from csi.operator.storage_pools import Shown, StoragePools
from csi.operator.volumes import VolumeStatuses
from replication.clock import Clock
from replication.control.control import Control
from replication.control.survey import DESCRIBE_SECONDS, Survey
from replication.errors import TrilithError
from replication.kubernetes.access import Json
from replication.kubernetes.client import Client
from replication.kubernetes.watched import Watched
from replication.model import NodeFacts

PASS_SECONDS = 10.0  # between two passes while nothing happens
LOOK_SECONDS = 0.5
SETTLE_SECONDS = 0.3  # what happens together is looked at once
FRESH_SECONDS = 2.0  # of a survey

T = TypeVar("T")
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Watches:
    """Everything that is read of Kubernetes. They outlive a term as leader."""

    pools: Watched[StoragePool]
    machines: Watched[Machine]
    pods: Watched[AgentPod | GuardPod | None]
    budgets: Watched[Budget]
    disk_pools: Watched[Json]
    storage_classes: Watched[Json]
    attributes_classes: Watched[Json]

    def close(self) -> None:
        for field in fields(self):
            getattr(self, field.name).close()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an operator works with."""

    control: Control
    client: Client
    clock: Clock
    namespace: str  # where the DaemonSet is, StoragePools are, and guards go
    node_grace: float
    watches: Watches
    wake: Callable[[], object]


class Operator:
    """For any number of terms, one after another."""

    def __init__(
        self,
        control: Control,
        client: Client,
        clock: Clock,
        namespace: str,
        node_grace: float = GRACE_SECONDS,
    ) -> None:
        self._clock = clock
        self._woken = threading.Event()
        self._survey: Survey | None = None
        self._tell: Callable[[Survey], object] = _tell_nobody
        watches = _make_watches(client, clock, namespace, self.wake)
        self._around = Surroundings(control, client, clock, namespace, node_grace, watches, self.wake)

    def run(self, stop: threading.Event) -> None:
        """Reconcile until `stop` is set."""
        term = Term(self._around)
        self._tell = term.volumes.note
        parts = (("statuses", term.statuses.run), ("volumes", term.volumes.run))
        threads = [threading.Thread(target=run, args=(stop,), name=name, daemon=True) for name, run in parts]
        for thread in threads:
            thread.start()
        while not stop.is_set():
            self._woken.clear()
            self._pass(term)
            self._wait(stop)
        for thread in threads:
            thread.join()

    def wake(self) -> None:
        """Something is different."""
        self._woken.set()

    def note(self, survey: Survey) -> None:
        """What all nodes said just now."""
        self._survey = survey
        self._tell(survey)
        self._woken.set()

    def close(self) -> None:
        self._around.watches.close()

    def _wait(self, stop: threading.Event) -> None:
        deadline = self._clock.now() + PASS_SECONDS
        while not stop.is_set() and self._clock.now() < deadline:
            if self._woken.wait(LOOK_SECONDS):
                stop.wait(SETTLE_SECONDS)
                return

    def _pass(self, term: "Term") -> None:
        try:
            term.reconcile(self._survey)
        except TrilithError as error:
            logger.warning("the operator waits: %s", error)
            self._clock.sleep(1.0)


class Term:
    """What is remembered while leader, and forgotten afterwards."""

    def __init__(self, around: Surroundings) -> None:
        control, client, clock, watches = around.control, around.client, around.clock, around.watches
        self._control = control
        self._clock = clock
        self._watches = watches
        self._hearing = Hearing(clock)
        self.statuses = Statuses(client, clock)
        self.volumes = VolumeStatuses(control, client, clock, self.statuses)
        chores = Chores(control, clock, around.wake)
        self._nodes = Nodes(control, chores, clock, around.node_grace)
        self._guards = Guards(client, clock, around.namespace, watches.budgets, control.volumes.get)
        classes = Classes(client, watches.storage_classes, watches.attributes_classes)
        disk_pools = DiskPools(client, watches.disk_pools, self.statuses)
        shown = Shown(classes, disk_pools, self.statuses, Announcer(client, clock))
        self._pools = StoragePools(control, client, chores, shown, around.namespace)

    def reconcile(self, survey: Survey | None) -> None:
        machines = tuple(entry.get() for entry in self._watches.machines.list())
        pods = tuple(entry.get() for entry in self._watches.pods.list())
        agents = tuple(pod for pod in pods if isinstance(pod, AgentPod))
        self._nodes.reconcile(machines, agents)
        pools = tuple(entry.get() for entry in self._watches.pools.list())
        sights = self._look(survey)
        joined = tuple(machine for machine in machines if machine.name in sights)
        self._pools.reconcile(pools, joined, sights)
        guards = tuple(pod for pod in pods if isinstance(pod, GuardPod))
        unguarded = {machine.name for machine in machines if machine.unguarded}
        self._guards.reconcile(joined, agents, guards, self._find_ground(sights, unguarded))

    def _look(self, survey: Survey | None) -> dict[str, Sight]:
        """At the nodes that have joined; they are asked unless they were just now."""
        nodes = [node.name for node in self._control.store.list_nodes()]
        cordoned = {cordon.name for cordon in self._control.store.list_cordons()}
        fresh = survey is not None and self._clock.now() - survey.time < FRESH_SECONDS
        asked = survey.nodes if survey is not None and fresh else frozenset()
        answers: dict[str, NodeFacts | TrilithError] = (
            dict(survey.facts) if survey is not None and fresh else {}
        )
        answers |= self._control.executor.sketch(set(nodes) - asked, DESCRIBE_SECONDS)
        lately = self._hearing.recall({node: answers.get(node) for node in nodes})
        return {
            node: _to_sight(answers.get(node), lately.get(node), cordoned=node in cordoned) for node in nodes
        }

    def _find_ground(self, sights: Mapping[str, Sight], unguarded: Collection[str]) -> Ground:
        """Nodes without a guard may be down at any time, as far as anybody knows."""
        volumes = self._control.volumes.list()
        open_nodes = {name for name, sight in sights.items() if sight.facts and not sight.cordoned}
        pools = {pool.name: frozenset(pool.nodes) for pool in self._control.pools.list()}
        holders = {r.node for volume in volumes for r in volume.replicas}
        answering = {name for name, sight in sights.items() if sight.facts}
        return Ground(
            volumes,
            open_nodes={name: nodes & open_nodes for name, nodes in pools.items()},
            down=frozenset(holders - answering | set(unguarded)),
            members=frozenset().union(*pools.values()),
        )


def _make_watches(client: Client, clock: Clock, namespace: str, wake: Callable[[], object]) -> Watches:
    def watch(path: str, parse: Callable[[Json], T]) -> Watched[T]:
        return Watched(client, path, parse, clock, tell=wake)

    return Watches(
        watch(STORAGE_POOLS, parse_storage_pool),
        watch(NODES, parse_machine),
        watch(f"/api/v1/namespaces/{namespace}/pods", parse_pod),
        watch(f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets", parse_budget),
        watch(DISK_POOLS, parse_object),
        watch(STORAGE_CLASSES, parse_object),
        watch(ATTRIBUTES_CLASSES, parse_object),
    )


def _tell_nobody(_: Survey) -> None:
    """Before the first term."""


def _to_sight(answer: NodeFacts | TrilithError | None, lately: NodeFacts | None, *, cordoned: bool) -> Sight:
    if isinstance(answer, NodeFacts):
        return Sight(answer, cordoned=cordoned)
    return Sight(None, str(answer or "its agent said nothing in time"), lately, cordoned)
