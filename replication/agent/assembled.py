"""An array that is assembled on this node, and what the agent remembers of it between two looks."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from replication.agent.members import Joint
from replication.agent.slowness import Counters
from replication.errors import NotFound, TimedOut
from replication.model import ArrayReport
from replication.tuning import Tuning

PATIENCE = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class Turn:
    """A copy runs, or stands still for the array's users."""

    begun: float
    paused: bool
    counters: Counters  # what users had done when it began
    bound: int  # bytes a second that it is to have when it runs


@dataclass(slots=True)
class Assembled:
    """`lock` is held by whoever changes the array or its members; looking at the kernel needs none.

    md adds and removes members, and sets their flags, between writes only (mddev_suspend): whoever does that
    under `lock` may have to wait for a write, and that write for us. So letting writes go takes another lock,
    `release_lock`, under which nobody ever waits for a write.
    """

    volume_id: str
    epoch: int
    members: dict[str, Joint]
    record_version: int = 0  # of the newest confirmation
    held_since: float | None = None
    recovery_bytes: int = 0  # to copy in the newest recovery
    writes_kept: bool = False  # by who changed the array, and died or ran out of time: they are to go on
    write_mostly_settled: bool = False  # remote members all write_mostly: true once no resync is owed
    report: ArrayReport | None = None  # the newest
    restless: bool = True  # as of the newest look: something goes on that no sign tells the progress of
    tuning: Tuning | None = None  # what we have been told, if anything
    turn: Turn | None = None  # of its copy, while there is one
    lock: threading.RLock = field(default_factory=threading.RLock)
    release_lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """With `lock`; TimedOut after as long as the least patient caller waits.

        Each call that waits has one of the agent's threads: with none left nobody could say to it that a
        member is dropped, of whichever array.
        """
        if not self.lock.acquire(timeout=PATIENCE):
            raise TimedOut(f"the array of volume {self.volume_id} is being changed for {PATIENCE:g} s")
        try:
            yield
        finally:
            self.lock.release()

    def released(self) -> frozenset[str]:
        """Md's names of the members that have been dropped."""
        return frozenset(joint.kname for joint in tuple(self.members.values()) if joint.released)


class Arrays:
    """All arrays of this node, by volume. Safe to use from several threads."""

    def __init__(self, found: Iterable[Assembled] = ()) -> None:
        self._lock = threading.Lock()
        self._arrays = {array.volume_id: array for array in found}

    def find(self, volume_id: str) -> Assembled | None:
        with self._lock:
            return self._arrays.get(volume_id)

    def get(self, volume_id: str) -> Assembled:
        array = self.find(volume_id)
        if array is None:
            raise NotFound(f"volume {volume_id} has no array on this node")
        return array

    def put(self, array: Assembled) -> None:
        with self._lock:
            self._arrays[array.volume_id] = array

    def remove(self, volume_id: str) -> None:
        with self._lock:
            self._arrays.pop(volume_id, None)

    def list_all(self) -> tuple[Assembled, ...]:
        with self._lock:
            return tuple(self._arrays.values())
