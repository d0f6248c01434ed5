"""Replicas whose disk refused a write: their headers say so, and the record's next epoch leaves them out.

Such an error passes the hold layer, so that the array may go on, and acknowledge a few writes, before the
record has changed (docs/adr/0020-suspects.md). If its consumer dies in that moment, nobody but the replica's
own node knows that it lacks them.
"""

import logging
import threading
from collections.abc import Callable

from replication.agent.books import Place
from replication.agent.machine import Machine
from replication.agent.storage import Storage
from replication.errors import TrilithError
from replication.kernel.refusals import Refusal

_log = logging.getLogger(__name__)
_LISTEN = 5.0  # seconds until it is looked whether to stop
_PAUSE = 0.5  # a disk that fails for good refuses thousands a second
_TRY_AGAIN = 10.0  # a header that cannot be written lies on that very disk

Key = tuple[str, str]
"""A volume and a replica of it."""


class Suspects:
    """Which replicas are to be marked: their header does not say yet what their disk has done."""

    def __init__(self, machine: Machine, storage: Storage) -> None:
        self._machine = machine
        self._storage = storage
        self._lock = threading.Lock()
        self._unmarked: set[Key] = set()

    def wait(self, timeout: float) -> None:
        """Until a disk refuses something, or for `timeout` seconds."""
        self._machine.refusals.wait(timeout)

    def collect(self) -> frozenset[Key]:
        """Those that are unmarked by now, with what the kernel has told until this very call."""
        with self._lock:
            refusals = self._machine.refusals.read()
            if refusals:
                places = self._storage.list_places()
                self._unmarked |= {_key(place) for place in places if self._is_hit(place, refusals)}
            return frozenset(self._unmarked)

    def has(self, volume_id: str, replica_id: str) -> bool:
        """Whether its disk has refused a write until now, and its header does not say so."""
        return (volume_id, replica_id) in self.collect()

    def settle(self, volume_id: str, replica_id: str) -> None:
        """Its header says it, or it is over."""
        with self._lock:
            self._unmarked.discard((volume_id, replica_id))

    def _is_hit(self, place: Place, refusals: tuple[Refusal, ...]) -> bool:
        devices = [part.device for part in place.parts] or [place.device]
        numbers = [self._machine.tree.device_number(device) for device in devices]
        tables = [self._machine.refusals.table(number) for number in numbers]
        return any(refusal.touches(table) for refusal in refusals for table in tables)


class Marking:
    """Marks them as soon as the kernel tells."""

    def __init__(self, suspects: Suspects, mark: Callable[[str, str], None]) -> None:
        self._suspects = suspects
        self._mark = mark
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="suspects", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """It ends within some seconds."""
        self._stop.set()

    def _run(self) -> None:
        pause = 0.0
        while not self._stop.wait(pause):
            self._suspects.wait(_LISTEN)
            unmarked = self._suspects.collect()
            done = [self._try_to_mark(key) for key in unmarked]
            pause = _PAUSE if all(done) else _TRY_AGAIN

    def _try_to_mark(self, key: Key) -> bool:
        try:
            self._mark(*key)
        except TrilithError as error:
            _log.warning("replica %s of %s: its disk refused a write, and its header: %s", *key[::-1], error)
            return False
        return True


def _key(place: Place) -> Key:
    return place.volume_id, place.replica_id
