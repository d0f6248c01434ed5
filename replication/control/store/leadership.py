"""Which of several controllers does what one of them is enough for: the holder of a Lease.

Whoever waits is told by a watch, and asks for nothing while the leader renews. Nothing depends on there being
one leader only: records are swapped, operations locked.
"""

import logging
import threading
from collections.abc import Callable

from replication.clock import Clock
from replication.control.store.leases import VALID_SECONDS, Held, LeaseLocks, path_of
from replication.errors import TrilithError
from replication.kubernetes.access import Json
from replication.kubernetes.client import Client
from replication.kubernetes.watched import Entry, Watched

LEASE = "trilith-leader"
LOOK = 0.5

Lead = Callable[[threading.Event], None]
"""Work until the event is set, which is when the term is over."""

logger = logging.getLogger(__name__)


class Leadership:
    """Of one process, for as many terms as it gets."""

    def __init__(
        self, client: Client, namespace: str, clock: Clock, valid_seconds: float = VALID_SECONDS
    ) -> None:
        self._clock = clock
        self._valid = valid_seconds
        self._locks = LeaseLocks(client, namespace, clock, valid_seconds, prefix="")
        self._told = threading.Event()
        self._lease: Watched[Json] = Watched(
            client,
            path_of(namespace),
            lambda lease: lease,
            clock,
            tell=self._told.set,
            fieldSelector=f"metadata.name={LEASE}",
        )
        self._name = f"{namespace}/{LEASE}"
        self.leads = False
        self.wavers = False  # another does, and is late to renew: this one may lead soon

    def run(self, stop: threading.Event, lead: Lead) -> None:
        """Until `stop` is set. The next term does not begin before `lead` has come back from the last."""
        try:
            while not stop.is_set():
                held = self._wait(stop)
                if held is not None:
                    self._serve(held, stop, lead)
        finally:
            self._lease.close()
            self._locks.close()

    def _wait(self, stop: threading.Event) -> Held | None:
        """The Lease, when it is free or its holder has not renewed it; None: ask again."""
        try:
            self._told.clear()
            known = self._lease.find(self._name)
            if known is not None and self._changes(known, stop):
                return None
            held = self._locks.find(LEASE, "leading")
        except TrilithError as error:
            logger.warning("nobody can become leader: %s", error)
            held = None
        if held is None:
            stop.wait(self._valid / 10)
        return held

    def _changes(self, known: Entry[Json], stop: threading.Event) -> bool:
        """Whether it does before it is dead; also when it does not matter any more."""
        self._locks.see(LEASE, known.get())
        seen = self._clock.now()
        while self._clock.now() < seen + self._valid:
            self.wavers = self._clock.now() >= seen + self._valid / 2  # renewed after a third
            if stop.is_set() or self._told.wait(LOOK):
                self.wavers = False
                return True
        return False

    def _serve(self, held: Held, stop: threading.Event, lead: Lead) -> None:
        over = threading.Event()
        term = threading.Thread(target=lead, args=(over,), name="leading", daemon=True)
        logger.info("leading")
        self.leads, self.wavers = True, False
        term.start()
        while not stop.is_set() and self._clock.now() < held.until:
            stop.wait(LOOK)
        self.leads = False
        over.set()
        term.join()
        logger.info("leading no more")
        self._locks.release(held)
