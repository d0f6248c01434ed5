"""What differs between Kubernetes' nodes and ours."""

import pytest

from csi.operator.nodes import FOLLOWS, LEAVING_TAINTS, list_only_there, plan_nodes
from csi.operator.resources import AgentPod, Machine
from replication.control.cordons import Cordon
from replication.model import Node, Phase
from tests.unit.control.records import volume
from tests.unit.csi.operator.values import machine

LABELS = (("kubernetes.io/hostname", "a"),)
POD = AgentPod("a", "10.0.0.1:7443", "10.0.0.1", "image")
NODE = Node("a", "10.0.0.1:7443", "10.0.0.1", LABELS)


def test_a_node_joins_with_the_address_of_its_agent_and_the_labels_of_its_node() -> None:
    assert plan_nodes([machine("a")], [POD], [], []).join == (NODE,)
    assert plan_nodes([machine("a")], [AgentPod("a", "", "", "image")], [], []).join == ()
    assert plan_nodes([machine("b")], [POD], [], []).join == ()


def test_address_and_labels_are_kept_in_step() -> None:
    assert plan_nodes([machine("a")], [POD], [NODE], []).change == ()
    moved = AgentPod("a", "10.0.0.9:7443", "10.0.0.9", "image")
    assert plan_nodes([machine("a")], [moved], [NODE], []).change == (
        Node("a", "10.0.0.9:7443", "10.0.0.9", LABELS),
    )
    (zoned,) = plan_nodes([machine("a", {"topology.kubernetes.io/zone": "z"})], [], [NODE], []).change
    assert (zoned.address, dict(zoned.labels)["topology.kubernetes.io/zone"]) == (NODE.address, "z")


def test_a_node_that_is_missing_is_gone_unless_it_never_was_kubernetes() -> None:
    by_hand = Node("x", "10.0.0.2:7443", "10.0.0.2")
    plan = plan_nodes([], [], [NODE, by_hand], [])
    assert (plan.gone, plan.change) == (("a",), ())


@pytest.mark.parametrize(
    ("node", "before", "put", "lifted"),
    [
        (machine("a"), None, None, False),
        (machine("a", cordoned=True), None, Cordon("a", False, FOLLOWS), False),
        (machine("a", cordoned=True), Cordon("a", False, FOLLOWS), None, False),
        (machine("a"), Cordon("a", False, FOLLOWS), None, True),
        (machine("a"), Cordon("a"), None, False),
        (machine("a", cordoned=True), Cordon("a"), None, False),
        (machine("a", cordoned=True), Cordon("a", True), None, False),
        (machine("a", cordoned=True), Cordon("a", True, FOLLOWS), Cordon("a", False, FOLLOWS), False),
        (machine("a", taints=("trilith.io/drain",)), Cordon("a"), Cordon("a", True, FOLLOWS), False),
        (machine("a", taints=("trilith.io/drain",)), Cordon("a", True), None, False),
    ],
)
def test_cordons_follow_nodes_and_an_administrators_stay(
    node: Machine, before: Cordon | None, put: Cordon | None, lifted: bool
) -> None:
    plan = plan_nodes([node], [POD], [NODE], [before] if before else [])
    assert plan.cordon == ((put,) if put else ())
    assert plan.uncordon == (("a",) if lifted else ())


@pytest.mark.parametrize("taint", sorted(LEAVING_TAINTS))
def test_a_node_that_will_not_come_back_is_drained(taint: str) -> None:
    (cordon,) = plan_nodes([machine("a", taints=(taint,))], [POD], [NODE], []).cordon
    assert cordon.draining


def test_a_node_that_has_not_joined_is_not_cordoned() -> None:
    assert plan_nodes([machine("a", cordoned=True)], [], [], []).cordon == ()


def test_data_that_is_on_one_node_only_is_named() -> None:
    alone = volume("iss")
    assert list_only_there([alone], alone.replicas[0].node) == ["data"]
    assert list_only_there([alone], alone.replicas[1].node) == []
    assert list_only_there([volume("iis")], alone.replicas[0].node) == []
    assert list_only_there([volume("iss", phase=Phase.DELETING)], alone.replicas[0].node) == []
