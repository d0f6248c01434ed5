"""What the control plane decided, and why: for people, kept in the store, bounded."""

import logging

from replication.clock import Clock
from replication.control.store.base import Event, Store
from replication.errors import TrilithError

logger = logging.getLogger(__name__)


class Events:
    """The newest decisions. Writing one never fails an operation: the record is the truth, not this."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def write(self, subject: str, kind: str, message: str) -> None:
        event = self.make(subject, kind, message)
        log(event)
        try:
            self._store.add_event(event)
        except TrilithError as error:
            logger.warning("event not kept: %s", error)

    def make(self, subject: str, kind: str, message: str) -> Event:
        """One that happens now, to be kept together with what it tells of."""
        return Event(self._clock.wall(), subject, kind, message)

    def list(self, subject: str | None = None, limit: int = 100) -> tuple[Event, ...]:
        """The newest first."""
        return self._store.list_events(subject, limit)


def log(event: Event) -> None:
    logger.info("%s: %s", event.kind, event.message)
