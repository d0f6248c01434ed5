"""Replicas whose disk refused a write: their headers say so, and the record's next epoch leaves them out.

Such an error passes the hold layer, so that the array may go on, and acknowledge a few writes, before the
record has changed (docs/adr/0020-suspects.md). If its consumer dies in that moment, nobody but the replica's
own node knows that it lacks them.
"""

import logging
import threading
from collections.abc import Callable, Collection
from pathlib import Path

from replication.agent.books import Place
from replication.agent.machine import Machine
from replication.agent.names import parse_mapped_name
from replication.agent.storage import Storage
from replication.clock import Clock
from replication.errors import KernelError, NotFound, TrilithError
from replication.files import write_whole
from replication.kernel.refusals import Refusal

_log = logging.getLogger(__name__)
_LISTEN = 5.0  # seconds until it is looked whether to stop
_PAUSE = 0.5  # a disk that fails for good refuses thousands a second
_TRY_AGAIN = 10.0  # a header that cannot be written lies on that very disk
_KEPT = "/run/trilith/suspects"  # gone with the boot, as is what the kernel remembers

Key = tuple[str, str]
"""A volume and a replica of it."""


class Suspects:
    """Which replicas are to be marked: their header does not say yet what their disk has done.

    Who reads of a refusal takes it out of the kernel's buffer: what cannot be marked at once is put down for
    the agent after us.
    """

    def __init__(self, machine: Machine, storage: Storage) -> None:
        self._machine = machine
        self._storage = storage
        self._lock = threading.Lock()
        self._refusals: tuple[Refusal, ...] = ()  # that nobody has looked for yet
        self._kept = machine.tree.path(_KEPT)
        self._unmarked = read_kept(self._kept)

    def wait(self, timeout: float) -> None:
        """Until a disk refuses something, or for `timeout` seconds."""
        self._machine.refusals.wait(timeout)

    def collect(self) -> frozenset[Key]:
        """Those that are unmarked by now, with what the kernel has told until this very call."""
        with self._lock:
            self._refusals += self._machine.refusals.read()
            if self._refusals:
                places = self._storage.list_places()
                hit = {_key(place) for place in places if self._is_hit(place)}
                self._know(self._unmarked | hit | self._find_unlisted())
                self._refusals = ()
            return self._unmarked

    def has(self, volume_id: str, replica_id: str) -> bool:
        """Whether its disk has refused a write until now, and its header does not say so."""
        return (volume_id, replica_id) in self.collect()

    def settle(self, volume_id: str, replica_id: str) -> None:
        """Its header says it, or there is no such replica any more."""
        with self._lock:
            self._know(self._unmarked - {(volume_id, replica_id)})

    def _know(self, unmarked: frozenset[Key]) -> None:
        if unmarked != self._unmarked:
            self._unmarked = unmarked
            keep(self._kept, unmarked)

    def _is_hit(self, place: Place) -> bool:
        """What cannot be looked at counts as hit; what is not there is not."""
        devices = [part.device for part in place.parts] or [place.device]
        try:
            return any(self._is_touched(device) for device in devices)
        except KernelError:
            return True

    def _is_touched(self, device: str) -> bool:
        try:
            return self._touch(self._machine.tree.device_number(device))
        except NotFound:
            return False

    def _find_unlisted(self) -> set[Key]:
        """LVM may not show an agent that has begun since what its disk goes on with: it errs."""
        mapped = self._machine.refusals.mapped().items()
        found = [(parse_mapped_name(name), number) for name, number in mapped]
        return {key for key, number in found if key is not None and self._touch(number)}

    def _touch(self, number: str) -> bool:
        table = self._machine.refusals.table(number)
        return any(refusal.touches(table) for refusal in self._refusals)


class Marking:
    """Marks them as soon as the kernel tells."""

    def __init__(self, suspects: Suspects, mark: Callable[[str, str], None], clock: Clock) -> None:
        self._suspects = suspects
        self._mark = mark
        self._clock = clock
        self._not_before: dict[Key, float] = {}  # of those whose header could not be written
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="suspects", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """It ends within some seconds."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._suspects.wait(_LISTEN)
            for key in self._suspects.collect():
                if self._not_before.get(key, 0.0) <= self._clock.now():
                    self._try_to_mark(key)
            self._stop.wait(_PAUSE)

    def _try_to_mark(self, key: Key) -> None:
        try:
            self._mark(*key)
        except TrilithError as error:
            if key not in self._not_before:
                _log.warning("replica %s of %s is suspect, its header cannot say so: %s", *key[::-1], error)
            self._not_before[key] = self._clock.now() + _TRY_AGAIN
        else:
            self._not_before.pop(key, None)


def _key(place: Place) -> Key:
    return place.volume_id, place.replica_id


def read_kept(path: Path) -> frozenset[Key]:
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset((words[0], words[1]) for words in map(str.split, lines) if len(words) == 2)


def keep(path: Path, keys: Collection[Key]) -> None:
    """Where it cannot be put down it is known to this process alone."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, "".join(f"{volume_id} {replica_id}\n" for volume_id, replica_id in keys).encode())
    except OSError as error:
        _log.warning("what disks have refused is not kept for the next agent: %s", error)
