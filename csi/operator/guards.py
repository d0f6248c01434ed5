"""What `kubectl drain` waits for: a pod on each node of a pool, and a budget against its eviction.

A drain leaves the pods of DaemonSets alone, and so the agent with its exports. It evicts all others, and asks
their PodDisruptionBudgets. See docs/adr/0013.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from csi.operator.classes import MANAGED_BY
from csi.operator.letting_go import Candidate, Ground, choose_waits
from csi.operator.nodes import LEAVING_TAINTS
from csi.operator.refusals import apart
from csi.operator.resources import GUARD, WAITS, AgentPod, Budget, GuardPod, Machine
from csi.topology import to_segment
from replication.clock import Clock
from replication.control.store.resources import object_name
from replication.errors import AlreadyExists, Conflict, NotFound
from replication.kubernetes.access import Json
from replication.kubernetes.client import Client
from replication.kubernetes.watched import Watched
from replication.model import Volume

LONGEST = 4096
AGAIN_SECONDS, NEVER = 20.0, float("-inf")
SLEEP = "2147483647"  # seconds, which every sleep understands

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Of one node that holds replicas or may soon: pods that come and go with volumes would cost more."""

    machine: Machine
    agent: AgentPod | None  # whose image is there already; None while its pod is being replaced
    waits: str  # empty: its guard may be evicted


class Guards:
    """A guard that was evicted while its budget allowed it is not made again before an uncordon."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        namespace: str,
        budgets: Watched[Budget],
        read: Callable[[str], Volume],
    ) -> None:
        """`read` gives the record of a volume as it is now, or raises NotFound."""
        self._client = client
        self._read = read
        self._clock = clock
        self._pods = f"/api/v1/namespaces/{namespace}/pods"
        self._budgets_path = f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets"
        self._budgets = budgets
        self._made: dict[str, float] = {}  # when, by node: a node under pressure fails each at once

    def reconcile(
        self,
        machines: Collection[Machine],
        agents: Iterable[AgentPod],
        guards: Collection[GuardPod],
        ground: Ground,
    ) -> None:
        budgets = {entry.get().node: entry.get() for entry in self._budgets.list() if entry.get().node}
        agents = tuple(agents)
        wanted = _list_wanted(machines, agents, guards, budgets, ground)
        allowed = {node for node, each in wanted.items() if not each.waits}
        if any(not _was_let_go(budgets.get(node)) for node in allowed):
            wanted = _list_wanted(machines, agents, guards, budgets, self._read_anew(ground, allowed))
        for budget in budgets.values():
            if budget.node not in wanted:
                self._remove(f"{self._budgets_path}/{budget.name}")
        for guard in guards:
            if guard.node not in wanted or guard.ended:
                self._remove(f"{self._pods}/{guard.name}")
        self._keep_all(wanted.values(), budgets, {guard.node for guard in guards if not guard.ended})

    def _keep_all(
        self, wanted: Collection[Wanted], budgets: Mapping[str, Budget], alive: Collection[str]
    ) -> None:
        """Who stays first: where that is refused nobody is let go, since it is counted on."""
        for each in wanted:
            name = each.machine.name
            if each.waits:
                self._keep(each, budgets.get(name), alive=name in alive)
        for each in wanted:
            name = each.machine.name
            if not each.waits:
                with apart(f"the guard of node {name}"):
                    self._keep(each, budgets.get(name), alive=name in alive)

    def _keep(self, wanted: Wanted, budget: Budget | None, *, alive: bool) -> None:
        self._keep_budget(wanted, budget)
        if budget is not None and not alive and (wanted.waits or not _was_let_go(budget)):
            self._make_guard(wanted, budget)

    def _read_anew(self, ground: Ground, nodes: Collection[str]) -> Ground:
        """Volumes there as they are now, before anybody is let go: lists of records may be behind."""
        there = {v.id for v in ground.volumes if any(r.node in nodes for r in v.replicas)}
        volumes = [v for v in ground.volumes if v.id not in there]
        for volume_id in there:
            with suppress(NotFound):
                volumes.append(self._read(volume_id))
        return replace(ground, volumes=volumes)

    def _keep_budget(self, wanted: Wanted, known: Budget | None) -> None:
        if known is None:
            self._make(self._budgets_path, make_budget(wanted))
        elif not _is_so(known, wanted):
            steps: list[Json] = [
                {"op": "replace", "path": "/spec/minAvailable", "value": _least(wanted)},
                {"op": "add", "path": "/spec/unhealthyPodEvictionPolicy", "value": _policy(wanted)},
                {"op": "add", "path": "/metadata/annotations", "value": {WAITS: wanted.waits[:LONGEST]}},
            ]
            with suppress(NotFound):
                self._budgets.put(self._client.patch(f"{self._budgets_path}/{known.name}", steps))
            logger.info(
                "node %s may %s", wanted.machine.name, (wanted.waits and f"not go: {wanted.waits}") or "go"
            )

    def _make_guard(self, wanted: Wanted, budget: Budget) -> None:
        now = self._clock.now()
        if wanted.agent is not None and now - self._made.get(wanted.machine.name, NEVER) >= AGAIN_SECONDS:
            self._made[wanted.machine.name] = now
            self._make(self._pods, make_guard(wanted.machine, wanted.agent, budget))

    def _make(self, path: str, new: Json) -> None:
        with suppress(AlreadyExists):  # the watch will tell, or it is on its way out
            made = self._client.create(path, new)
            if path == self._budgets_path:
                self._budgets.put(made)

    def _remove(self, path: str) -> None:
        with apart(path), suppress(NotFound, Conflict):
            self._client.delete(path)


def _list_wanted(
    machines: Iterable[Machine],
    agents: Iterable[AgentPod],
    guards: Iterable[GuardPod],
    budgets: Mapping[str, Budget],
    ground: Ground,
) -> dict[str, Wanted]:
    """By node, of those that are in a pool or hold replicas."""
    there = {agent.node: agent for agent in agents}
    holders = {r.node for volume in ground.volumes for r in volume.replicas}
    alive = {guard.node for guard in guards if not guard.ended}
    known = {m.name: m for m in machines if m.name in holders | ground.members and not m.unguarded}
    candidates = [
        Candidate(
            name,
            bool(machine.taints & LEAVING_TAINTS),
            gone=_was_let_go(budgets.get(name)) and name not in alive,
            allowed=_was_let_go(budgets.get(name)),
        )
        for name, machine in known.items()
        if _is_cordoned(machine)
    ]
    waits = choose_waits(candidates, ground)
    return {
        name: Wanted(machine, there.get(name), waits.get(name, "an uncordoned node stays"))
        for name, machine in known.items()
    }


def _is_cordoned(machine: Machine) -> bool:
    return machine.unschedulable or bool(machine.taints & LEAVING_TAINTS)


def _was_let_go(budget: Budget | None) -> bool:
    return budget is not None and budget.least == 0


def _least(wanted: Wanted) -> int:
    return 1 if wanted.waits else 0


def _is_so(known: Budget, wanted: Wanted) -> bool:
    there = (known.least, known.unhealthy, known.waits)
    return there == (_least(wanted), _policy(wanted), wanted.waits[:LONGEST])


def _policy(wanted: Wanted) -> str:
    """A guard whose kubelet is dead is not ready, and a budget that asks for none spares no such pod either.

    So a dead node could never be drained (kubernetes v1.35, pkg/registry/core/pod/storage/eviction.go).
    """
    return "IfHealthyBudget" if wanted.waits else "AlwaysAllow"


def guard_name(node: str) -> str:
    return object_name(f"trilith-guard-{node}")


def make_budget(wanted: Wanted) -> Json:
    """MinAvailable as a number: all that Kubernetes takes for pods without a controller that it knows."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {
            **_metadata(wanted.machine, _refer("v1", "Node", wanted.machine.name, wanted.machine.uid)),
            "annotations": {WAITS: wanted.waits[:LONGEST]},
        },
        "spec": {
            "minAvailable": _least(wanted),
            "unhealthyPodEvictionPolicy": _policy(wanted),
            "selector": {"matchLabels": {GUARD: to_segment(wanted.machine.name)}},
        },
    }


