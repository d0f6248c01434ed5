"""Who comes and goes waits longer each time; who has been quiet for a while does not."""

from replication.control.flapping import LONGEST, WINDOW, find_wait


def test_returns_are_free_then_cost_more_each_time_up_to_a_bound() -> None:
    waits = [find_wait([100.0 + n for n in range(count)], 100.0 + max(count - 1, 0)) for count in range(9)]
    assert waits == [0.0, 0.0, 5.0, 10.0, 20.0, 40.0, LONGEST, LONGEST, LONGEST]


def test_waiting_is_counted_from_the_last_return_and_forgotten_after_a_while() -> None:
    assert find_wait([0.0, 1.0, 2.0], 5.0) == 7.0
    assert find_wait([0.0, 1.0, 2.0], 12.0) == 0.0
    assert find_wait([0.0, 1.0, 2.0], WINDOW + 2.0) == 0.0
