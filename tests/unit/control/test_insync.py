"""One transition at a time; tests/simulation has their interleavings."""

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest

from replication.control import insync
from replication.errors import Conflict, FailedPrecondition, NotFound, StaleEpoch
from replication.model import Attachment, CopyMode, MemberHealth, Phase, ReplicaState, Volume
from tests.unit.control.records import copies_of, detached, report, states_of, volume

GOOD, LOST, DROPPED = MemberHealth.GOOD, MemberHealth.LOST, MemberHealth.DROPPED
RECOVERED, RECOVERING = MemberHealth.RECOVERED, MemberHealth.RECOVERING


def test_a_lost_replica_is_stale_and_copied_as_far_as_bitmaps_cover() -> None:
    after = insync.lose(volume(), 1, {"r1": True, "r2": False})
    assert states_of(after) == "iss"
    assert copies_of(after)[1:] == [CopyMode.BITMAP, CopyMode.UNLESS_BOOTED]


@pytest.mark.parametrize("states", ["i", "iss", "isr"])
def test_the_last_in_sync_replica_is_never_stale(states: str) -> None:
    assert states_of(insync.lose(volume(states), 1, {"r0": True})) == states


def test_when_all_are_lost_all_stay_and_writes_wait() -> None:
    assert insync.lose(volume(), 1, dict.fromkeys(("r0", "r1", "r2"), True)) == volume()


def test_one_swap_records_the_last_loss_and_the_recovery_that_saves_it() -> None:
    assert states_of(insync.lose(volume("irs"), 1, {"r0": True}, ("r1",))) == "sis"


@pytest.mark.parametrize(
    ("was", "covers", "becomes"),
    [
        (CopyMode.FULL, True, CopyMode.FULL),
        (CopyMode.UNLESS_BOOTED, True, CopyMode.UNLESS_BOOTED),
        (CopyMode.BITMAP, True, CopyMode.BITMAP),
        (CopyMode.BITMAP, False, CopyMode.UNLESS_BOOTED),
    ],
)
def test_a_lost_rebuild_lacks_what_it_lacked_before(was: CopyMode, covers: bool, becomes: CopyMode) -> None:
    record = volume("ir")
    record = replace(record, replicas=(record.replicas[0], replace(record.replicas[1], copy=was)))
    after = insync.lose(record, 1, {"r1": covers})
    assert (states_of(after), copies_of(after)[1]) == ("is", becomes)


@pytest.mark.parametrize("epoch", [0, 2])
def test_nobody_speaks_for_another_epoch(epoch: int) -> None:
    with pytest.raises(StaleEpoch):
        insync.lose(volume(), epoch, {"r1": True})
    with pytest.raises(StaleEpoch):
        insync.react(detached(), report(GOOD))


def test_a_complete_array_forgets_what_others_lack() -> None:
    record = replace(volume("irs"), replica_count=2)
    assert copies_of(insync.finish_rebuild(record, 1, "r1"))[2] is CopyMode.FULL


def begin(states: str, replica: str, replica_count: int) -> Volume:
    record = replace(volume(states), replica_count=replica_count)
    return insync.start_rebuild(record, replica, CopyMode.BITMAP, "boot-1", volatile=False)


@pytest.mark.parametrize(
    ("states", "replica", "count"), [("iiss", "r3", 3), ("iss", "r1", 2), ("iiiss", "r3", 3)]
)
def test_so_does_an_array_that_is_being_made_complete(states: str, replica: str, count: int) -> None:
    """md clears bits as the copy goes, and what it has cleared nobody knows if the copy ends early."""
    begun = begin(states, replica, count)
    ended = insync.stop_rebuild(begun, 1, replica)
    (other,) = (r.id for r in begun.replicas if r.state is ReplicaState.STALE)
    assert [insync.get_replica(record, other).copy for record in (begun, ended)] == [CopyMode.FULL] * 2
    assert insync.get_replica(ended, replica).copy is CopyMode.UNLESS_BOOTED


def test_a_copy_after_which_others_are_lacking_still_clears_nothing() -> None:
    assert copies_of(begin("iss", "r1", 3)) == [CopyMode.BITMAP] * 3


@pytest.mark.parametrize("healths", list(itertools.product(MemberHealth, repeat=3)))
def test_every_report_leaves_a_sound_record_and_repeats_to_the_same(
    healths: tuple[MemberHealth, ...],
) -> None:
    for states in ("iii", "iis", "iss", "iir", "irs"):
        after = insync.react(volume(states), report(*healths))
        assert insync.check(after) == ()
        assert insync.react(after, report(*healths)) == after


