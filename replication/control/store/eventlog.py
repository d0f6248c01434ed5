"""Events as Kubernetes has them: `kubectl describe` shows them, and the API server ends them after an hour.

They are written behind: a record that has been changed must not wait until somebody may read of it.
"""

import logging
import os
import socket
import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from itertools import count

from replication.clock import Clock
from replication.control.store.base import Event
from replication.errors import TrilithError
from replication.kubernetes.access import Json
from replication.kubernetes.client import Client

NAMESPACE = "default"  # where Kubernetes wants those about objects that are in none
WAITING = 1000  # more are let go, the oldest first
FLUSH_SECONDS = 10.0
SUBJECT, KIND, TIME = "trilith.io/subject", "trilith.io/kind", "trilith.io/time"
_PATH = f"/api/v1/namespaces/{NAMESPACE}/events"
_LONGEST = 1024

logger = logging.getLogger(__name__)

Reference = dict[str, str]


class EventLog:
    """Events of one process, and how all of them are read."""

    def __init__(self, client: Client, refer: Callable[[str], Reference], clock: Clock) -> None:
        """`refer` names the object of a subject."""
        self._client = client
        self._refer = refer
        self._clock = clock
        self._reporter = f"trilith-{socket.gethostname()}"
        self._numbers = count()
        self._changed = threading.Condition()
        self._waiting: deque[Event] = deque(maxlen=WAITING)
        self._busy = False
        self._closed = False
        self._thread: threading.Thread | None = None

    def add(self, *events: Event) -> None:
        """Written soon; lost when the process ends before, or the server does not take them."""
        with self._changed:
            self._waiting.extend(events)
            self._changed.notify_all()
            if events and self._thread is None:
                self._thread = threading.Thread(target=self._work, name="events", daemon=True)
                self._thread.start()

    def list(self, subject: str | None, limit: int) -> tuple[Event, ...]:
        """The newest first; those of this process as soon as they are written."""
        self._flush()
        selector = SUBJECT if subject is None else f"{SUBJECT}={_label(subject)}"
        found = self._client.get(_PATH, labelSelector=selector)["items"]
        found.sort(key=lambda item: str(item["metadata"]["name"]).rpartition(".")[2], reverse=True)
        return tuple(_parse(item) for item in found[:limit])

    def close(self) -> None:
        """After what waits has been written, if the server takes it."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(FLUSH_SECONDS)

    def _flush(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting and not self._busy, FLUSH_SECONDS)

    def _work(self) -> None:
        while (event := self._take()) is not None:
            try:
                self._client.create(_PATH, self._make(event))
            except TrilithError as error:
                logger.warning("event not kept: %s", error)
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _take(self) -> Event | None:
        """None when there will be no more."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting) or self._closed)
            self._busy = bool(self._waiting)
            return self._waiting.popleft() if self._waiting else None

    def _make(self, event: Event) -> Json:
        told = datetime.fromtimestamp(event.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        about = self._refer(event.subject)
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"trilith.{self._number()}",
                "labels": {SUBJECT: _label(event.subject)},
                "annotations": {SUBJECT: event.subject, KIND: event.kind, TIME: repr(event.time)},
            },
            "involvedObject": about,
            "type": "Normal",
            "reason": _camel(event.kind),
            "message": event.message[:_LONGEST],
            "source": {"component": "trilith"},
            "reportingComponent": "trilith",
            "reportingInstance": self._reporter,
            "firstTimestamp": told,
            "lastTimestamp": told,
            "count": 1,
        }

    def _number(self) -> str:
        """By time, also between processes; never the same twice."""
        nanoseconds = int(self._clock.wall() * 1e9)
        return f"{nanoseconds:016x}{next(self._numbers) & 0xFFFFFF:06x}{os.getpid() & 0xFFFFFF:06x}"


def _parse(item: Json) -> Event:
    notes = item["metadata"].get("annotations") or {}
    return Event(
        float(notes.get(TIME, 0.0)), notes.get(SUBJECT, ""), notes.get(KIND, ""), item.get("message", "")
    )


def _label(subject: str) -> str:
    """A label takes 63 characters, and not all of them."""
    return sha256(subject.encode()).hexdigest()[:32]


def _camel(kind: str) -> str:
    return "".join(word.capitalize() for word in kind.replace("_", "-").split("-"))
