"""What events say of copies under way."""

from dataclasses import replace

from replication.control.progress import Copy, tell
from replication.control.rebuild import choose_tuning
from replication.control.settings import Policy
from replication.model import MIB, ArrayReport, MemberHealth
from tests.unit.control.records import report, volume

GOOD, RECOVERING, RECOVERED = MemberHealth.GOOD, MemberHealth.RECOVERING, MemberHealth.RECOVERED
DROPPED = MemberHealth.DROPPED


def copying(done: int, rate: int = 0) -> ArrayReport:
    return replace(
        report(GOOD, RECOVERING),
        recovery_total_bytes=100 * MIB,
        recovery_done_bytes=done * MIB,
        recovery_bytes_per_second=rate * MIB,
    )


def test_a_copy_is_told_on_its_way_and_at_its_end() -> None:
    copy: Copy | None = None
    said = []
    for second, done in enumerate((0, 10, 26, 27, 51, 76, 99)):
        copy, words = tell(copy, copying(done, 10), float(second))
        said.append(words)
    assert [bool(words) for words in said] == [False, False, True, False, True, True, False]
    assert said[2] == "replica r1: 26 %, 26 of 100 MiB, 10 MiB/s, 7 s left"
    assert tell(copy, report(GOOD, RECOVERED), 10.0) == (None, "replica r1: 100 MiB in 10.0 s, 10 MiB/s")


def test_a_copy_that_ended_early_and_one_of_nothing_are_told_as_such() -> None:
    copy, _ = tell(None, copying(10), 0.0)
    assert tell(copy, report(GOOD, DROPPED), 3.0)[1] == "replica r1: the copy ended early, after 3 s"
    nothing = replace(report(GOOD, RECOVERING), recovery_total_bytes=0)
    assert tell(None, nothing, 0.0)[1] == ""
    assert tell(None, report(GOOD, GOOD), 0.0) == (None, "")


def test_another_copy_begins_anew() -> None:
    copy, _ = tell(None, copying(60), 0.0)
    assert copy == Copy("r1", 0.0, 100 * MIB, 2)
    other = replace(report(RECOVERING, GOOD), recovery_total_bytes=8 * MIB)
    assert tell(copy, other, 5.0)[0] == Copy("r0", 5.0, 8 * MIB, 0)


def test_of_a_frozen_array_nothing_is_told() -> None:
    copy, _ = tell(None, copying(60), 0.0)
    frozen = replace(report(RECOVERING, RECOVERING), activity="frozen")
    assert tell(copy, frozen, 1.0) == (copy, "")
    assert tell(None, frozen, 1.0) == (None, "")


def test_an_array_has_room_for_all_that_the_record_wants_in_it() -> None:
    policy = Policy(rebuild_bandwidth=5, write_latency_bound=0.0)
    assert choose_tuning(volume("iss"), policy).slots == 3
    moving = choose_tuning(replace(volume("iiir"), replica_count=3), policy)
    assert (moving.slots, moving.rebuild_bandwidth, moving.write_latency_bound) == (4, 5, 0.0)
