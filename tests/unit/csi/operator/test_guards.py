"""A guard is a pod that every drain evicts, and that nothing else takes away."""

from typing import Any, cast

import pytest

from csi.operator.guards import Guards, Wanted, make_budget, make_guard
from csi.operator.resources import AgentPod, Budget
from replication.kubernetes.access import Json
from replication.kubernetes.client import Refused
from tests.fakes.clock import HandClock
from tests.unit.csi.operator.values import machine

AGENT = AgentPod("a", "10.0.0.1:7443", "10.0.0.1", "trilith:1", ("key",), "system-node-critical")
KARPENTERS = {"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}


def guard() -> Json:
    return make_guard(machine("a"), AGENT, Budget("trilith-guard-a", "a", 1, "", "uid-b"))


def test_karpenter_does_not_take_it_for_a_static_pod() -> None:
    (owner,) = guard()["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("PodDisruptionBudget", "uid-b", True)


def test_a_drain_that_taints_evicts_it_and_a_taint_alone_does_not() -> None:
    tolerations = guard()["spec"]["tolerations"]
    assert not tolerates(tolerations, KARPENTERS)
    assert tolerates(tolerations, {"key": "anything", "effect": "NoExecute"})


def test_it_is_as_needed_on_its_node_as_the_agent() -> None:
    """A kubelet that has no room for one more pod makes some, and takes none such for want of memory."""
    assert guard()["spec"]["priorityClassName"] == "system-node-critical"
    assert guard()["spec"]["imagePullSecrets"] == [{"name": "key"}]


def test_a_dead_kubelet_keeps_no_drain_waiting_that_its_volumes_allow() -> None:
    assert budget("")["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert (
        budget("volume data: 1 in sync on nodes that stay")["unhealthyPodEvictionPolicy"] == "IfHealthyBudget"
    )


class Refusing:
    """A server that takes no budget."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def create(self, _: str, new: Json) -> Json:
        self.asked.append(new["metadata"]["name"])
        raise Refused("403")


def test_nobody_is_let_go_where_it_is_refused_that_another_stays() -> None:
    server = Refusing()
    guards = Guards(cast(Any, server), HandClock(), "trilith", cast(Any, None), cast(Any, None))
    goes, stays = Wanted(machine("a"), AGENT, ""), Wanted(machine("b"), AGENT, "an uncordoned node stays")
    with pytest.raises(Refused):
        guards._keep_all([goes, stays], {}, ())
    assert server.asked == [make_budget(stays)["metadata"]["name"]]
    guards._keep_all([goes], {}, ())
    assert server.asked[1:] == [make_budget(goes)["metadata"]["name"]], "a refusal of what is allowed is said"


def budget(waits: str) -> Json:
    spec: Json = make_budget(Wanted(machine("a"), AGENT, waits))["spec"]
    return spec


def tolerates(tolerations: list[Json], taint: Json) -> bool:
    """As Kubernetes' Toleration.ToleratesTaint does, as far as it goes without keys."""
    assert all(each["operator"] == "Exists" and "key" not in each for each in tolerations)
    return any(each.get("effect") in {None, taint["effect"]} for each in tolerations)
