"""A member that answers late is found out, one that is busy is not."""

from pathlib import Path

from replication.agent.members import Joint, Remote
from replication.agent.slowness import (
    LONGEST_SPAN,
    SAMPLE_EVERY,
    Counters,
    Pace,
    Paces,
    follow,
    parse_counters,
)
from tests.unit.kernel.fake_tree import FakeTree

STAT = "3 0 8 12 40 0 320 2500 2 900 2512 0 0 0 0 5 30"  # a line of 6.12


def test_the_kernels_counters_are_read() -> None:
    assert parse_counters(STAT) == Counters(48, 40, 2.5, 2)
    assert parse_counters("3 0 8 12 40 0 320 2500 2 900 2512").ended == 43


def run(*seen: Counters) -> list[float]:
    """Seconds to answer, one look a second."""
    pace: Pace | None = None
    found = []
    for time, counters in enumerate(seen):
        pace = follow(pace, counters, float(time))
        found.append(pace.seconds)
    return found


def test_requests_that_do_not_end_are_counted_from_when_they_were_first_seen() -> None:
    stuck = Counters(10, 10, 1.0, 4)
    assert run(Counters(10, 10, 1.0, 0), stuck, stuck, stuck, stuck) == [0.0, 0.0, 1.0, 2.0, 3.0]


def test_requests_that_were_there_at_the_first_look_count_from_then() -> None:
    stuck = Counters(10, 10, 1.0, 4)
    assert run(stuck, stuck, stuck) == [0.0, 1.0, 2.0]


def test_a_busy_member_is_not_slow_and_one_that_answers_late_is() -> None:
    busy = [Counters(1000 * n, 1000 * n, 0.9 * n, 32) for n in range(5)]
    assert max(run(*busy)) < 0.1
    late = [Counters(n, n, 6.0 * n, 6) for n in range(5)]
    assert run(*late) == [0.0, 0.0, 6.0, 6.0, 6.0]


def test_a_pause_of_our_own_is_not_held_against_anybody() -> None:
    stuck = Pace(Counters(10, 10, 1.0, 4), 0.0)
    assert follow(stuck, Counters(10, 10, 1.0, 4), 60.0).seconds == LONGEST_SPAN
    assert follow(stuck, Counters(14, 14, 241.0, 4), 60.0).seconds == 0.0


def test_a_member_at_rest_is_not_slow() -> None:
    assert run(Counters(5, 5, 9.0, 1), Counters(6, 6, 19.1, 0), Counters(6, 6, 19.1, 0)) == [0.0, 0.0, 0.0]


def test_members_are_sampled_now_and_then_and_forgotten_with_their_devices(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    tree.lay({"/sys/class/block/dm-4/stat": STAT})
    joint = Joint("r1", "hold", "dm-4", "nvme1n1", Remote("nqn", "nvme1", "10.0.0.2", 4420))
    paces = Paces(tree)
    for time in (0.0, SAMPLE_EVERY, SAMPLE_EVERY + 0.5):
        paces.sample([joint], time)
    assert paces.seconds(joint) == SAMPLE_EVERY
    assert paces.any_slow
    paces.sample([], SAMPLE_EVERY + 1)
    assert paces.seconds(joint) == 0.0
    paces.sample([], 9.0)
    assert not paces.any_slow


def test_a_member_whose_device_is_gone_is_not_slow(tmp_path: Path) -> None:
    paces, joint = Paces(FakeTree(tmp_path)), Joint("r1", "hold", "dm-4", "nvme1n1", None)
    paces.sample([joint], 0.0)
    assert paces.seconds(joint) == 0.0


def test_only_a_member_at_rest_may_be_looked_at_less_closely() -> None:
    assert follow(None, Counters(5, 5, 9.0, 0), 0.0).at_rest
    assert not follow(None, Counters(5, 5, 9.0, 1), 0.0).at_rest
    late = follow(follow(None, Counters(5, 5, 9.0, 0), 0.0), Counters(6, 6, 19.0, 0), 2.0)
    assert not late.at_rest


def test_a_member_that_was_late_and_rests_is_forgiven(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    paces, joint = Paces(tree), Joint("r1", "hold", "dm-4", "nvme1n1", None)
    found = []
    for number, seconds in enumerate((0, 10, 20, 20, 20)):
        tree.lay({"/sys/class/block/dm-4/stat": f"0 0 0 0 {seconds // 10} 0 0 {seconds * 1000} 0 0 0"})
        paces.sample([joint], number * SAMPLE_EVERY)
        found.append(paces.seconds(joint))
    assert found == [0.0, 0.0, 10.0, 0.0, 0.0]
