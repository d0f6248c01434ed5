"""Who is away, for how long, and what is done about it."""

import itertools
from dataclasses import replace

import pytest

from replication.control import insync
from replication.control.replacement import (
    GRACE_SECONDS,
    Absence,
    Absent,
    Act,
    Change,
    choose_change,
    choose_new_place,
    find_absence,
    follow_absences,
    has_other,
    is_overdue,
)
from replication.control.settings import DEFAULTS, Settings, check_settings, choose_policy
from replication.errors import InvalidRequest, OutOfSpace
from replication.model import GIB, NodeFacts, Phase, Pool, Volume, VolumeGroup
from tests.unit.control.records import detached, facts, header, volume

SILENT, MISSING = Absence.SILENT, Absence.MISSING


def group(node: str, name: str = "", free: int = 10 * GIB) -> VolumeGroup:
    return VolumeGroup(name or f"vg-{node}", "nvme", "/dev/nvme0n1", 10 * GIB, free)


@pytest.mark.parametrize(
    ("nodes", "found", "why"),
    [
        ("abc", {"b": facts("b", header(), volume_groups=(group("b"),))}, None),
        ("abc", {"b": facts("b", volume_groups=(group("b"),))}, Absence.MISSING),
        ("abc", {"b": facts("b", volume_groups=(group("b", "vg-x"),))}, Absence.DISK_GONE),
        ("abc", {}, Absence.SILENT),
        ("ac", {}, Absence.NODE_GONE),
    ],
)
def test_why_a_replica_is_away(nodes: str, found: dict[str, NodeFacts], why: Absence | None) -> None:
    record = volume()
    assert find_absence(record, record.replicas[1], frozenset(nodes), found) is why


def test_time_is_counted_without_a_break() -> None:
    one = (volume("i"),)
    there = {"a": facts("a", header("r0", "a"))}
    first = follow_absences({}, one, "a", {}, 5.0)
    assert follow_absences(first, one, "a", {}, 9.0)["v0", "r0"] == Absent(SILENT, 5.0)
    assert follow_absences(first, one, "", {}, 9.0)["v0", "r0"] == Absent(Absence.NODE_GONE, 5.0)
    assert follow_absences(first, one, "a", there, 9.0) == {}
    in_vain = follow_absences(first, one, "a", there, 9.0, {("v0", "r0")})
    assert in_vain["v0", "r0"] == Absent(Absence.FAILING, 5.0)


@pytest.mark.parametrize(
    ("why", "seconds", "overdue"),
    [
        (SILENT, 599.0, False),
        (SILENT, 600.0, True),
        (MISSING, 599.0, False),
        (Absence.NODE_GONE, 0.0, True),
        (Absence.DISK_GONE, GRACE_SECONDS - 1, False),
        (Absence.DISK_GONE, GRACE_SECONDS, True),
    ],
)
def test_what_is_gone_for_good_is_not_waited_for(why: Absence, seconds: float, overdue: bool) -> None:
    assert is_overdue(Absent(why, 100.0), 600.0, 100.0 + seconds) is overdue


def test_a_replica_that_is_away_for_too_long_is_replaced_and_stays_until_that_is_in_sync() -> None:
    record = volume("iis")
    assert choose_change(record, {"r2": SILENT}, ()) is None
    assert choose_change(record, {"r2": SILENT}, {"r2"}) == Change(Act.ADD)
    more = replace(volume("iisr"), replica_count=3)
    assert choose_change(more, {"r2": SILENT}, {"r2"}) is None
    done = replace(volume("iisi"), replica_count=3)
    assert choose_change(done, {"r2": SILENT}, {"r2"}) is None
    assert choose_change(done, {}, ()) == Change(Act.FORGET, done.replicas[2])
    assert choose_change(done, {"r2": Absence.NODE_GONE}, {"r2"}) == Change(Act.FORGET, done.replicas[2])


def test_one_that_returns_first_makes_the_replacement_superfluous() -> None:
    record = replace(volume("iiis"), replica_count=3)
    assert choose_change(record, {}, ()) == Change(Act.FORGET, record.replicas[3])


