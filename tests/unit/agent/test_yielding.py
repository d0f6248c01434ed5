"""When copies stand still: only while users do much, and never for long."""

from collections.abc import Iterator
from itertools import count

import pytest

from replication.agent.assembled import Assembled
from replication.agent.members import Members
from replication.agent.tuning import UNBOUNDED, find_bound, tune
from replication.agent.yielding import BUSY, PAUSE_SECONDS, PAUSE_SPEED, RUN_SECONDS, take_turns
from replication.kernel import md
from replication.kernel.md import ArraySpec, MemberSpec
from replication.tuning import Tuning
from tests.unit.agent.fake_machine import fake_machine, no_local
from tests.unit.kernel.fake_md import FakeMd

MIB = 1 << 20
LOOK = 0.5  # seconds between two
BEFORE, RUNS, FREE, PAUSED = "200000 (system)", "200000", str(UNBOUNDED >> 10), "1"
RUN, PAUSE = int(RUN_SECONDS / LOOK), int(PAUSE_SECONDS / LOOK)  # in looks


class Stand:
    """An array, looked at twice a second, whose users do so many operations a second."""

    def __init__(self, tree: FakeMd) -> None:
        self.tree = tree
        self.per_second = 0.0
        self.under_way = 0
        self.activity = "recover"
        self.array = Assembled("v1", 1, {})
        self._times = count(2000)
        self._operations = 0.0
        members = tuple(MemberSpec(f"253:{minor}", minor) for minor in range(3))
        md.assemble(tree, ArraySpec("v1", 3, 32 * MIB, 65536, members, resync=False))
        md.activate(tree, "v1")

    def look(self) -> str:
        """The bound after it, in KiB a second."""
        self._operations += self.per_second * LOOK
        stat = f"0 0 0 0 {int(self._operations)} 0 0 0 {self.under_way} 0 0"
        self.tree.put("/sys/block/md_v1/stat", stat)
        take_turns(self.tree, self.array, self.activity, next(self._times) * LOOK)
        return self.tree.read("/sys/block/md_v1/md/sync_speed_max")

    def looks(self, number: int) -> Iterator[str]:
        return (self.look() for _ in range(number))

    def look_until_paused(self) -> None:
        while self.look() != PAUSED:
            pass


@pytest.fixture
def stand(tree: FakeMd) -> Stand:
    return Stand(tree)


@pytest.mark.parametrize("activity", ["recover", "resync", "check", "repair"])
def test_it_stands_still_for_a_part_of_the_time_while_users_do_much(stand: Stand, activity: str) -> None:
    stand.per_second, stand.activity = 10 * BUSY, activity
    assert list(stand.looks(RUN)) == RUN * [BEFORE]
    assert list(stand.looks(2 * (PAUSE + RUN))) == 2 * (PAUSE * [PAUSED] + RUN * [RUNS])


def test_it_runs_while_users_do_little(stand: Stand) -> None:
    stand.per_second = BUSY / 2
    assert set(stand.looks(20)) == {BEFORE}


def test_it_stands_still_for_those_who_get_little_done_and_always_wait(stand: Stand) -> None:
    stand.per_second, stand.under_way = 1.0, 1
    assert PAUSED in set(stand.looks(10))


def test_it_runs_again_when_users_stop(stand: Stand) -> None:
    stand.per_second = 10 * BUSY
    stand.look_until_paused()
    stand.per_second = 0.0
    list(stand.looks(10))
    assert set(stand.looks(20)) == {RUNS}


def test_what_ends_while_it_stands_still_leaves_the_next_one_free(stand: Stand) -> None:
    stand.per_second = 10 * BUSY
    stand.look_until_paused()
    stand.activity = "idle"
    assert stand.look() == RUNS


def test_what_an_agent_left_standing_when_it_died_runs_again(stand: Stand) -> None:
    stand.per_second = 10 * BUSY
    stand.look_until_paused()
    stand.array = Assembled("v1", 1, {})
    assert list(stand.looks(PAUSE + 1)) == PAUSE * [PAUSED] + [FREE]


def test_a_new_agent_leaves_a_bound_that_it_does_not_know(stand: Stand) -> None:
    md.limit_sync_speed(stand.tree, "v1", find_bound(Tuning(3, 7 << 20)))
    stand.per_second = 10 * BUSY
    assert set(stand.looks(20)) == {"7168", PAUSED}


def test_what_is_said_in_a_pause_holds_after_it(stand: Stand) -> None:
    stand.per_second = 10 * BUSY
    stand.look_until_paused()
    machine = fake_machine(stand.tree)
    tune(machine, Members(machine, no_local), stand.array, Tuning(3, 7 << 20))
    assert set(stand.looks(20)) == {"7168", PAUSED}


@pytest.mark.parametrize("per_second", [0.0, 10 * BUSY])
def test_a_pause_that_another_thread_began_at_the_same_time_ends(stand: Stand, per_second: float) -> None:
    """It has set md's bound, and this one has remembered a run."""
    list(stand.looks(1))
    assert stand.array.turn is not None
    assert not stand.array.turn.paused
    md.limit_sync_speed(stand.tree, "v1", PAUSE_SPEED)
    stand.per_second = per_second
    list(stand.looks(RUN + PAUSE))
    assert RUNS in set(stand.looks(RUN + PAUSE))


def test_an_array_that_does_not_copy_is_left_alone(stand: Stand) -> None:
    stand.activity, stand.per_second = "idle", 10 * BUSY
    assert set(stand.looks(10)) == {BEFORE}
