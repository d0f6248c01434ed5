"""How long a remote member takes to answer, from the kernel's own counters of its hold layer.

Two signs: requests under way of which none has ended for a while, and the mean time of writes that did end.
The first finds a member that stands still, the second one that answers all the time, only late.
"""

from dataclasses import dataclass

from replication.agent.members import Joint
from replication.errors import KernelError, NotFound
from replication.kernel.sysfs import Tree

SAMPLE_EVERY = 2.0  # seconds; a hundred volumes are looked at for little
LONGEST_SPAN = 2 * SAMPLE_EVERY


@dataclass(frozen=True, slots=True)
class Counters:
    """Of a block device: Documentation/block/stat.rst."""

    ended: int  # reads, writes and flushes
    writes: int
    write_seconds: float  # of all writes together
    under_way: int


@dataclass(frozen=True, slots=True)
class Pace:
    """What was seen at `time`."""

    counters: Counters
    time: float
    still_seconds: float = 0.0  # requests have been under way for so long, and none has ended
    write_seconds: tuple[float, float] = (0.0, 0.0)  # mean of writes that ended, in the last two spans

    @property
    def seconds(self) -> float:
        """How long it takes to answer, at least."""
        return max(self.still_seconds, min(self.write_seconds))


def parse_counters(text: str) -> Counters:
    words = [int(word) for word in text.split()]
    flushes = words[15] if len(words) > 15 else 0
    return Counters(words[0] + words[4] + flushes, words[4], words[7] / 1000, words[8])


def follow(before: Pace | None, now: Counters, time: float) -> Pace:
    """Pure. A long time between two looks was our own sleep: it is not held against the member."""
    if before is None:
        return Pace(now, time)
    waited = now.under_way and before.counters.under_way and now.ended == before.counters.ended
    span = min(time - before.time, LONGEST_SPAN)
    writes = now.writes - before.counters.writes
    mean = (now.write_seconds - before.counters.write_seconds) / writes if writes > 0 else 0.0
    still = before.still_seconds + span if waited else 0.0
    return Pace(now, time, still, (before.write_seconds[1], mean))


class Paces:
    """Of every remote member that has not been dropped. For one thread."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._all: dict[str, Pace] = {}

    def sample(self, joints: list[Joint], now: float) -> None:
        """Look at these, and forget all others; not more often than every SAMPLE_EVERY."""
        before, self._all = self._all, {}
        for joint in joints:
            known = before.get(joint.hold)
            if known is not None and now - known.time < SAMPLE_EVERY:
                self._all[joint.hold] = known
                continue
            counters = self._read(joint.kname)
            if counters is not None:
                self._all[joint.hold] = follow(known, counters, now)

    def seconds(self, joint: Joint) -> float:
        """How long it takes to answer; 0 as long as nothing is known."""
        pace = self._all.get(joint.hold)
        return 0.0 if pace is None else pace.seconds

    def _read(self, kname: str) -> Counters | None:
        try:
            return parse_counters(self._tree.read(f"/sys/class/block/{kname}/stat"))
        except (NotFound, KernelError):  # being taken away
            return None
