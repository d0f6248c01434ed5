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
    """Milliseconds of each call, how many ended in a second, and what one took of a processor."""

    samples: tuple[float, ...]
    per_second: float
    busy: float  # milliseconds of this process: plugin, caller and simulated nodes

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

    begun, used = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(threads) as pool:
        done = tuple(pool.map(timed, items))
    seconds, busy = time.perf_counter() - begun, time.process_time() - used
    samples = tuple(milliseconds for milliseconds, _ in done)
    return Timing(samples, len(done) / seconds, busy * 1000 / len(done)), tuple(result for _, result in done)