def test_a_report_ends_the_resync_and_takes_members_back() -> None:
    after = insync.react(volume("iri", resync_source="r0"), report(GOOD, RECOVERED, LOST, resync_done=True))
    assert (states_of(after), after.resync_source) == ("iis", None)


def test_a_recovery_of_an_earlier_attempt_counts_for_nothing() -> None:
    """The report was on its way while the replica was lost, and is being rebuilt once more."""
    record = volume("iri")
    again = replace(record.replicas[1], as_of=7)
    record = replace(record, replicas=(record.replicas[0], again, record.replicas[2]))
    told = report(GOOD, RECOVERED, GOOD)
    assert states_of(insync.react(record, replace(told, record_version=6))) == "iri"
    told = replace(told, record_version=7)
    assert states_of(insync.react(record, told)) == "iii"
    for attempt, states in ((6, "iri"), (7, "iii"), (8, "iii")):
        members = tuple(replace(member, attempt=attempt) for member in told.members)
        assert states_of(insync.react(record, replace(told, members=members))) == states


def test_a_dropped_member_that_is_counted_is_lost_and_one_that_is_awaited_is_not() -> None:
    assert states_of(insync.react(volume("iir"), report(GOOD, DROPPED, DROPPED, covers=True))) == "isr"


def test_a_rebuild_starts_in_a_running_array_only() -> None:
    after = insync.start_rebuild(volume("is"), "r1", CopyMode.FULL, "boot-2", volatile=True)
    again = after.replicas[1]
    assert (states_of(after), again.copy, again.boot_id, again.volatile_cache) == (
        "ir",
        CopyMode.FULL,
        "boot-2",
        True,
    )
    for record in (detached("is"), volume("ii")):
        with pytest.raises(Conflict):
            insync.start_rebuild(record, "r1", CopyMode.BITMAP, "boot-1", volatile=False)
    with pytest.raises(NotFound):
        insync.start_rebuild(volume("is"), "r9", CopyMode.BITMAP, "boot-1", volatile=False)


def test_a_rebuild_ends_under_its_epoch_or_not_at_all() -> None:
    assert states_of(insync.finish_rebuild(volume("ir"), 1, "r1")) == "ii"
    assert states_of(insync.finish_rebuild(volume("is"), 1, "r1")) == "is"
    assert states_of(insync.stop_rebuild(volume("ir"), 1, "r1")) == "is"
    with pytest.raises(StaleEpoch):
        insync.finish_rebuild(volume("ir"), 0, "r1")


def test_attaching_raises_the_epoch() -> None:
    after = insync.begin_attach(detached(), "b")
    assert (after.epoch, after.consumer, after.attachment) == (2, "b", Attachment.ATTACHING)
    assert after.resync_source is None
    assert insync.finish_attach(after, 2).attachment is Attachment.ATTACHED
    undone = insync.undo_attach(after, 2)
    assert (undone.attachment, undone.consumer, undone.epoch) == (Attachment.DETACHED, None, 2)


@pytest.mark.parametrize(
    ("record", "source"),
    [
        (detached("iii", resync_source="r2"), "r2"),
        (detached("iis", resync_source="r2"), "r1"),
        (detached("isi", resync_source="r1"), "r0"),
    ],
    ids=["kept", "the consumer's own", "the first"],
)
def test_an_owed_resync_has_a_source_in_sync(record: Volume, source: str) -> None:
    assert insync.begin_attach(record, "b").resync_source == source


def test_attaching_where_the_array_is_gone_owes_a_resync() -> None:
    after = insync.begin_attach(volume("iri"), "a")
    assert (after.resync_source, states_of(after)) == ("r0", "isi")


@pytest.mark.parametrize(
    ("record", "node"),
    [(volume(), "b"), (detached(phase=Phase.DELETING), "a"), (volume(attachment=Attachment.DETACHING), "a")],
)
def test_attaching_elsewhere_or_too_late_is_refused(record: Volume, node: str) -> None:
    with pytest.raises(FailedPrecondition):
        insync.begin_attach(record, node)


def test_only_those_that_are_ready_start() -> None:
    begun = insync.begin_attach(detached("iiis", resync_source="r0"), "b")
    ready = {"r1": ("boot-2", True), "r0": ("boot-2", False)}
    after = insync.admit(begun, 2, ready, {"r0": CopyMode.FULL})
    assert (states_of(after), after.resync_source) == ("siss", "r1")
    assert copies_of(after)[0::2] == [CopyMode.FULL, CopyMode.UNLESS_BOOTED]
    assert (after.replicas[1].boot_id, after.replicas[1].volatile_cache) == ("boot-2", True)
    with pytest.raises(FailedPrecondition):
        insync.admit(begun, 2, ready, {"r0": CopyMode.FULL, "r1": CopyMode.FULL})


