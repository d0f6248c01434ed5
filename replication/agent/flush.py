"""Bound what a member's disk may forget when its power goes.

md clears a chunk's bit some time after the chunk was last written, whether or not the members have flushed
it. A member with a volatile cache that loses power may so lack a write that no bitmap marks. Therefore the
bits live for TIME_BASE seconds at least, and every member that was written to is flushed every FLUSH_EVERY
seconds: as long as a member's newest complete flush is younger than TIME_BASE, everything it can have
forgotten is still marked. (md clears a bit in the second round after its last write,
drivers/md/md-bitmap.c: md_bitmap_daemon_work.)
"""

import threading
from functools import partial

from replication.agent.assembled import Arrays
from replication.agent.machine import Machine
from replication.agent.members import Joint
from replication.errors import TrilithError
from replication.kernel.sysfs import Held

TIME_BASE = 30  # seconds; md/bitmap/time_base
FLUSH_EVERY = 8.0
FLUSH_TIMEOUT = 10.0
_MARGIN = 2.0  # seconds between a flush's start and its being counted, and clocks of different threads


def bitmap_covers(joint: Joint, now: float) -> bool:
    """Whether the bitmap marks all that this member's disk may have forgotten at time `now`."""
    return now - joint.flushed < TIME_BASE - _MARGIN


def flush(machine: Machine, joint: Joint, *, timeout: float) -> None:
    """All that was acknowledged before this call is durable on the member. TimedOut while it is held."""
    begun = machine.clock.now()
    act = partial(machine.apart.flush, f"/dev/{joint.kname}")
    machine.blocking.call(f"flush {joint.hold}", act, timeout=timeout)
    joint.flushed = begun


class Flusher:
    """Flushes every member in turn; a held one holds the others up for half a second."""

    def __init__(self, machine: Machine, arrays: Arrays) -> None:
        self._machine = machine
        self._arrays = arrays
        self._held = Held(machine.tree)
        self._writes: dict[str, int] = {}  # by hold layer: sectors that had been written at the last flush
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="flusher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(FLUSH_EVERY):
            joints = [joint for array in self._arrays.list_all() for joint in tuple(array.members.values())]
            self._held.keep({_stat_name(joint) for joint in joints})
            for joint in joints:
                self._flush_if_written(joint)

    def _flush_if_written(self, joint: Joint) -> None:
        """Also when it is suspected: writes may go on to reach it for as long as nobody answers."""
        if joint.released:
            return
        try:
            written, begun = self._count_writes(joint), self._machine.clock.now()
            if written is None:
                return
            if written == self._writes.get(joint.hold):
                joint.flushed = begun
                return
            flush(self._machine, joint, timeout=0.5)
            self._writes[joint.hold] = written
        except TrilithError:  # held, refused or gone: the watcher reports it, and `flushed` stays old
            return

    def _count_writes(self, joint: Joint) -> int | None:
        text = self._held.find(_stat_name(joint))
        return None if text is None else parse_sectors_written(text)


def _stat_name(joint: Joint) -> str:
    return f"/sys/class/block/{joint.kname}/stat"


def parse_sectors_written(stat: str) -> int:
    """What a device has written so far (Documentation/block/stat.rst, the seventh number).

    Not the number of writes: device-mapper counts every flush as one (6.12), so that each would ask for the
    next.
    """
    return int(stat.split()[6])
