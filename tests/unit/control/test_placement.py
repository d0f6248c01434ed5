"""Where replicas go, and what is said when they do not fit."""

from dataclasses import replace
from itertools import product

import pytest

from replication.control.placement import Place, Want, choose_places, largest_size, round_up, space_bytes
from replication.errors import (
    FailedPrecondition,
    InvalidRequest,
    OutOfRange,
    OutOfSpace,
    TimedOut,
    TrilithError,
    Unavailable,
)
from replication.layout import LARGEST_NEW_BYTES, choose_bitmap_chunk
from replication.model import GIB, MIB, Pool, VolumeGroup

POOL = Pool("nvme", ("a", "b", "c", "d"), 3)
STRIPED = replace(POOL, striped=True)


def group(name: str, free: int, size: int = 100 * GIB, pool: str = "nvme") -> VolumeGroup:
    return VolumeGroup(name, pool, f"/dev/{name}", size, free)


ROOM = {
    "a": (group("a1", 10 * GIB), group("a2", 30 * GIB)),
    "b": (group("b1", 20 * GIB),),
    "c": (group("c1", 20 * GIB), group("c2", 20 * GIB), group("cx", 90 * GIB, pool="other")),
    "d": (group("d1", 50 * GIB),),
}


def test_sizes_are_whole_extents_with_room_for_the_header() -> None:
    assert round_up(1) == 4 * MIB
    assert space_bytes(GIB) == GIB + 4 * MIB
    assert space_bytes(4 * MIB + 1) == 12 * MIB


def test_the_roomiest_disks_of_distinct_nodes_are_taken_and_names_break_ties() -> None:
    assert choose_places(Want(POOL, GIB, 3), ROOM, {}) == (
        Place("d", "d1"),
        Place("a", "a2"),
        Place("b", "b1"),
    )


def test_preferred_nodes_come_first_in_their_order_where_it_fits() -> None:
    want = Want(POOL, 15 * GIB, 3, ("c", "x", "b"))
    assert [place.node for place in choose_places(want, ROOM, {})] == ["c", "b", "d"]
    assert [p.node for p in choose_places(Want(POOL, 25 * GIB, 3, ("c",)), ROOM, {})] == ["d", "a", "c"]


def test_a_single_replica_goes_where_the_pod_is_if_it_fits_there_in_any_way() -> None:
    """Its pod may be able to run on no other node, and can use it on no other."""
    assert choose_places(Want(POOL, 25 * GIB, 1, ("c",)), ROOM, {}) == (Place("c", "c1", ("c2",)),)
    assert [p.node for p in choose_places(Want(POOL, 45 * GIB, 1, ("c",)), ROOM, {})] == ["d"]
    waiting = {**ROOM, "b": (replace(group("b1", 0), reserved_bytes=20 * GIB),)}
    assert [p.node for p in choose_places(Want(POOL, GIB, 1, ("b",)), waiting, {})] == ["b"]


@pytest.mark.parametrize(
    ("size", "count", "silent", "error", "says"),
    [
        (GIB, 2, {}, InvalidRequest, "1, 3 or 5"),
        (GIB, 5, {}, FailedPrecondition, "5 replicas need 5 nodes, pool nvme has 4: a, b, c, d"),
        (45 * GIB, 3, {}, OutOfSpace, "a 39.99 GiB, b 20.00 GiB, c 39.99 GiB, d 50.00 GiB"),
        (100 * GIB, 3, {}, OutOfRange, "a 199.99 GiB, b 100.00 GiB"),
        (35 * GIB, 3, {"a": TimedOut("too late")}, Unavailable, "a: too late"),
        (45 * GIB, 3, {"b": TimedOut("too late")}, OutOfSpace, "1 nodes have room"),
    ],
)
def test_what_does_not_fit_says_why_and_where(
    size: int, count: int, silent: dict[str, TrilithError], error: type[TrilithError], says: str
) -> None:
    answered = {node: groups for node, groups in ROOM.items() if node not in silent}
    with pytest.raises(error) as raised:
        choose_places(Want(POOL, size, count), answered, silent)
    assert says in str(raised.value)


def test_a_pool_without_disks_has_room_for_nothing() -> None:
    with pytest.raises(OutOfRange, match="none"):
        choose_places(Want(POOL, GIB, 1), {}, {})
    with pytest.raises(OutOfRange, match=r"a 0\.00 GiB"):
        choose_places(Want(POOL, GIB, 1), {"a": ()}, {})


def wiped_later(name: str, free: int, reserved: int) -> VolumeGroup:
    return replace(group(name, free), reserved_bytes=reserved)


def test_room_that_is_still_to_be_wiped_comes_last_also_before_preference() -> None:
    groups = {
        "a": (wiped_later("a1", 2 * GIB, 90 * GIB), wiped_later("a2", 3 * GIB, 0)),
        "b": (wiped_later("b1", 0, 50 * GIB), wiped_later("b2", 0, 60 * GIB)),
        "c": (wiped_later("c1", GIB, 10 * GIB),),
    }
    assert choose_places(Want(POOL, 2 * GIB, 3, ("b",)), groups, {}) == (
        Place("a", "a2"),
        Place("b", "b2"),
        Place("c", "c1"),
    )
    with pytest.raises(
        OutOfSpace, match=r"free, or being wiped, are a 94\.99 GiB, b 109\.99 GiB, c 11\.00 GiB"
    ):
        choose_places(Want(POOL, 20 * GIB, 3), groups, {})


