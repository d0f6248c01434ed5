"""Calls made by several threads of another process at once, and how long each took."""

import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from replication.kernel.run import run

LONGEST = 1800.0


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds of each call, how many ended in a second, and what one took of a processor."""

    samples: tuple[float, ...]
    per_second: float
    busy: float  # milliseconds of this process: plugin and simulated nodes

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
    socket: Path, call: str, items: Sequence[tuple[str, str]], threads: int
) -> tuple[Timing, tuple[str, ...]]:
    """`call` of each (volume, node), `threads` at a time, and what they return, in order."""
    command = [sys.executable, "-m", "tests.scale.callers", str(socket), call, str(threads)]
    used = time.process_time()
    found = json.loads(run(command, timeout=LONGEST, stdin=json.dumps(items).encode()))
    busy = (time.process_time() - used) * 1000 / len(items)
    return Timing(tuple(found["samples"]), len(items) / found["seconds"], busy), tuple(found["results"])