def test_detaching_cleanly_owes_nothing_new() -> None:
    begun = insync.begin_detach(volume("iri"))
    after = insync.finish_detach(begun, 1)
    assert (after.consumer, after.resync_source, states_of(after)) == (None, None, "isi")
    assert insync.undo_detach(begun, 1).attachment is Attachment.ATTACHED
    assert insync.finish_detach(begun, 1, clean=False).resync_source == "r0"
    assert insync.finish_detach(replace(begun, resync_source="r2"), 1).resync_source == "r2"


def test_the_fence_begins_an_epoch_without_a_consumer_and_gives_nobody_up() -> None:
    after = insync.fence(volume("iir"))
    assert (after.epoch, after.consumer, states_of(after)) == (2, None, "iis")
    assert after.resync_source is not None
    assert not insync.can_fence(volume("iss"))


def test_the_consumers_replica_is_left_behind_where_another_lacks_nothing() -> None:
    after = insync.leave_behind(insync.fence(volume("iir")), 2, "a", ("r1",))
    assert (states_of(after), after.resync_source) == ("sis", "r1")
    assert copies_of(after)[0] is CopyMode.UNLESS_BOOTED


@pytest.mark.parametrize("states", ["".join(s) for s in itertools.product("isr", repeat=3) if "i" in s])
@pytest.mark.parametrize("sure", [set(), {"r0"}, {"r1"}, {"r1", "r2"}, {"r0", "r2"}])
def test_nobody_else_is_left_behind_and_nobody_where_it_is_not_sure(states: str, sure: set[str]) -> None:
    fenced = insync.fence(volume(states))
    after = insync.leave_behind(fenced, 2, "a", sure)
    others = {f"r{n}" for n in (1, 2) if states[n] == "i"}
    left = states_of(fenced)
    assert states_of(after) == (f"s{left[1:]}" if others & sure else left)
    assert insync.check(after) == ()


def test_nobody_is_left_behind_by_a_fence_that_is_over() -> None:
    fenced = insync.fence(volume())
    assert insync.leave_behind(fenced, 1, "a", ("r1",)) == fenced
    again = insync.begin_attach(fenced, "b")
    assert insync.leave_behind(again, 2, "a", ("r1",)) == again
    assert insync.leave_behind(again, 3, "a", ("r1",)) == again


Step = Callable[[Volume], Volume]


@pytest.mark.parametrize(
    "step",
    [
        insync.fence,
        insync.begin_detach,
        lambda v: insync.undo_attach(v, v.epoch),
        lambda v: insync.finish_detach(v, v.epoch),
        lambda v: insync.finish_attach(v, v.epoch),
    ],
)
def test_a_step_out_of_turn_is_refused(step: Step) -> None:
    with pytest.raises(Conflict):
        step(detached())


def test_a_resync_is_done_once() -> None:
    assert insync.resync_done(volume(resync_source="r1"), 1).resync_source is None


def test_what_an_attachment_that_is_undone_made_equal_is_not_known_to_be_durable() -> None:
    """Whoever has lost power since is to be doubted."""
    begun = insync.begin_attach(detached(resync_source="r1"), "b")
    done = report(GOOD, GOOD, GOOD, epoch=2, resync_done=True)
    assert insync.react(begun, done) == begun
    assert insync.undo_attach(begun, 2).resync_source == "r1"
    assert insync.react(insync.finish_attach(begun, 2), done).resync_source is None


def test_times_are_stamped_on_what_changed() -> None:
    after = insync.stamp(volume(), insync.lose(volume(), 1, {"r1": True}), 7.0, 5)
    assert [r.as_of for r in after.replicas] == [0, 5, 0]
    assert [r.since for r in after.replicas] == [0.0, 7.0, 0.0]


@pytest.mark.parametrize(
    ("record", "rule"),
    [
        (volume("sss"), "I4"),
        (detached("ir"), "I3"),
        (volume(consumer=None), "consumer"),
        (volume("is", resync_source="r1"), "resync"),
        (replace(volume(), replicas=volume().replicas[:1] * 2), "two replicas"),
    ],
)
def test_an_unsound_record_is_told(record: Volume, rule: str) -> None:
    assert any(rule in broken for broken in insync.check(record))


def test_a_volume_that_is_being_made_needs_nobody_in_sync() -> None:
    assert insync.check(detached("sss", phase=Phase.CREATING)) == ()
