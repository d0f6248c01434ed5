"""The operator: what users wrote in Kubernetes is compared with what there is, and made so.

It is level-triggered: a pass looks at everything and decides anew. Watches, finished chores and each survey
of the reconciler start one; nothing that a watch missed can be missed for long.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from csi.operator.announcer import Announcer
from csi.operator.chores import Chores
from csi.operator.classes import Classes
from csi.operator.disk_pools import DiskPools
from csi.operator.judging import Sight
from csi.operator.nodes import GRACE_SECONDS, Nodes
from csi.operator.resources import (
    ATTRIBUTES_CLASSES,
    DISK_POOLS,
    NODES,
    STORAGE_CLASSES,
    STORAGE_POOLS,
    AgentPod,
    Machine,
    StoragePool,
    parse_agent_pod,
    parse_machine,
    parse_object,
    parse_storage_pool,
)
from csi.operator.statuses import Statuses
from csi.operator.storage_pools import StoragePools
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
    pods: Watched[AgentPod | None]
    disk_pools: Watched[Json]
    storage_classes: Watched[Json]
    attributes_classes: Watched[Json]

    def close(self) -> None:
        for each in (self.pools, self.machines, self.pods, self.disk_pools):
            each.close()
        self.storage_classes.close()
        self.attributes_classes.close()


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
        """`namespace` is where the DaemonSet is."""
        self._control = control
        self._client = client
        self._clock = clock
        self._node_grace = node_grace
        self._woken = threading.Event()
        self._survey: Survey | None = None
        self._tell: Callable[[Survey], object] = _tell_nobody
        pods = f"/api/v1/namespaces/{namespace}/pods"
        self._watches = Watches(
            self._watch(STORAGE_POOLS, parse_storage_pool),
            self._watch(NODES, parse_machine),
            self._watch(pods, parse_agent_pod),
            self._watch(DISK_POOLS, parse_object),
            self._watch(STORAGE_CLASSES, parse_object),
            self._watch(ATTRIBUTES_CLASSES, parse_object),
        )

    def run(self, stop: threading.Event) -> None:
        """Reconcile until `stop` is set."""
        term = Term(self._control, self._client, self._clock, self._watches, self.wake, self._node_grace)
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
        self._watches.close()

    def _wait(self, stop: threading.Event) -> None:
        deadline = self._clock.now() + PASS_SECONDS
        while not stop.is_set() and self._clock.now() < deadline:
            if self._woken.wait(LOOK_SECONDS):
                stop.wait(SETTLE_SECONDS)
                return

    def _watch(self, path: str, parse: Callable[[Json], T]) -> Watched[T]:
        return Watched(self._client, path, parse, self._clock, tell=self.wake)

    def _pass(self, term: "Term") -> None:
        try:
            term.reconcile(self._survey)
        except TrilithError as error:
            logger.warning("the operator waits: %s", error)
            self._clock.sleep(1.0)


class Term:
    """What is remembered while leader, and forgotten afterwards."""

    def __init__(
        self,
        control: Control,
        client: Client,
        clock: Clock,
        watches: Watches,
        wake: Callable[[], object],
        node_grace: float,
    ) -> None:
        self._control = control
        self._clock = clock
        self._watches = watches
        self.statuses = Statuses(client, clock)
        self.volumes = VolumeStatuses(control, client, clock, self.statuses)
        chores = Chores(control, clock, wake)
        self._nodes = Nodes(control, chores, clock, node_grace)
        self._classes = Classes(client, watches.storage_classes, watches.attributes_classes)
        self._disk_pools = DiskPools(client, watches.disk_pools, self.statuses)
        self._pools = StoragePools(control, client, chores, self.statuses, Announcer(client, clock))

    def reconcile(self, survey: Survey | None) -> None:
        machines = tuple(entry.get() for entry in self._watches.machines.list())
        pods = tuple(pod for entry in self._watches.pods.list() if (pod := entry.get()) is not None)
        self._nodes.reconcile(machines, pods)
        pools = tuple(entry.get() for entry in self._watches.pools.list())
        sights = self._look(survey)
        joined = tuple(machine for machine in machines if machine.name in sights)
        self._pools.reconcile(pools, joined, sights, self._classes, self._disk_pools)

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
        return {node: _to_sight(answers.get(node), cordoned=node in cordoned) for node in nodes}


def _tell_nobody(_: Survey) -> None:
    """Before the first term."""


def _to_sight(answer: NodeFacts | TrilithError | None, *, cordoned: bool) -> Sight:
    if isinstance(answer, NodeFacts):
        return Sight(answer, cordoned=cordoned)
    return Sight(None, str(answer or "its agent said nothing in time"), cordoned)
