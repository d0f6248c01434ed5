"""Statuses are written behind: only what differs, the newest of each object, so many in a second at most.

A node that dies changes a thousand volumes at once; the API server has better things to do.
"""

import logging
import threading
from collections.abc import Iterable

from csi.operator.conditions import Condition, to_conditions
from replication.clock import Clock
from replication.errors import InvalidRequest, NotFound, TrilithError
from replication.kubernetes.access import Json
from replication.kubernetes.client import Client

PER_SECOND = 10.0
RETRY_SECONDS = 2.0

logger = logging.getLogger(__name__)


class Statuses:
    """Of one term as leader. Threads may share it."""

    def __init__(self, client: Client, clock: Clock, per_second: float = PER_SECOND) -> None:
        self._client = client
        self._clock = clock
        self._pause = 1.0 / per_second
        self._changed = threading.Condition()
        self._known: dict[str, Json] = {}  # as the server has them, by path
        self._uids: dict[str, str] = {}  # of the objects that these are of
        self._waiting: dict[str, Json] = {}
        self._later: dict[str, Json] = {}
        self._busy = False

    def learn(self, path: str, status: Json, uid: str) -> None:
        """What the server has; what we wrote ourselves since then is newer, but to another of that name."""
        with self._changed:
            if self._uids.setdefault(path, uid) == uid:
                self._known.setdefault(path, status)
            else:
                self._uids[path], self._known[path] = uid, status

    def get(self, path: str) -> Json:
        """As it is, or is about to be; empty when nothing was ever said."""
        with self._changed:
            return self._find_newest(path) or self._known.get(path, {})

    def offer(
        self,
        path: str,
        status: Json,
        conditions: Iterable[Condition],
        *,
        generation: int | None = None,
        urgent: bool = True,
    ) -> None:
        """`status` is all but the conditions. What is not urgent comes after all that is."""
        with self._changed:
            before = self._find_newest(path) or self._known.get(path, {})
            told = to_conditions(conditions, before, self._clock.wall(), generation)
            self._offer(path, {**status, "conditions": told}, urgent=urgent)

    def keep(self, paths: Iterable[str], prefix: str) -> None:
        """Of what begins with `prefix`, nothing else exists any more."""
        with self._changed:
            for gone in {path for path in self._known if path.startswith(prefix)} - set(paths):
                del self._known[gone]
                self._uids.pop(gone, None)
                self._forget(gone)

    def flush(self, timeout: float) -> bool:
        """Whether everything was written within `timeout`."""
        with self._changed:
            return self._changed.wait_for(lambda: not (self._waiting or self._later or self._busy), timeout)

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            item = self._take()
            if item is not None:
                stop.wait(self._pause if self._write(*item) else RETRY_SECONDS)

    def _offer(self, path: str, status: Json, *, urgent: bool) -> None:
        """In its place, if it waits already."""
        if status == self._known.get(path):
            self._forget(path)
        else:
            queue = self._later if path in self._later or not urgent else self._waiting
            queue[path] = status
        self._changed.notify_all()

    def _find_newest(self, path: str) -> Json | None:
        return self._waiting.get(path) or self._later.get(path)

    def _forget(self, path: str) -> None:
        self._waiting.pop(path, None)
        self._later.pop(path, None)

    def _take(self) -> tuple[str, Json] | None:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting or self._later), timeout=1.0)
            queue = self._waiting or self._later
            path = next(iter(queue), None)
            if path is None:
                return None
            self._busy = True
            return path, queue.pop(path)

    def _write(self, path: str, status: Json) -> bool:
        """Whether the server answered."""
        try:
            self._client.patch(f"{path}/status", [{"op": "add", "path": "/status", "value": status}])
        except NotFound:
            self._end(path, {})  # made later, or gone
        except InvalidRequest as error:  # for good: what comes after it must not wait
            logger.warning("%s: its status is refused: %s", path, error)
            self._end(path, None)
        except TrilithError as error:
            logger.warning("%s: its status is not written: %s", path, error)
            self._end(path, None, status)
            return False
        else:
            self._end(path, status)
        return True

    def _end(self, path: str, known: Json | None, again: Json | None = None) -> None:
        with self._changed:
            self._busy = False
            if known is not None:
                self._known[path] = known
            elif again is not None and self._find_newest(path) is None:
                self._later[path] = again  # after all others: it may fail for ever
            self._changed.notify_all()
