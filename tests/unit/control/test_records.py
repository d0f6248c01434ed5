"""Records are changed by whoever is first, and by nobody whose operation another process has taken over."""

import threading

import pytest

from replication.clock import SystemClock
from replication.control.events import Events
from replication.control.insync import begin_detach
from replication.control.records import Records
from replication.control.store.base import Event
from replication.control.store.memory import MemoryStore
from replication.errors import Conflict
from replication.model import Versioned, Volume
from tests.unit.control.records import volume


class Taken(MemoryStore):
    """As a store in Kubernetes does whose lock was lost: it refuses every swap, whatever the version."""

    swaps = 0

    def swap_volume(self, volume: Volume, expected_version: int, events: tuple[Event, ...] = ()) -> Versioned:
        self.swaps += 1
        raise Conflict("another process has taken the operation over")


class Overtaken(MemoryStore):
    """Somebody is first, once."""

    def __init__(self) -> None:
        super().__init__()
        self._first = threading.Event()

    def swap_volume(self, volume: Volume, expected_version: int, events: tuple[Event, ...] = ()) -> Versioned:
        if not self._first.is_set():
            self._first.set()
            found = self.get_volume(volume.id)
            super().swap_volume(found.volume, found.version)
        return super().swap_volume(volume, expected_version, events)


def test_whose_operation_was_taken_over_changes_nothing_and_ends() -> None:
    store = Taken()
    store.add_volume(volume())
    records = Records(store, SystemClock(), Events(store, SystemClock()))
    with pytest.raises(Conflict, match="taken over"):
        records.change("v0", begin_detach)
    assert store.swaps == 1
    assert store.get_volume("v0") == Versioned(volume(), 1)


def test_who_comes_second_tries_again_on_what_is_there_now() -> None:
    store = Overtaken()
    store.add_volume(volume())
    records = Records(store, SystemClock(), Events(store, SystemClock()))
    assert records.change("v0", begin_detach).version == 3
