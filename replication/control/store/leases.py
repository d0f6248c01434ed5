"""One operation at a time on a key, across processes and machines: each under way has a Lease of Kubernetes.

A holder renews its Lease while it works. Who finds one that has not changed for as long as it is valid, on a
clock of its own, takes it away. A holder that was held up for so long, and comes back, is told so when it
wants to write the next record (`require`).
"""

import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from replication.clock import Clock
from replication.control.store.resources import object_name
from replication.errors import AlreadyExists, Busy, Conflict, InvalidRequest, NotFound, TrilithError
from replication.kubernetes.access import Json
from replication.kubernetes.client import Client

VALID_SECONDS = 15.0
SHORTEST_WAIT, LONGEST_WAIT = 0.05, 1.0
SWEEP_SECONDS = 600.0
NEVER = float("-inf")
LABEL = "trilith.io/lock"
OPERATION = "trilith.io/operation"
KEY = "trilith.io/key"

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Held:
    """A Lease of ours. Its uid is of this holder alone: to take one away is to delete it and make another."""

    key: str
    operation: str
    path: str
    uid: str
    until: float  # valid, counted from before the server was asked


@dataclass(frozen=True, slots=True)
class Sighting:
    """Another's Lease, as it was found."""

    uid: str
    version: str
    since: float  # when it was first seen like this


