"""Old bytes are overwritten in the background, so that making a replica takes as long for any size.

What is to be wiped lies in dirty logical volumes. Their ends are zeroed, piece by piece, made stable, and cut
off: what is cut off is free. After a crash that is gone on with which is still there. It yields to whoever
uses the disk, and hurries while somebody waits for room.
"""

import logging
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from replication.agent.machine import Machine
from replication.agent.storage import Dirty, Storage
from replication.errors import NotWiped, TimedOut, TrilithError
from replication.kernel import blockdev, direct
from replication.model import GIB, MIB, VolumeGroup

_log = logging.getLogger(__name__)

PIECE_BYTES = 16 * MIB  # what a user's request may have to wait behind
SLICE_BYTES = GIB  # is cut off at once: each cut runs a program
PATIENCE = 60.0  # seconds that a call waits for room; below any of their deadlines
LOOK = 0.02  # seconds for which nobody may have used a disk that counts as idle
BUSY_PAUSE = 0.25  # between two pieces on a disk that is used
IDLE_PAUSE = 600.0
RETRY_PAUSE = 10.0
STEP_TIMEOUT = 20.0
WAITING = 8  # calls: each keeps one of the agent's threads, and whoever lets writes go needs one
_POLL = 0.05

T = TypeVar("T")
Zeroing = Callable[[str, int, int], None]
"""Of a device, from a byte on, so many: they are zeroes and stable when it returns."""


@dataclass(frozen=True, slots=True)
class Zero:
    """Write zeroes to this range."""

    begin_bytes: int
    length_bytes: int


@dataclass(frozen=True, slots=True)
class Cut:
    """Keep so much of the logical volume; 0: it goes."""

    size_bytes: int


def choose_step(size_bytes: int, clean_bytes: int, lacking_bytes: int) -> Zero | Cut:
    """For a dirty volume that has zeroes in its last `clean_bytes`, while calls lack `lacking_bytes` of room.

    From the end, so that what is clean can be cut off at any time.
    """
    enough = lacking_bytes if lacking_bytes > 0 else SLICE_BYTES
    if clean_bytes >= min(enough, SLICE_BYTES, size_bytes):
        return Cut(size_bytes - clean_bytes)
    left = size_bytes - clean_bytes
    length = min(PIECE_BYTES, left)
    return Zero(left - length, length)


def count_uses(stat: str) -> tuple[int, int, int]:
    """Reads and writes that a disk has ended, and requests that it has not (Documentation/block/stat.rst)."""
    words = stat.split()
    return int(words[0]), int(words[4]), int(words[8])


