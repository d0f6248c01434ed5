"""Time, and waiting for a named condition, behind one interface so that tests need not wait."""

import time
from collections.abc import Callable
from typing import Protocol

from replication.errors import TimedOut


class Clock(Protocol):
    """What everything that waits is given."""

    def now(self) -> float:
        """Seconds of a clock that never jumps; only differences mean something."""

    def wall(self) -> float:
        """Seconds since 1970, for people."""

    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's own clock. `now` counts through suspend and is the same in every process of one boot."""

    def now(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def wait_until(
    condition: Callable[[], bool], what: str, *, timeout: float, clock: Clock, interval: float = 0.05
) -> None:
    """Return once `condition()` holds; raise TimedOut, naming `what`, after `timeout` seconds."""
    deadline = clock.now() + timeout
    while not condition():
        if clock.now() >= deadline:
            raise TimedOut(f"{what}: not within {timeout:g} s")
        clock.sleep(interval)
