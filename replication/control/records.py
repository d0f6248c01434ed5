"""Changing a volume's record: a pure step, swapped in, tried again when somebody was first."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager

from replication.clock import Clock
from replication.control.events import Events
from replication.control.insync import stamp
from replication.control.store.base import Store
from replication.errors import Conflict
from replication.model import Versioned, Volume

PATIENCE = 10.0  # for another operation on the same volume, before Conflict is raised

logger = logging.getLogger(__name__)


class Records:
    """The only way that this program writes volumes' records."""

    def __init__(self, store: Store, clock: Clock, events: Events) -> None:
        self.store = store
        self.clock = clock
        self._events = events

    def get(self, volume_id: str) -> Versioned:
        return self.store.get_volume(volume_id)

    def change(self, volume_id: str, step: Callable[[Volume], Volume]) -> Versioned:
        """The record after `step`, which may run several times; unchanged when it changes nothing.

        Every Conflict of a swap means that another swap succeeded, so this ends.
        """
        while True:
            found = self.store.get_volume(volume_id)
            after = stamp(found.volume, step(found.volume), self.clock.wall(), found.version + 1)
            if after == found.volume:
                return found
            try:
                swapped = self.store.swap_volume(after, found.version)
            except Conflict:
                continue
            self._tell(found.volume, after)
            return swapped

    def lock(self, volume_id: str, operation: str, timeout: float = PATIENCE) -> AbstractContextManager[None]:
        """Operations exclude each other by it. Losing and recovering replicas never take it."""
        return self.store.lock(volume_id, operation, timeout)

    def tell(self, volume: Volume, kind: str, message: str) -> None:
        """An event about the volume; logged only, when the store does not take it."""
        self._events.write(volume.id, kind, f"{volume.name}: {message}")

    def _tell(self, before: Volume, after: Volume) -> None:
        states = {r.id: r.state for r in before.replicas}
        for replica in after.replicas:
            if states.get(replica.id) is not replica.state:
                where = f"replica {replica.id} on node {replica.node}"
                how = "" if replica.state == "in_sync" else f" (to be copied: {replica.copy})"
                self.tell(after, replica.state, f"{where} is {replica.state}{how}, epoch {after.epoch}")
