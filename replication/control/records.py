"""Changing a volume's record: a pure step, swapped in, tried again when somebody was first."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager

from replication.clock import Clock
from replication.control.events import Events, log
from replication.control.insync import stamp
from replication.control.store.base import Event, Store
from replication.errors import Conflict, TrilithError, Unavailable
from replication.model import Phase, Replica, ReplicaState, Versioned, Volume

PATIENCE = 10.0  # for another operation on the same volume, before Conflict is raised
TURN_SECONDS = 2.0
"""For a rebuild, or a fence, that is tried again and again and would be in the way each time: of what is
planned now and then only."""

logger = logging.getLogger(__name__)


class Records:
    """The only way that this program writes volumes' records."""

    def __init__(self, store: Store, clock: Clock, events: Events) -> None:
        self.store = store
        self.clock = clock
        self._events = events

    def get(self, volume_id: str) -> Versioned:
        return self.store.get_volume(volume_id)

    def recall(self, volume_id: str) -> Versioned | None:
        """As it was known last, which may be old; None where to read costs nothing."""
        return self.store.recall_volume(volume_id)

    def change(
        self, volume_id: str, step: Callable[[Volume], Volume], told: tuple[str, str] | None = None
    ) -> Versioned:
        """The record after `step`, which may run several times; unchanged when it changes nothing.

        `told`, kind and message of an event, is kept with the change, as are those about replicas' states.
        Every Conflict of a swap means that another swap succeeded, so this ends; or that another process has
        taken our operation over, which is raised.
        """
        swapped, refused = self._change_recalled(volume_id, step, told), 0
        while swapped is None:
            found = self.store.get_volume(volume_id)
            if found.version == refused:
                raise Conflict(f"another process has taken over what is done about volume {volume_id}")
            after = self._apply(found, step)
            if after == found.volume:
                return found
            swapped, refused = self._try_swap(found, after, told), found.version
        return swapped

    def raise_version(self, volume_id: str, version: int, step: Callable[[Volume], Volume]) -> Versioned:
        """At least `version`: somebody knows that one, so the record was restored from an older backup.

        `step` makes it what it should be, at the latest by then; each round is a swap.
        """
        found = self.store.get_volume(volume_id)
        while found.version < version:
            after = self._apply(found, step)
            found = self._try_swap(found, after, None) or self.store.get_volume(volume_id)
        return found

    def _change_recalled(
        self, volume_id: str, step: Callable[[Volume], Volume], told: tuple[str, str] | None
    ) -> Versioned | None:
        """Without reading it first. Only a swap that succeeds says that what was known was no old record."""
        known = self.recall(volume_id)
        if known is None:
            return None
        try:
            after = self._apply(known, step)
            return self._try_swap(known, after, told) if after != known.volume else None
        except Unavailable:
            raise
        except TrilithError:
            return None  # of an old record, perhaps: it is read, and asked again

    def _apply(self, found: Versioned, step: Callable[[Volume], Volume]) -> Volume:
        return stamp(found.volume, step(found.volume), self.clock.wall(), found.version + 1)

    def _try_swap(self, found: Versioned, after: Volume, told: tuple[str, str] | None) -> Versioned | None:
        """None when somebody else was first."""
        events = self._make_events(found.volume, after, told)
        try:
            swapped = self.store.swap_volume(after, found.version, events)
        except Conflict:
            return None
        for event in events:
            log(event)
        return swapped

    def remove(self, record: Versioned, told: tuple[str, str]) -> None:
        """Conflict unless the record is still this one. Nothing to do when it is gone."""
        event = self._make_event(record.volume, *told)
        self.store.remove_volume(record.volume.id, record.version, (event,))
        log(event)

    def lock(self, volume_id: str, operation: str, timeout: float = PATIENCE) -> AbstractContextManager[None]:
        """Operations exclude each other by it. Losing and recovering replicas never take it."""
        return self.store.lock(volume_id, operation, timeout)

    def tell(self, volume: Volume, kind: str, message: str) -> None:
        """An event about the volume; logged only, when the store does not take it."""
        self._events.write(volume.id, kind, _about(volume, message))

    def _make_events(self, before: Volume, after: Volume, told: tuple[str, str] | None) -> tuple[Event, ...]:
        states = {r.id: r.state for r in before.replicas}
        made = before.phase is Phase.CREATING  # which is told as one event
        changed = [] if made else [r for r in after.replicas if states.get(r.id) is not r.state]
        words = [(replica.state, _describe(replica, after.epoch)) for replica in changed]
        return tuple(self._make_event(after, *each) for each in (*words, *([told] if told else [])))

    def _make_event(self, volume: Volume, kind: str, message: str) -> Event:
        return self._events.make(volume.id, kind, _about(volume, message))


def _about(volume: Volume, message: str) -> str:
    return f"{volume.name}: {message}"


def _describe(replica: Replica, epoch: int) -> str:
    how = "" if replica.state is ReplicaState.IN_SYNC else f" (to be copied: {replica.copy})"
    return f"replica {replica.id} on node {replica.node} is {replica.state}{how}, epoch {epoch}"
