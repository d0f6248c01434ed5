from dataclasses import replace

import pytest

from replication.agent.flush import TIME_BASE, bitmap_covers
from replication.agent.members import Joint, Remote
from replication.agent.release import is_dropped_by
from replication.model import Confirmation

WORD = Confirmation("v1", epoch=3, record_version=7, in_sync=("r0", "r1"), rebuilding=("r3",), report=20)


def joint(replica_id: str, **changes: object) -> Joint:
    made = Joint(replica_id, hold=f"hold-{replica_id}", kname="dm-1", below="nvme1n1", remote=None)
    return replace(made, **changes)  # type: ignore[arg-type]


def test_a_lost_member_that_the_record_no_longer_counts_is_dropped() -> None:
    assert is_dropped_by(joint("r2", suspected="silent", suspected_in=20), WORD)


def test_a_lost_member_that_the_record_counts_is_kept() -> None:
    assert not is_dropped_by(joint("r1", suspected="silent", suspected_in=20), WORD)


def test_a_late_word_does_not_drop_a_member_that_was_lost_only_afterwards() -> None:
    assert not is_dropped_by(joint("r2", suspected="silent", suspected_in=21), WORD)


def test_a_member_that_healed_after_it_was_recorded_stale_is_dropped_all_the_same() -> None:
    assert is_dropped_by(joint("r2"), WORD)


def test_a_member_that_is_being_rebuilt_is_kept_while_it_is_well() -> None:
    assert not is_dropped_by(joint("r3"), WORD)


@pytest.mark.parametrize(
    ("attempts", "version", "dropped"),
    [
        ((6,), 5, True),  # by an attempt before: it may copy less than this one
        ((6,), 6, False),
        ((6,), 7, False),
        ((6,), 0, False),  # nobody knows any more
        ((), 5, False),  # an older controller's word
    ],
)
def test_a_member_that_came_by_an_earlier_attempt_is_dropped(
    attempts: tuple[int, ...], version: int, dropped: bool
) -> None:
    word = replace(WORD, attempts=attempts)
    assert is_dropped_by(joint("r3", version=version), word) is dropped


def test_a_member_is_dropped_once() -> None:
    assert not is_dropped_by(joint("r2", released=True), WORD)


def test_the_bitmap_covers_a_disk_that_was_flushed_within_the_life_of_a_bit() -> None:
    member = joint("r2", remote=Remote("nqn", "nvme1", "10.0.0.2", 4420), flushed=100.0)
    assert bitmap_covers(member, 100.0)
    assert bitmap_covers(member, 100.0 + TIME_BASE - 2.1)
    assert not bitmap_covers(member, 100.0 + TIME_BASE - 1.9)
