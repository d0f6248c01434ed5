"""Replicas that fit on no single disk of a node, and those that are spread over all of them."""

from dataclasses import replace

import pytest

from replication.control.cordons import Cordon, choose_leaving, disk_name
from replication.control.insync import add_replica, check
from replication.control.placement import Place, Want, choose_places, find_fit, largest_size
from replication.control.rebuild import find_refusal
from replication.control.replacement import Absence, choose_new_place, find_absence
from replication.control.store.codec import from_plain, to_plain
from replication.errors import OutOfRange, OutOfSpace
from replication.model import GIB, MIB, NodeFacts, Pool, ReplicaFacts, Volume, VolumeGroup
from tests.unit.control.records import volume

POOL = Pool("nvme", ("a", "b"), 1)
STRIPED = replace(POOL, striped=True)


def group(name: str, free: int, reserved: int = 0) -> VolumeGroup:
    return VolumeGroup(name, "nvme", f"/dev/{name}", 100 * GIB, free, reserved)


TWO = {"a": (group("a1", 10 * GIB), group("a2", 20 * GIB), group("a3", 5 * GIB))}


def place(size_bytes: int, pool: Pool = POOL) -> Place:
    (found,) = choose_places(Want(pool, size_bytes, 1), TWO, {})
    return found


def test_one_disk_is_taken_wherever_it_fits_on_one() -> None:
    assert place(20 * GIB - 4 * MIB) == Place("a", "a2")


def test_as_few_as_it_takes_are_taken_the_roomiest_first() -> None:
    assert place(20 * GIB) == Place("a", "a2", ("a1",))
    assert place(30 * GIB) == Place("a", "a2", ("a1", "a3"))


def test_no_node_is_said_to_give_what_it_cannot() -> None:
    largest = 35 * GIB - 3 * 4 * MIB - 4 * MIB  # each part begins with 4 MiB of its own
    assert largest_size(Want(POOL, 0, 1), TWO) == largest
    assert place(largest).groups == ("a2", "a1", "a3")
    with pytest.raises(OutOfSpace, match=r"0 nodes have room; free, or being wiped, are a 34\.99 GiB"):
        place(largest + 4 * MIB)
    with pytest.raises(OutOfRange, match=r"larger than the disks: nodes have a 299\.99 GiB"):
        place(300 * GIB)


def test_a_node_where_it_fits_on_one_disk_comes_before_a_preferred_one() -> None:
    three = replace(POOL, nodes=("a", "b", "c"), replica_count=3)
    groups = {**TWO, "b": (group("b1", 26 * GIB),), "c": (group("c1", 30 * GIB),)}
    assert choose_places(Want(three, 25 * GIB, 3, ("a",)), groups, {}) == (
        Place("c", "c1"),
        Place("b", "b1"),
        Place("a", "a2", ("a1",)),
    )


def test_a_striped_replica_takes_the_same_of_each_disk() -> None:
    assert place(GIB, STRIPED) == Place("a", "a1", ("a2", "a3"), striped=True)
    largest = 3 * (5 * GIB - 4 * MIB) - 4 * MIB
    assert largest_size(Want(STRIPED, 0, 1), TWO) == largest
    assert place(largest, STRIPED).striped
    with pytest.raises(OutOfSpace):
        place(largest + 4 * MIB, STRIPED)


def test_on_a_node_with_one_disk_a_striped_pool_is_as_any() -> None:
    fit = find_fit(STRIPED, (group("a1", 2 * GIB),), GIB)
    assert fit is not None
    assert ([each.name for each in fit.groups], fit.striped, fit.spans) == (["a1"], False, False)


def test_room_that_is_still_to_be_wiped_counts_for_whoever_waits() -> None:
    fit = find_fit(POOL, (group("a1", GIB, 4 * GIB), group("a2", GIB, 2 * GIB)), 7 * GIB)
    assert fit is not None
    assert fit.waits
    assert fit.spans


VOLUME = add_replica(volume("i"), "a", "a2", ("a1",))
(SPANNING,) = VOLUME.replicas[-1:]


def facts(groups: tuple[VolumeGroup, ...], replicas: tuple[ReplicaFacts, ...] = ()) -> NodeFacts:
    return NodeFacts("a", "lab", "boot", "6.12", True, (), groups, replicas, ())


@pytest.mark.parametrize("lost", ["a1", "a2"])
def test_with_any_disk_that_it_touches_it_is_gone(lost: str) -> None:
    left = tuple(each for each in TWO["a"] if each.name != lost)
    assert find_absence(VOLUME, SPANNING, ["a"], {"a": facts(left)}) is Absence.DISK_GONE
    assert find_absence(VOLUME, SPANNING, ["a"], {"a": facts(TWO["a"])}) is Absence.MISSING


@pytest.mark.parametrize("disk", ["a1", "a2"])
def test_it_leaves_when_any_disk_that_it_touches_is_drained(disk: str) -> None:
    assert choose_leaving(VOLUME, [Cordon(disk_name("a", disk), draining=True)]) == {SPANNING.id}
    assert choose_leaving(VOLUME, [Cordon(disk_name("a", "a3"), draining=True)]) == frozenset()


def test_its_replacement_lies_on_none_of_its_disks() -> None:
    groups = tuple(group(name, 50 * GIB) for name in ("a1", "a2", "a3"))
    alone = replace(VOLUME, replicas=(SPANNING,))
    new = choose_new_place(alone, Pool("nvme", ("a",), 1), {"a": facts(groups)}, {SPANNING.id})
    assert new.groups == ("a3",)


def test_what_lies_elsewhere_than_recorded_is_left_alone() -> None:
    there = ReplicaFacts(VOLUME.id, SPANNING.id, "a2", GIB, 0, 0, suspect=False, volatile_cache=False)
    refusal = find_refusal(VOLUME, SPANNING, facts(TWO["a"], (there,)))
    assert refusal == "it lies on a2, the record says a2, a1"
    assert find_refusal(VOLUME, SPANNING, facts(TWO["a"], (replace(there, other_groups=("a1",)),))) is None


def test_two_replicas_never_share_a_disk() -> None:
    assert check(VOLUME) == ()
    assert check(add_replica(VOLUME, "a", "a1")) == ("two replicas on one disk",)


def test_a_record_speaks_of_several_disks_only_where_there_are_some() -> None:
    """So an earlier release, which refuses fields that it does not know, can read it during an upgrade."""
    words = {"other_groups", "striped"}
    assert all(words.isdisjoint(replica) for replica in to_plain(volume())["replicas"])
    assert words.isdisjoint(to_plain(POOL))
    wide = add_replica(volume(), "d", "d1", ("d2",), striped=True)
    assert from_plain(Volume, to_plain(wide), "the record") == wide
    assert from_plain(Pool, to_plain(STRIPED), "the record") == STRIPED