def test_a_replacement_that_goes_away_itself_is_replaced() -> None:
    record = replace(volume("iiss"), replica_count=3)
    assert choose_change(record, {"r2": SILENT, "r3": SILENT}, {"r2", "r3"}) == Change(Act.ADD)


def test_a_replica_that_its_disk_has_not_is_made_anew() -> None:
    record = volume("iis")
    assert choose_change(record, {"r2": MISSING}, ()) == Change(Act.MAKE, record.replicas[2])
    assert choose_change(record, {"r2": MISSING}, {"r2"}) == Change(Act.ADD)
    assert choose_change(record, {"r2": MISSING}, {"r2"}, room=False) == Change(Act.MAKE, record.replicas[2])


def test_a_leaving_replica_is_replaced_first_and_retired_then() -> None:
    record = volume("iii")
    leaving = replace(record, replicas=(replace(record.replicas[0], leaving=True), *record.replicas[1:]))
    assert choose_change(leaving, {}, ()) == Change(Act.ADD)
    four = replace(volume("iiii"), replica_count=3)
    enough = replace(four, replicas=(leaving.replicas[0], *four.replicas[1:]))
    assert choose_change(enough, {}, ()) == Change(Act.RETIRE, enough.replicas[0])
    assert choose_change(four, {}, ()) == Change(Act.RETIRE, four.replicas[3])


def test_only_an_answer_that_is_not_suspect_shows_that_another_has_it_all() -> None:
    sure = {"b": facts("b", header("r1", "b"))}
    suspect = {"b": facts("b", header("r1", "b", suspect=True))}
    for found, other in ((sure, True), (suspect, False), ({}, False), ({"b": facts("b")}, False)):
        assert has_other(volume("ii"), "r0", found) is other
    assert not has_other(volume("is"), "r0", sure)
    assert not has_other(volume("ii"), "r1", sure)


def test_one_that_has_booted_since_an_unclean_end_may_lack_what_another_has() -> None:
    """Its disk may have forgotten it. Where both have, neither is better."""
    unclean = detached("ii", resync_source="r0")
    boots = {r.node: r.boot_id for r in unclean.replicas}
    for own, other, sure in (("", "", True), ("", "new", False), ("new", "new", True), ("new", "", True)):
        found = {
            "a": facts("a", header("r0", "a"), boot_id=own or boots["a"]),
            "b": facts("b", header("r1", "b"), boot_id=other or boots["b"]),
        }
        assert has_other(unclean, "r0", found) is sure
        assert has_other(detached("ii"), "r0", found)
        assert has_other(volume("ii", resync_source="r0"), "r0", found)


def test_nothing_is_forgotten_while_nobody_in_sync_is_there() -> None:
    """A person may have to go on from it."""
    record = replace(volume("is"), replica_count=1)
    forget = Change(Act.FORGET, record.replicas[1])
    assert choose_change(record, {}, ()) == forget
    for why in Absence:
        assert choose_change(record, {"r0": why}, ()) is None


def test_nothing_is_added_to_a_volume_that_no_array_copies_or_that_changes_otherwise() -> None:
    for record in (
        detached("iis"),
        volume("iis", phase=Phase.EXPANDING),
        volume("sss", phase=Phase.CREATING),
    ):
        assert choose_change(record, {"r2": SILENT}, {"r2"}) is None


def enact(record: Volume, change: Change) -> Volume:
    """The record after the act, by the steps that do it."""
    if change.replica is None:
        return insync.add_replica(record, "e", "vg-e")
    step = {
        Act.FORGET: insync.forget_replica,
        Act.RETIRE: insync.retire_replica,
        Act.MAKE: insync.renew_replica,
    }[change.act]
    return step(record, change.replica.id)


