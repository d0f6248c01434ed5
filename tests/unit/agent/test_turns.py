import pytest

from replication.agent.turns import AT_ONCE, TURNS, choose_turn


@pytest.mark.parametrize("count", [0, 1, 2 * AT_ONCE - 1])
def test_few_are_all_looked_at_each_time(count: int) -> None:
    assert choose_turn(range(count), 5) == range(count)


@pytest.mark.parametrize("count", [2 * AT_ONCE, 100, 1000])
def test_many_are_all_looked_at_in_so_many_rounds(count: int) -> None:
    rounds = [choose_turn(range(count), number) for number in range(7, 7 + TURNS)]
    assert set().union(*rounds) == set(range(count))
    assert AT_ONCE <= min(map(len, rounds)) <= max(map(len, rounds)) <= max(2 * AT_ONCE, count // TURNS + 1)
