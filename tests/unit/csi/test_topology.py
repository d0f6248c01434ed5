"""Which nodes a topology means, and where a volume can be used."""

import pytest

from csi.topology import (
    MAX_SEGMENT,
    Accessibility,
    Place,
    find_preferred,
    find_required,
    make_place,
    match_nodes,
    parse_accessibility,
    place_of_node,
    to_segment,
)
from csi.v1 import csi_pb2
from replication.errors import InvalidRequest, OutOfSpace
from replication.model import Node
from tests.unit.csi.requests import topology

ZONE = "topology.kubernetes.io/zone"
LONG = "node-" + "x" * 200 + ".example.org"
NODES = (
    Node("m1", "", "", ((ZONE, "z1"),)),
    Node("m2", "", "", ((ZONE, "z2"),)),
    Node("m3", "", "", ((ZONE, "z2"),)),
    Node(LONG, "", ""),
)


def at(**segments: str) -> Place:
    keys = {"node": "topology.trilith.io/node", "cluster": "topology.trilith.io/cluster", "zone": ZONE}
    return make_place({keys[name]: value for name, value in segments.items()})


@pytest.mark.parametrize("name", ["m1", "a.b-c", "x" * MAX_SEGMENT])
def test_a_name_that_fits_is_its_own_segment(name: str) -> None:
    assert to_segment(name) == name


@pytest.mark.parametrize("name", [LONG, "x" * 64, "-a", "a_", "a b", "ä", ""])
def test_any_other_is_a_hash_that_fits(name: str) -> None:
    segment = to_segment(name)
    assert segment.startswith("sha256-")
    assert len(segment) <= MAX_SEGMENT
    assert segment == to_segment(name) != to_segment(name + "x")


def test_a_node_with_a_long_name_is_found_by_its_hash() -> None:
    assert match_nodes((place_of_node(LONG, "red"),), NODES, "red") == (LONG,)


@pytest.mark.parametrize(
    ("place", "nodes"),
    [
        (at(node="m2", cluster="red"), ("m2",)),
        (at(zone="z2"), ("m2", "m3")),
        (at(zone="z2", node="m1"), ()),
        (at(cluster="blue"), ()),
        (at(node="m9"), ()),
        (at(node="", zone="z1"), ("m1",)),
        (Place(), ("m1", "m2", "m3", LONG)),
    ],
)
def test_who_is_meant(place: Place, nodes: tuple[str, ...]) -> None:
    assert match_nodes((place,), NODES, "red") == nodes


def test_what_is_preferred_comes_first_and_nobody_twice() -> None:
    wanted = Accessibility((at(zone="z1"), at(zone="z2")), (at(node="m3"), at(zone="z2")))
    assert find_preferred(wanted, NODES, "red") == ("m3", "m2", "m1")


def test_a_single_replica_must_lie_where_it_is_to_be_used() -> None:
    wanted = Accessibility((at(zone="z2"),), ())
    assert find_required(wanted, NODES, "red", single=True) == ("m2", "m3")
    assert find_required(wanted, NODES, "red", single=False) == ()
    assert find_required(Accessibility(), NODES, "red", single=True) == ()


@pytest.mark.parametrize("single", [True, False])
def test_where_nobody_is_no_volume_can_be(single: bool) -> None:
    with pytest.raises(OutOfSpace, match=r"no node of the cluster 'red' .*/zone=z9"):
        find_required(Accessibility((at(zone="z9"),), ()), NODES, "red", single=single)


def test_unknown_keys_are_refused_with_those_that_are_known() -> None:
    message = csi_pb2.TopologyRequirement(requisite=[csi_pb2.Topology(segments={"rack": "1"})])
    with pytest.raises(
        InvalidRequest, match=r"unknown topology key 'rack': must be one of topology\.trilith"
    ):
        parse_accessibility(message)


def test_requisite_and_preferred_are_kept_in_order() -> None:
    message = csi_pb2.TopologyRequirement(requisite=topology("m1", "m2"), preferred=topology("m2"))
    assert parse_accessibility(message) == Accessibility((at(node="m1"), at(node="m2")), (at(node="m2"),))
