"""How far the enumeration goes: what fits into `make check`, and what a night has time for."""

from typing import NamedTuple

from tests.simulation.explore import Atlas, Found, explore
from tests.simulation.kernel import Ways
from tests.simulation.starts import starts


class Run(NamedTuple):
    """From all stories, `depth` moves, of which so many are faults and delays."""

    name: str
    replicas: int
    faults: int
    delays: int
    depth: int
    ways: Ways = Ways()

    def explore(self, atlas: Atlas | None = None) -> Found:
        """`atlas` when runs are to know what others have found out."""
        return explore(starts(self.replicas, self.faults, self.delays, self.ways), self.depth, atlas=atlas)

    def deeper(self, more: int) -> "Run":
        return self._replace(depth=self.depth + more)


VOLATILE = Ways(volatile=True)

RUNS = (
    Run("three replicas, a fault", 3, faults=1, delays=0, depth=4),
    Run("three replicas, a slow call", 3, faults=0, delays=1, depth=4),
    Run("three replicas, a fault during a slow call", 3, faults=1, delays=1, depth=3),
    Run("three replicas, two faults", 3, faults=2, delays=0, depth=3),
    Run("three replicas, two slow calls", 3, faults=0, delays=2, depth=3),
    Run("three replicas, volatile caches", 3, faults=1, delays=0, depth=3, ways=VOLATILE),
    Run("three replicas, volatile caches, a slow call", 3, faults=1, delays=1, depth=3, ways=VOLATILE),
    Run("five replicas, a fault", 5, faults=1, delays=0, depth=3),
    Run("five replicas, a slow call", 5, faults=0, delays=1, depth=3),
    Run("five replicas, two faults", 5, faults=2, delays=0, depth=2),
)


def describe(run: Run, found: Found, seconds: float) -> str:
    speed = found.steps / max(seconds, 0.001)
    return (
        f"{run.name}: depth {found.depth}, {found.worlds} worlds, {found.steps} steps, "
        f"{seconds:.1f} s ({speed:.0f} steps/s)"
    )
