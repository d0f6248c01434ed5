"""A full copy that is interrupted goes on where it was, when nothing speaks against it."""

from dataclasses import replace

import pytest

from replication.control import insync
from replication.model import CopyMode, MemberHealth, Volume
from tests.unit.control.records import copies_of, states_of, volume
from tests.unit.control.test_replacing import Lab

FULL, UNLESS_BOOTED = CopyMode.FULL, CopyMode.UNLESS_BOOTED


def copying(states: str, count: int = 3) -> Volume:
    """Whatever is not in sync lacks everything."""
    record = volume(states, replica_count=count)
    return replace(record, replicas=tuple(replace(r, copy=FULL) for r in record.replicas))


def test_what_the_bitmap_remembers_is_not_copied_again() -> None:
    begun = insync.make_resumable(copying("iir"), 1, "r2")
    for after in (insync.stop_rebuild(begun, 1, "r2"), insync.lose(begun, 1, {"r2": False})):
        assert (states_of(after), after.replicas[2].copy) == ("iis", UNLESS_BOOTED)


@pytest.mark.parametrize(("states", "count"), [("isr", 3), ("iiir", 3), ("iir", 5), ("iis", 3)])
def test_nothing_is_remembered_by_an_array_that_is_incomplete_or_complete_without_it(
    states: str, count: int
) -> None:
    """md keeps all bits in the first case, and clears them while it is away in the second."""
    record = copying(states, count)
    last = record.replicas[-1].id
    assert copies_of(insync.make_resumable(record, 1, last)) == copies_of(record)


def test_a_record_that_becomes_complete_otherwise_forgets() -> None:
    interrupted = insync.stop_rebuild(insync.make_resumable(copying("iirs"), 1, "r2"), 1, "r2")
    other = insync.start_rebuild(interrupted, "r3", FULL, "boot-1", volatile=False)
    after = insync.finish_rebuild(other, 1, "r3")
    assert (states_of(after), after.replicas[2].copy) == ("iisi", FULL)


def test_a_copy_goes_on_after_its_consumer_has_moved() -> None:
    lab = Lab()
    lab.cluster.node("c").silent = True
    lab.lose("c")
    lab.repair()
    new = lab.on("d")
    assert insync.get_replica(lab.record(), new).copy is UNLESS_BOOTED
    lab.control.volumes.detach(lab.id)
    lab.control.volumes.attach(lab.id, "b")
    lab.repair(1)
    array = lab.cluster.node("b").arrays[lab.id]
    assert array.members[new].health is MemberHealth.RECOVERING
    assert lab.cluster.node("b").rejoined[-1].copy is CopyMode.BITMAP