def make_guard(machine: Machine, agent: AgentPod, budget: Budget) -> Json:
    """Its budget controls it: a drain evicts what has a controller without being asked twice.

    Karpenter drains past pods that a Node controls, and past those that tolerate its NoSchedule taint
    (karpenter, pkg/utils/pod/scheduling.go, IsDrainable). Who has a node is bound by no such taint.
    """
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            **_metadata(machine, _refer("policy/v1", "PodDisruptionBudget", budget.name, budget.uid)),
            "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "true"},
        },
        "spec": {
            "nodeName": machine.name,
            "priorityClassName": agent.priority_class,  # else a node that is full of pods has no guard
            "imagePullSecrets": [{"name": name} for name in agent.pull_secrets],
            "tolerations": [{"operator": "Exists", "effect": "NoExecute"}],
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "serviceAccountName": "trilith-node",
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [_make_container(agent.image)],
        },
    }


def _make_container(image: str) -> Json:
    return {
        "name": "guard",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", SLEEP],
        "resources": {
            "requests": {"cpu": "1m", "memory": "4Mi"},
            "limits": {"memory": "16Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _refer(version: str, kind: str, name: str, uid: str) -> Json:
    return {"apiVersion": version, "kind": kind, "name": name, "uid": uid, "controller": True}


def _metadata(machine: Machine, owner: Json) -> Json:
    labels = {**MANAGED_BY, GUARD: to_segment(machine.name)}
    return {"name": guard_name(machine.name), "labels": labels, "ownerReferences": [owner]}
