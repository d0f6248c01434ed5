"""Phases of a volume, and what follows from each."""

from dataclasses import replace

import pytest

from replication.control import insync, lifecycle
from replication.control.lifecycle import Step, VolumeRequest
from replication.control.placement import Place
from replication.errors import AlreadyExists, Conflict, FailedPrecondition, InvalidRequest, OutOfRange
from replication.model import GIB, MIB, Attachment, Phase, Volume
from tests.unit.control.records import detached, states_of, volume

REQUEST = VolumeRequest("data", GIB - 1, "nvme", 3, (("b", "2"), ("a", "1")))


def made() -> Volume:
    places = [Place(node, f"vg-{node}") for node in "abc"]
    return lifecycle.new_volume("v0", REQUEST, 3, places, 5.0)


def test_nothing_is_in_sync_before_every_replica_is_made() -> None:
    record = made()
    assert (states_of(record), record.phase, record.size_bytes) == ("sss", Phase.CREATING, GIB)
    assert (record.next_replica, record.parameters) == (3, (("a", "1"), ("b", "2")))
    done = lifecycle.finish_create(record)
    assert (states_of(done), done.phase) == ("iii", Phase.READY)
    with pytest.raises(Conflict):
        lifecycle.finish_create(done)


@pytest.mark.parametrize("request_", [replace(REQUEST, name=""), replace(REQUEST, size_bytes=-1)])
def test_requests_without_sense_are_refused(request_: VolumeRequest) -> None:
    with pytest.raises(InvalidRequest):
        lifecycle.check_request(request_)


def test_a_repeat_means_the_same_also_while_growing() -> None:
    lifecycle.check_same(made(), REQUEST, 3)
    growing = lifecycle.begin_expand(lifecycle.finish_create(made()), 2 * GIB)
    lifecycle.check_same(growing, replace(REQUEST, size_bytes=2 * GIB), 3)
    with pytest.raises(AlreadyExists, match="pool is nvme, not other"):
        lifecycle.check_same(made(), replace(REQUEST, pool="other"), 3)


def test_deletion_waits_for_the_consumer() -> None:
    assert lifecycle.begin_delete(detached()).phase is Phase.DELETING
    with pytest.raises(FailedPrecondition, match="on node a"):
        lifecycle.begin_delete(volume())


def test_growth_has_a_target_until_it_is_reached() -> None:
    growing = lifecycle.begin_expand(volume(), 2 * GIB - 1)
    assert (growing.phase, growing.size_bytes, growing.target_size_bytes) == (Phase.EXPANDING, GIB, 2 * GIB)
    more = lifecycle.begin_expand(growing, 3 * GIB)
    partly = lifecycle.finish_expand(more, 2 * GIB)
    assert (partly.phase, partly.size_bytes) == (Phase.EXPANDING, 2 * GIB)
    done = lifecycle.finish_expand(partly, 3 * GIB)
    assert (done.phase, done.size_bytes, done.target_size_bytes) == (Phase.READY, 3 * GIB, 0)


def test_growth_that_was_shown_is_not_undone() -> None:
    growing = lifecycle.begin_expand(volume(), 2 * GIB)
    shown = lifecycle.show_growth(growing, 2 * GIB)
    assert (shown.phase, shown.size_bytes, shown.grown_from) == (Phase.EXPANDING, 2 * GIB, GIB)
    assert lifecycle.show_growth(shown, 2 * GIB) == shown == lifecycle.begin_expand(shown, 2 * GIB)
    more = lifecycle.begin_expand(shown, 3 * GIB)
    assert lifecycle.undo_expand(more) == shown
    assert lifecycle.finish_expand(shown, 2 * GIB) == volume(size_bytes=2 * GIB)


def test_what_nobody_has_marked_stays_known_until_an_array_runs_that_has() -> None:
    shown = detached(phase=Phase.EXPANDING, size_bytes=2 * GIB, target_size_bytes=2 * GIB, grown_from=GIB)
    ended = lifecycle.finish_expand(shown, 2 * GIB)
    assert ended == detached(size_bytes=2 * GIB, grown_from=GIB)
    more = lifecycle.begin_expand(ended, 3 * GIB)
    assert lifecycle.undo_expand(more) == ended
    assert lifecycle.show_growth(more, 3 * GIB).grown_from == GIB
    assert lifecycle.finish_expand(more, 3 * GIB) == replace(ended, size_bytes=3 * GIB)
    assert lifecycle.note_marked(more) == more
    assert lifecycle.note_marked(ended) == detached(size_bytes=2 * GIB)


def test_who_wakes_late_makes_no_volume_smaller_and_ends_nobody_elses_growth() -> None:
    """Its lock ended while it stood still, and others have grown the volume further."""
    growing = lifecycle.begin_expand(volume(size_bytes=3 * GIB), 4 * GIB)
    for record in (growing, lifecycle.show_growth(growing, 4 * GIB)):
        assert lifecycle.show_growth(record, 2 * GIB) == record == lifecycle.finish_expand(record, 2 * GIB)


def test_a_volume_never_shrinks_and_grows_as_far_as_its_bitmap() -> None:
    assert lifecycle.begin_expand(volume(), MIB) == volume()
    with pytest.raises(OutOfRange):
        lifecycle.begin_expand(volume(), 1 << 50)
    with pytest.raises(FailedPrecondition):
        lifecycle.begin_expand(detached(phase=Phase.DELETING), 2 * GIB)


def test_every_step_of_a_life_leaves_a_sound_record() -> None:
    ready = lifecycle.finish_create(made())
    growing = lifecycle.begin_expand(ready, 2 * GIB)
    more = lifecycle.begin_expand(growing, 3 * GIB)
    partly = lifecycle.finish_expand(more, 2 * GIB)
    shown = lifecycle.show_growth(growing, 2 * GIB)
    steps = (
        made(),
        ready,
        growing,
        more,
        partly,
        shown,
        lifecycle.finish_expand(partly, 3 * GIB),
        lifecycle.undo_expand(growing),
        lifecycle.begin_delete(ready),
    )
    assert [insync.check(record) for record in steps] == [()] * len(steps)


@pytest.mark.parametrize("states", ["iii", "iis", "ir", "i"])
def test_growth_changes_the_state_of_no_replica(states: str) -> None:
    record = volume(states)
    growing = lifecycle.begin_expand(record, 2 * GIB)
    ends = (lifecycle.finish_expand(growing, 2 * GIB), lifecycle.undo_expand(growing))
    assert all(each.replicas == record.replicas and not insync.check(each) for each in (growing, *ends))


def test_growth_that_cannot_be_had_is_forgotten() -> None:
    assert lifecycle.undo_expand(lifecycle.begin_expand(volume(), 2 * GIB)) == volume()


@pytest.mark.parametrize(
    ("record", "step"),
    [
        (detached(), Step.NOTHING),
        (volume(), Step.NOTHING),
        (detached(phase=Phase.CREATING), Step.UNDO_CREATE),
        (detached(phase=Phase.DELETING), Step.FINISH_DELETE),
        (volume(phase=Phase.EXPANDING), Step.FINISH_EXPAND),
        (volume(attachment=Attachment.ATTACHING), Step.UNDO_ATTACH),
        (volume(attachment=Attachment.DETACHING, phase=Phase.EXPANDING), Step.FINISH_DETACH),
    ],
)
def test_what_was_cut_short_has_a_next_step(record: Volume, step: Step) -> None:
    assert lifecycle.choose_step(record) is step