class Wiper:
    """Of one volume group, in a thread of its own: a disk that does not answer keeps no other waiting."""

    def __init__(
        self, machine: Machine, storage: Storage, group: VolumeGroup, zero: Zeroing = direct.zero_range
    ) -> None:
        self._machine = machine
        self._storage = storage
        self._zero = zero
        self._name, self._disk = group.name, group.disk  # the disk's path may change
        self._stepping = threading.Lock()
        self._wanted: dict[object, int] = {}  # bytes, by the call that waits for them
        self._known: tuple[str, int, int] = ("", 0, 0)  # the volume last wiped, its size, what of it is clean
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._trouble = ""
        self._thread = threading.Thread(target=self._run, name=f"wiper of {self._name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._wake.set()
        self._thread.join()

    def wake(self) -> None:
        self._wake.set()

    def want(self, call: object, size_bytes: int) -> None:
        """`call` waits for so much room, or for no more."""
        if not size_bytes:
            self._wanted.pop(call, None)
        elif self._wanted.get(call) != size_bytes:
            self._wanted[call] = size_bytes
            self._wake.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(self._step_safely())
            self._wake.clear()

    def _step_safely(self) -> float:
        try:
            pause = self.step()
        except TrilithError as error:
            self._tell(f"old bytes on {self._disk} are not wiped, tried every {RETRY_PAUSE:g} s: {error}")
            self._stop.wait(RETRY_PAUSE)  # whoever waits for room cannot hurry it
            return 0.0
        self._trouble = ""
        return pause

    def _tell(self, trouble: str) -> None:
        if trouble != self._trouble:
            _log.warning(trouble)
        self._trouble = trouble

    def step(self) -> float:
        """Seconds until the next one."""
        with self._stepping:
            group = self._storage.find_volume_group(self._name)
            if group is None:
                return IDLE_PAUSE
            self._disk = group.disk
            self._storage.doubt_free_space(self._name)
            self._storage.name_discarded(self._name)
            dirty = next(iter(self._storage.list_dirty(self._name)), None)
            if dirty is None:
                return IDLE_PAUSE
            return self._wipe(dirty, self._find_lack(group))

    @contextmanager
    def between_steps(self) -> Iterator[None]:
        if not self._stepping.acquire(timeout=STEP_TIMEOUT):
            raise TimedOut(f"{self._disk} is being wiped, and does not answer")
        try:
            yield
        finally:
            self._stepping.release()

    def _find_lack(self, group: VolumeGroup) -> int:
        return sum(tuple(self._wanted.values())) - group.free_bytes if self._wanted else 0

    def _wipe(self, dirty: Dirty, lacking_bytes: int) -> float:
        name, size, clean = self._known
        self._known = ("", 0, 0)  # whatever fails now, begin anew
        if (name, size) != (dirty.name, dirty.size_bytes):
            clean = 0
            self._hide(dirty)
        step = choose_step(dirty.size_bytes, clean, lacking_bytes)
        if isinstance(step, Cut):
            self._storage.cut(self._name, dirty.name, step.size_bytes)
            self._known = (dirty.name, step.size_bytes, 0)
            return 0.0
        self._zero(dirty.device, step.begin_bytes, step.length_bytes)
        self._known = (dirty.name, dirty.size_bytes, clean + step.length_bytes)
        return 0.0 if lacking_bytes > 0 or not self._is_used() else BUSY_PAUSE

    def _hide(self, dirty: Dirty) -> None:
        """A file system that happens to begin with the volume would keep LVM from cutting it."""
        self._zero(dirty.device, 0, min(MIB, dirty.size_bytes))

    def _is_used(self) -> bool:
        """By others, since our own request has ended."""
        name = f"/sys/class/block/{blockdev.kernel_name(self._machine.tree, self._disk)}/stat"
        before = count_uses(self._machine.tree.read(name))
        self._machine.clock.sleep(LOOK)
        after = count_uses(self._machine.tree.read(name))
        return after != before or after[2] > 0


class Wiping:
    """All wipers of this node."""

    def __init__(self, machine: Machine, storage: Storage, zero: Zeroing = direct.zero_range) -> None:
        self._machine = machine
        self._storage = storage
        self._zero = zero
        self._lock = threading.Lock()
        self._waiting = threading.BoundedSemaphore(WAITING)
        self._wipers: dict[str, Wiper] = {}

    def follow(self) -> None:
        """Begin, also with volume groups that have come since."""
        with self._lock:
            for group in self._storage.list_volume_groups():
                if group.name not in self._wipers:
                    self._wipers[group.name] = Wiper(self._machine, self._storage, group, self._zero)
                    self._wipers[group.name].start()
                self._wipers[group.name].wake()

    def stop(self) -> None:
        with self._lock:
            for wiper in self._wipers.values():
                wiper.stop()

    @contextmanager
    def paused(self, groups: Collection[str]) -> Iterator[None]:
        """No dirty volume of these is open inside; they may go. TimedOut when a disk hangs."""
        with self._lock:
            wipers = [self._wipers[group] for group in groups if group in self._wipers]
        with ExitStack() as stack:
            for wiper in wipers:
                stack.enter_context(wiper.between_steps())
            yield

    def wake(self, group: str) -> None:
        self._tell(group, Wiper.wake)

    def with_room(self, group: str, act: Callable[[], T]) -> T:
        """What `act` returns, as soon as it does not raise NotWiped.

        That, after PATIENCE, or at once when others wait in number.
        """
        try:
            return act()
        except NotWiped:
            if not self._waiting.acquire(blocking=False):
                raise
        try:
            return self._wait_for_room(group, act)
        finally:
            self._waiting.release()

    def _wait_for_room(self, group: str, act: Callable[[], T]) -> T:
        clock, call = self._machine.clock, object()
        deadline, told = clock.now() + PATIENCE, {group}
        try:
            while True:
                try:
                    return act()
                except NotWiped as error:
                    if clock.now() >= deadline:
                        raise
                    where = error.volume_group or group
                    told.add(where)
                    self._tell(where, partial(Wiper.want, call=call, size_bytes=error.wanted_bytes))
                clock.sleep(_POLL)
        finally:
            for each in told:
                self._tell(each, partial(Wiper.want, call=call, size_bytes=0))

    def _tell(self, group: str, word: Callable[[Wiper], None]) -> None:
        with self._lock:
            wiper = self._wipers.get(group)
        if wiper is not None:
            word(wiper)
