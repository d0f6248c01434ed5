"""Looking at many things, some at a time."""

from collections.abc import Sequence
from typing import TypeVar

TURNS = 8  # rounds that it takes at most until everything has been looked at
AT_ONCE = 8  # things that are looked at in a round at least

T = TypeVar("T")


def choose_turn(things: Sequence[T], number: int) -> Sequence[T]:
    """All of them when they are few; else those of round `number`, such that TURNS rounds see all."""
    parts = min(TURNS, max(1, len(things) // AT_ONCE))
    return things[number % parts :: parts]
