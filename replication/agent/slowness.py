"""How long a remote member takes to answer, from the kernel's own counters of its hold layer.

Two signs: requests under way of which none has ended for a while, and the mean time of writes that did end.
The first finds a member that stands still, the second one that answers all the time, only late.
"""

from collections.abc import Collection
from dataclasses import dataclass

from replication.agent.members import Joint
from replication.kernel.sysfs import Held, Tree

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

    @property
    def at_rest(self) -> bool:
        """The same counters at the next look change nothing."""
        return not self.counters.under_way and not any(self.write_seconds)


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
        self._held = Held(tree)
        self._all: dict[str, Pace] = {}
        self._texts: dict[str, str] = {}
        self._sampled = float("-inf")
        self.any_slow = False  # whether there is a member that `seconds` has to be asked about

    def sample(self, joints: Collection[Joint], now: float) -> None:
        """Forget all others; look at these, not more often than every SAMPLE_EVERY."""
        for gone in self._all.keys() - {joint.hold for joint in joints}:
            self._forget(gone)
        if now - self._sampled < SAMPLE_EVERY:
            return
        self._sampled = now
        self._held.keep({_stat_name(joint) for joint in joints})
        for joint in joints:
            self._look(joint, now)
        self.any_slow = any(pace.seconds for pace in self._all.values() if not pace.at_rest)

    def seconds(self, joint: Joint) -> float:
        """How long it takes to answer; 0 as long as nothing is known."""
        pace = self._all.get(joint.hold)
        return 0.0 if pace is None else pace.seconds

    def _look(self, joint: Joint, now: float) -> None:
        before, text = self._all.get(joint.hold), self._held.find(_stat_name(joint))
        if text is None:  # being taken away
            self._forget(joint.hold)
        elif before is None or not before.at_rest or text != self._texts.get(joint.hold):
            self._all[joint.hold] = follow(before, parse_counters(text), now)
            self._texts[joint.hold] = text

    def _forget(self, hold: str) -> None:
        self._all.pop(hold, None)
        self._texts.pop(hold, None)


def _stat_name(joint: Joint) -> str:
    return f"/sys/class/block/{joint.kname}/stat"