def test_the_largest_size_is_of_what_is_wiped() -> None:
    groups = {"a": (wiped_later("a1", 2 * GIB, 90 * GIB),)}
    assert largest_size(Want(POOL, 0, 1), groups) == 2 * GIB - 4 * MIB
    assert choose_places(Want(POOL, 80 * GIB, 1), groups, {}) == (Place("a", "a1"),)


ZONES = {"a": "z1", "b": "z1", "c": "z2", "d": "z3"}


def nodes_of(want: Want) -> list[str]:
    return [place.node for place in choose_places(want, ROOM, {})]


def test_replicas_are_spread_over_domains_from_the_preferred_node_on() -> None:
    assert nodes_of(Want(POOL, GIB, 3, domains=ZONES)) == ["d", "a", "c"]
    assert nodes_of(Want(POOL, GIB, 3, ("b",), domains=ZONES)) == ["b", "d", "c"]


def test_where_domains_do_not_suffice_they_are_filled_evenly_unless_replicas_must_be_apart() -> None:
    two = {"a": "z1", "b": "z1", "c": "z2", "d": "z2"}
    assert nodes_of(Want(POOL, GIB, 3, domains=two)) == ["d", "a", "b"]
    with pytest.raises(OutOfSpace, match=r"each in a domain of its own \(there are: z1, z2\)"):
        choose_places(Want(POOL, GIB, 3, domains=two, apart=True), ROOM, {})
    assert nodes_of(Want(POOL, GIB, 3, domains=ZONES, apart=True)) == ["d", "a", "c"]


def test_a_node_outside_of_all_domains_is_used_only_when_they_do_not_matter() -> None:
    some = {"a": "z1", "b": "z2", "c": "z3"}
    assert nodes_of(Want(POOL, GIB, 3, ("d",), domains=some, apart=True)) == ["a", "b", "c"]
    assert nodes_of(Want(POOL, GIB, 3, ("d",), domains=some)) == ["d", "a", "b"]


def test_required_nodes_are_the_only_ones() -> None:
    assert nodes_of(Want(POOL, GIB, 1, required_nodes=("c",))) == ["c"]
    with pytest.raises(OutOfSpace, match="on c: 0 nodes have room"):
        choose_places(Want(POOL, 45 * GIB, 1, required_nodes=("c",)), ROOM, {})


WANTS = [
    Want(pool, 0, count, required_nodes=required, domains=domains, apart=apart)
    for pool in (POOL, STRIPED)
    for count in (1, 3)
    for required in ((), ("b",), ("a", "b", "c"))
    for domains in ({}, ZONES, {"a": "z1", "b": "z1", "c": "z2", "d": "z2"})
    for apart in (False, True)
]


@pytest.mark.parametrize("want", WANTS)
def test_the_largest_size_is_placed_and_one_extent_more_is_not(want: Want) -> None:
    largest = largest_size(want, ROOM)
    if largest:
        choose_places(replace(want, size_bytes=largest), ROOM, {})
    with pytest.raises((OutOfSpace, OutOfRange)):
        choose_places(replace(want, size_bytes=largest + 4 * MIB), ROOM, {})


def test_the_largest_size_is_no_more_than_a_replica_can_describe() -> None:
    huge = {node: (group(f"{node}1", 1 << 50, size=1 << 50),) for node in "abc"}
    assert largest_size(Want(POOL, 0, 3), huge) == LARGEST_NEW_BYTES
    assert choose_bitmap_chunk(LARGEST_NEW_BYTES)


def test_where_there_is_no_room_the_largest_size_is_nothing() -> None:
    assert largest_size(Want(POOL, 0, 3), {}) == 0
    assert largest_size(Want(POOL, 0, 1), {"a": (group("a1", 4 * MIB),)}) == 0


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("count", [1, 3, 5])
def test_each_replica_goes_to_the_first_node_of_the_domain_that_has_the_fewest(
    count: int, apart: bool
) -> None:
    names = ("a", "b", "c", "d", "e")
    groups = {name: (group(f"{name}1", 20 * GIB),) for name in names}
    for zones in product(("", "x", "y", "z"), repeat=len(names)):
        domains = {name: zone for name, zone in zip(names, zones, strict=True) if zone}
        want = Want(Pool("nvme", names, 3), GIB, count, domains=domains, apart=apart)
        expected = place_by_the_rule(want, [name for name in names if domains.get(name) or not apart])
        if len(expected) == count:
            assert [place.node for place in choose_places(want, groups, {})] == expected
        else:
            with pytest.raises(OutOfSpace):
                choose_places(want, groups, {})


def place_by_the_rule(want: Want, order: list[str]) -> list[str]:
    chosen: list[str] = []
    while len(chosen) < want.replica_count:
        taken = [want.domains.get(node, "") for node in chosen]
        left = [node for node in order if node not in chosen]
        if not left:
            break
        best = min(left, key=lambda node: taken.count(want.domains.get(node, "")))
        if want.apart and want.domains[best] in taken:
            break
        chosen.append(best)
    return chosen
