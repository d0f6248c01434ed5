"""Calls made by several threads at once, and how long each took."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds of each call, and how many ended in a second."""

    samples: tuple[float, ...]
    per_second: float

    @property
    def p50(self) -> float:
        return quantile(self.samples, 0.5)

    @property
    def p99(self) -> float:
        return quantile(self.samples, 0.99)


def quantile(samples: Sequence[float], share: float) -> float:
    """The smallest of `samples` that `share` of them do not exceed."""
    return sorted(samples)[max(0, math.ceil(share * len(samples)) - 1)]


def measure(
    call: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> tuple[Timing, tuple[Result, ...]]:
    """`call` of each item, `threads` at a time, and what they return, in order."""

    def timed(item: Item) -> tuple[float, Result]:
        begun = time.perf_counter()
        result = call(item)
        return (time.perf_counter() - begun) * 1000, result

    begun = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        done = tuple(pool.map(timed, items))
    seconds = time.perf_counter() - begun
    samples = tuple(milliseconds for milliseconds, _ in done)
    return Timing(samples, len(done) / seconds), tuple(result for _, result in done)