class LeaseLocks:
    """Locks of one process, in one namespace."""

    def __init__(
        self,
        client: Client,
        namespace: str,
        clock: Clock,
        valid_seconds: float = VALID_SECONDS,
        prefix: str = "lock.",
    ) -> None:
        """`prefix` of the Leases' names."""
        self._client = client
        self._path = path_of(namespace)
        self._prefix = prefix
        self._clock = clock
        self._valid = valid_seconds
        self._holder = f"{socket.gethostname()}_{os.getpid()}_{uuid4().hex[:8]}"
        self._mutex = threading.Lock()
        self._held: list[Held] = []
        self._here = threading.local()  # what this thread holds
        self._seen: dict[str, Sighting] = {}
        self._closed = threading.Event()
        self._keeper: threading.Thread | None = None

    @contextmanager
    def lock(self, key: str, operation: str, timeout: float) -> Iterator[None]:
        held = self._acquire(key, operation, timeout)
        mine = self._mine()
        mine.append(held)
        try:
            yield
        finally:
            mine.remove(held)
            self.release(held)

    def find(self, key: str, operation: str) -> Held | None:
        """The lock, if it is free now: for whoever holds it for long, and looks at `until` itself."""
        held, found = self._try(key, operation)
        return held if held or found else self._try(key, operation)[0]

    def see(self, key: str, lease: Json) -> None:
        """What a watch told of another's Lease: it is counted from now how long that stays as it is."""
        self._is_dead(self._path_of(key), lease["metadata"])

    def require(self) -> None:
        """Conflict unless this thread still has every lock that it was given."""
        for held in self._mine():
            if self._clock.now() >= held.until:
                self._renew(held)

    def close(self) -> None:
        self._closed.set()
        if self._keeper is not None:
            self._keeper.join()

    def _mine(self) -> list[Held]:
        if not hasattr(self._here, "held"):
            self._here.held = []
        found: list[Held] = self._here.held
        return found

    def _acquire(self, key: str, operation: str, timeout: float) -> Held:
        deadline, wait = self._clock.now() + timeout, SHORTEST_WAIT
        while True:
            held, found = self._try(key, operation)
            if held is not None:
                return held
            if found is not None:
                if self._clock.now() >= deadline:
                    raise Busy(f"operation {_describe(found)} under way on {key}")
                self._clock.sleep(wait)
                wait = min(wait * 2, LONGEST_WAIT)

    def _try(self, key: str, operation: str) -> tuple[Held | None, Json | None]:
        """The lock; or else whose it is; or neither, when it has just become free."""
        ours = self._find_ours(key)
        if ours is not None:
            return None, ours
        asked = self._clock.now()
        path = self._path_of(key)
        try:
            made = self._client.create(self._path, self._lease(key, operation))
        except AlreadyExists:
            return None, self._look(path)
        held = Held(key, operation, path, made["metadata"]["uid"], asked + self._valid)
        self._keep(held)
        return held, None

    def _find_ours(self, key: str) -> Json | None:
        """What another thread of this process holds: while it is valid, nobody has to be asked."""
        with self._mutex:
            held = [each for each in self._held if each.key == key and self._clock.now() < each.until]
        return self._lease(key, held[0].operation) if held else None

    def _look(self, path: str) -> Json | None:
        """What is there. None when it is gone, because its holder has let go or has lost it to us."""
        try:
            found = self._client.get(path)
            if not self._is_dead(path, found["metadata"]):
                return found
            logger.warning("%s: taken from %s", path, found["spec"].get("holderIdentity"))
            self._remove(path, found["metadata"])
        except (NotFound, Conflict):
            pass  # released, or renewed, or taken by another, at this moment
        self._seen.pop(path, None)
        return None

    def _is_dead(self, path: str, metadata: Json) -> bool:
        """Unchanged for as long as it is valid, since we saw it first."""
        now, known = self._clock.now(), self._seen.get(path)
        if known is None or (known.uid, known.version) != (metadata["uid"], metadata["resourceVersion"]):
            self._seen[path] = Sighting(metadata["uid"], metadata["resourceVersion"], now)
            return False
        return now - known.since >= self._valid

    def _remove(self, path: str, metadata: Json) -> None:
        self._client.delete(path, uid=metadata["uid"], resourceVersion=metadata["resourceVersion"])

    def _path_of(self, key: str) -> str:
        return f"{self._path}/{self._name_of(key)}"

    def _name_of(self, key: str) -> str:
        return f"{self._prefix}{object_name(key)}"

    def _lease(self, key: str, operation: str) -> Json:
        now = _now()
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": self._name_of(key),
                "labels": {LABEL: "operation"},
                "annotations": {KEY: _printable(key), OPERATION: _printable(operation)},
            },
            "spec": {
                "holderIdentity": self._holder,
                "leaseDurationSeconds": max(1, round(self._valid)),
                "acquireTime": now,
                "renewTime": now,
            },
        }

    def _keep(self, held: Held) -> None:
        with self._mutex:
            self._held.append(held)
            if self._keeper is None:
                self._keeper = threading.Thread(target=self._keep_all, name="leases", daemon=True)
                self._keeper.start()

    def _keep_all(self) -> None:
        """Most operations are over before their Lease has to be renewed."""
        swept = self._clock.now()
        while not self._closed.wait(self._valid / 10):
            for held in self._list_due():
                try:
                    self._renew(held)
                except TrilithError as error:
                    logger.warning("lock of %s is not renewed: %s", held.key, error)
            if self._clock.now() - swept >= SWEEP_SECONDS:
                swept = self._clock.now()
                self._sweep()

    def _list_due(self) -> list[Held]:
        with self._mutex:
            return [held for held in self._held if self._clock.now() >= held.until - self._valid * 2 / 3]

    def _renew(self, held: Held) -> None:
        """Conflict when somebody else has taken it away."""
        asked = self._clock.now()
        test = {"op": "test", "path": "/metadata/uid", "value": held.uid}
        renewed = {"op": "replace", "path": "/spec/renewTime", "value": _now()}
        try:
            self._client.patch(held.path, [test, renewed])
        except (NotFound, InvalidRequest, Conflict) as error:
            self._forget(held)
            held.until = NEVER
            raise Conflict(f"another process has taken the operation on {held.key} over") from error
        held.until = asked + self._valid

    def _forget(self, held: Held) -> None:
        with self._mutex:
            if held in self._held:
                self._held.remove(held)

    def release(self, held: Held) -> None:
        """What cannot be let go now is free when it is valid no longer."""
        self._forget(held)
        try:
            self._client.delete(held.path, uid=held.uid)
        except (NotFound, Conflict):
            logger.warning("lock of %s was taken from us", held.key)
        except TrilithError as error:
            logger.warning("lock of %s is not let go: %s", held.key, error)

    def _sweep(self) -> None:
        """Remove what processes left that are gone, for keys that nobody may ever lock again."""
        recent = self._clock.now() - SWEEP_SECONDS
        self._seen = {path: seen for path, seen in self._seen.copy().items() if seen.since >= recent}
        try:
            for found in self._client.get(self._path, labelSelector=LABEL)["items"]:
                if self._is_dead(f"{self._path}/{found['metadata']['name']}", found["metadata"]):
                    self._remove(f"{self._path}/{found['metadata']['name']}", found["metadata"])
        except TrilithError as error:
            logger.info("locks are not swept: %s", error)


def path_of(namespace: str) -> str:
    return f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"


def _describe(lease: Json) -> str:
    annotations = lease["metadata"].get("annotations") or {}
    return f"{annotations.get(OPERATION, 'of somebody')} ({lease['spec'].get('holderIdentity', 'nobody')})"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _printable(text: str) -> str:
    return text.encode(errors="replace").decode()