@pytest.mark.parametrize("states", list(itertools.product("isr", repeat=4)))
def test_no_change_lowers_redundancy_or_breaks_a_record(states: tuple[str, ...]) -> None:
    """All states of four replicas of which three are wanted, all absences, all wishes to leave."""
    record = replace(volume("".join(states)), replica_count=3)
    ids = [r.id for r in record.replicas]
    for absent, leaving in itertools.product(_subsets(ids), _subsets(ids)):
        wished = replace(record, replicas=tuple(replace(r, leaving=r.id in leaving) for r in record.replicas))
        change = choose_change(wished, dict.fromkeys(absent, SILENT), absent)
        if change is None:
            continue
        after = enact(wished, change)
        before, left = _synced(wished), _synced(after)
        assert min(len(before), 3) <= len(left)
        assert left <= before
        assert set(insync.check(after)) <= set(insync.check(wished))
        assert change.act is not Act.ADD or len(before) < 3 or leaving


def _subsets(ids: list[str]) -> list[frozenset[str]]:
    return [frozenset(c) for n in range(len(ids) + 1) for c in itertools.combinations(ids, n)]


def _synced(record: Volume) -> set[str]:
    return {r.id for r in insync.in_sync(record)}


def test_the_new_one_goes_to_another_node_or_else_to_another_disk() -> None:
    pool = Pool("nvme", ("a", "b", "c", "d"), 3)
    record = volume("iis")
    found = {node: facts(node, volume_groups=(group(node),)) for node in "abcd"}
    place = choose_new_place(record, pool, found, {"r2"})
    assert (place.node, place.volume_group) == ("d", "vg-d")
    two_disks = facts("c", volume_groups=(group("c"), group("c", "vg-c2")))
    place = choose_new_place(record, pool, {"c": two_disks}, {"r2"})
    assert (place.node, place.volume_group) == ("c", "vg-c2")
    with pytest.raises(OutOfSpace):
        choose_new_place(record, pool, {"c": facts("c", volume_groups=(group("c"),))}, {"r2"})


def test_a_single_replica_moves_to_another_disk_of_its_node_and_to_no_other_node() -> None:
    pool, alone = Pool("nvme", ("a", "b"), 1), replace(volume("i"), replica_count=1)
    leaving = replace(alone, replicas=(replace(alone.replicas[0], leaving=True),))
    found = {node: facts(node, volume_groups=(group(node),)) for node in "ab"}
    with pytest.raises(OutOfSpace, match="a single replica never leaves its node"):
        choose_new_place(leaving, pool, found, set())
    found["a"] = facts("a", volume_groups=(group("a"), group("a", "vg-a2")))
    place = choose_new_place(leaving, pool, found, set())
    assert (place.node, place.volume_group) == ("a", "vg-a2")


def test_the_new_one_goes_where_no_replica_is_and_a_volume_that_is_apart_stays_so() -> None:
    pool = Pool("nvme", ("a", "b", "c", "d", "e"), 3)
    found = {node: facts(node, volume_groups=(group(node),)) for node in "abde"}
    zones = {"a": "1", "b": "2", "c": "3", "d": "2", "e": "3"}
    record = volume("iis")
    apart = replace(record, parameters=(("spread", "rack"),))
    for each in (record, apart):
        assert choose_new_place(each, pool, found, {"r2"}, zones).node == "e"
    del found["e"]
    assert choose_new_place(record, pool, found, {"r2"}, zones).node == "d"
    with pytest.raises(OutOfSpace):
        choose_new_place(apart, pool, found, {"r2"}, zones)
    two_disks = {"c": facts("c", volume_groups=(group("c"), group("c", "vg-c2")))}
    assert choose_new_place(apart, pool, two_disks, {"r2"}, zones).volume_group == "vg-c2"


def test_what_holds_is_said_by_the_pool_else_the_cluster_else_nobody() -> None:
    assert choose_policy(Settings(), Settings("nvme")) == DEFAULTS
    policy = choose_policy(Settings(replacement_delay=5.0), Settings("nvme", rebuilds_per_node=7))
    assert (policy.replacement_delay, policy.rebuilds_per_node) == (5.0, 7)
    assert choose_policy(Settings(replacement_delay=5.0), Settings("x", 0.0)).replacement_delay == 0.0
    with pytest.raises(InvalidRequest, match="rebuilds_per_node"):
        check_settings(Settings(rebuilds_per_node=0))
