"""Waiting for an API server that has just started: for a while it refuses whatever it will allow later."""

from collections.abc import Callable
from typing import TypeVar

from replication.clock import SystemClock, wait_until
from replication.errors import Unavailable

SECONDS = 90.0
CLOCK = SystemClock()
T = TypeVar("T")


def patiently(ask: Callable[[], T]) -> T:
    """What it answers, asked again as long as the server is unavailable."""
    answers: list[T] = []

    def is_answered() -> bool:
        try:
            answers.append(ask())
        except Unavailable:
            return False
        return True

    wait_until(is_answered, "the API server answers", timeout=SECONDS, clock=CLOCK)
    return answers[0]


def wait_for(ask: Callable[[], T], wanted: T) -> None:
    """Until that is what it answers."""
    what = f"the answer {wanted}"
    wait_until(lambda: patiently(ask) == wanted, what, timeout=SECONDS, clock=CLOCK)
