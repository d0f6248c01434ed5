"""What is done in the background: how often it is tried."""

import threading

import pytest

from replication.control.control import build_control
from replication.control.reconciler import LONGEST_BACKOFF, LONGEST_TURN, Tasks
from replication.control.store.memory import MemoryStore
from replication.errors import Busy, Conflict, TrilithError, Unavailable
from tests.fakes.clock import HandClock
from tests.fakes.node import FakeCluster

KEY = ("settle", "v")
DAY_OF_ATTEMPTS = 2880


class Bench:
    """One task, which ends with `error`."""

    def __init__(self, error: TrilithError | None) -> None:
        self.clock = HandClock()
        control = build_control(MemoryStore(), FakeCluster([]).connect, self.clock)
        self.tasks = Tasks(control, self.clock)
        self._error = error
        self._tried: list[float] = []

    def run(self, seconds: float) -> list[float]:
        """It is asked for each half second: when it was tried, in seconds from the beginning."""
        self._tried.clear()
        began = self.clock.now()
        while self.clock.now() < began + seconds:
            self.tasks.start(KEY, self._try)
            for thread in threading.enumerate():
                if thread.name == " ".join(KEY):
                    thread.join()
            self.clock.sleep(0.5)
        return [tried - began for tried in self._tried]

    def _try(self) -> None:
        self._tried.append(self.clock.now())
        if self._error is not None:
            raise self._error


def test_what_others_are_at_is_looked_at_less_and_less_often() -> None:
    bench = Bench(Busy("an operation is under way"))
    assert bench.run(16) == [0, 1, 3, 7, 11, 15]
    assert bench.tasks.find_failure(KEY) == ""


def test_it_is_forgotten_when_nobody_asks_any_more() -> None:
    bench = Bench(Busy("an operation is under way"))
    bench.run(8)
    bench.clock.sleep(LONGEST_TURN + LONGEST_BACKOFF)
    assert bench.run(3) == [0, 1]


@pytest.mark.parametrize("error", [Conflict("somebody was first"), None])
def test_what_came_second_or_went_well_is_tried_again_at_once(error: TrilithError | None) -> None:
    assert Bench(error).run(2) == [0, 0.5, 1, 1.5]


def test_what_fails_says_why_and_waits() -> None:
    bench = Bench(Unavailable("no answer"))
    assert bench.run(8) == [0, 1, 3, 7]
    assert bench.tasks.find_failure(KEY) == "no answer"


@pytest.mark.parametrize("error", [Unavailable("no answer"), Busy("an operation is under way")])
def test_what_comes_to_nothing_for_a_day_is_still_tried(error: TrilithError) -> None:
    bench = Bench(error)
    for _ in range(DAY_OF_ATTEMPTS):
        bench.tasks.run(KEY, bench._try)
        bench.clock.sleep(LONGEST_BACKOFF)
    bench.clock.sleep(LONGEST_TURN)
    assert bench.run(1) == [0]
