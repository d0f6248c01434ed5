"""A store that forgets: for tests and for trying things out. It behaves as the others do, errors included."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

from replication.control.cordons import Cordon
from replication.control.settings import Settings
from replication.control.store.base import EVENTS_KEPT, Event
from replication.errors import AlreadyExists, Busy, Conflict, NotFound
from replication.model import Node, Pool, Versioned, Volume

Named = TypeVar("Named", Node, Pool)


class MemoryStore:
    """One cluster's state, shared by all who hold this object."""

    def __init__(self, cluster: str = "cluster") -> None:
        self._cluster = cluster
        self._mutex = threading.Lock()
        self._volumes: dict[str, Versioned] = {}
        self._nodes: dict[str, Node] = {}
        self._pools: dict[str, Pool] = {}
        self._cordons: dict[str, Cordon] = {}
        self._settings: dict[str, Settings] = {}
        self._events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._locks: dict[str, threading.Lock] = {}
        self._holders: dict[str, str] = {}

    def cluster(self) -> str:
        return self._cluster

    def add_volume(self, volume: Volume) -> Versioned:
        with self._mutex:
            if volume.id in self._volumes or self._named(volume.name):
                raise AlreadyExists(f"a volume {volume.name} exists")
            self._volumes[volume.id] = Versioned(volume, 1)
            return self._volumes[volume.id]

    def swap_volume(self, volume: Volume, expected_version: int, events: tuple[Event, ...] = ()) -> Versioned:
        with self._mutex:
            current = self._volumes.get(volume.id)
            if current is None:
                raise NotFound(f"no volume {volume.id}")
            _require_version(current, expected_version)
            self._volumes[volume.id] = Versioned(volume, expected_version + 1)
            self._events.extendleft(events)
            return self._volumes[volume.id]

    def remove_volume(self, volume_id: str, expected_version: int, events: tuple[Event, ...] = ()) -> None:
        with self._mutex:
            current = self._volumes.get(volume_id)
            if current is not None:
                _require_version(current, expected_version)
                del self._volumes[volume_id]
                self._events.extendleft(events)

    def get_volume(self, volume_id: str) -> Versioned:
        with self._mutex:
            if volume_id not in self._volumes:
                raise NotFound(f"no volume {volume_id}")
            return self._volumes[volume_id]

    def recall_volume(self, volume_id: str) -> Versioned | None:  # noqa: ARG002 (the interface's)
        return None

    def find_volume(self, name: str) -> Versioned | None:
        with self._mutex:
            return self._named(name)

    def list_volumes(self) -> tuple[Versioned, ...]:
        with self._mutex:
            return tuple(sorted(self._volumes.values(), key=lambda found: found.volume.name))

    def list_volumes_after(self, volume_id: str, count: int) -> tuple[Versioned, ...]:
        with self._mutex:
            ids = sorted(key for key in self._volumes if key > volume_id)
            return tuple(self._volumes[key] for key in ids[:count])

    def add_node(self, node: Node) -> None:
        self._add(self._nodes, node, "node")

    def replace_node(self, old: Node, new: Node) -> None:
        self._replace(self._nodes, old, new, "node")

    def remove_node(self, name: str) -> None:
        with self._mutex:
            self._nodes.pop(name, None)

    def get_node(self, name: str) -> Node:
        return self._get(self._nodes, name, "node")

    def list_nodes(self) -> tuple[Node, ...]:
        with self._mutex:
            return tuple(self._nodes[name] for name in sorted(self._nodes))

    def add_pool(self, pool: Pool) -> None:
        self._add(self._pools, pool, "pool")

    def replace_pool(self, old: Pool, new: Pool) -> None:
        self._replace(self._pools, old, new, "pool")

    def remove_pool(self, name: str) -> None:
        with self._mutex:
            self._pools.pop(name, None)

    def get_pool(self, name: str) -> Pool:
        return self._get(self._pools, name, "pool")

    def list_pools(self) -> tuple[Pool, ...]:
        with self._mutex:
            return tuple(self._pools[name] for name in sorted(self._pools))

    def get_settings(self, name: str) -> Settings:
        with self._mutex:
            return self._settings.get(name, Settings(name))

    def put_settings(self, settings: Settings) -> None:
        with self._mutex:
            self._settings[settings.name] = settings

    def put_cordon(self, cordon: Cordon) -> None:
        with self._mutex:
            self._cordons[cordon.name] = cordon

    def remove_cordon(self, name: str) -> None:
        with self._mutex:
            self._cordons.pop(name, None)

    def list_cordons(self) -> tuple[Cordon, ...]:
        with self._mutex:
            return tuple(self._cordons[name] for name in sorted(self._cordons))

    def add_event(self, event: Event) -> None:
        with self._mutex:
            self._events.appendleft(event)

    def list_events(self, subject: str | None, limit: int) -> tuple[Event, ...]:
        with self._mutex:
            found = [event for event in self._events if subject in {None, event.subject}]
        return tuple(found[:limit])

    def lock(self, key: str, operation: str, timeout: float = 0.0) -> AbstractContextManager[None]:
        return self._locked(key, operation, timeout)

    def close(self) -> None:
        """Nothing is kept open."""

    @contextmanager
    def _locked(self, key: str, operation: str, timeout: float) -> Iterator[None]:
        with self._mutex:
            lock = self._locks.setdefault(key, threading.Lock())
        if not lock.acquire(timeout=max(timeout, 0.0)):
            raise Busy(f"operation {self._holders.get(key, '')} under way on {key}")
        self._holders[key] = operation
        try:
            yield
        finally:
            lock.release()

    def _named(self, name: str) -> Versioned | None:
        return next((found for found in self._volumes.values() if found.volume.name == name), None)

    def _add(self, table: dict[str, Named], item: Named, kind: str) -> None:
        with self._mutex:
            if table.setdefault(item.name, item) != item:
                raise AlreadyExists(f"a different {kind} {item.name} exists: {table[item.name]}")

    def _replace(self, table: dict[str, Named], old: Named, new: Named, kind: str) -> None:
        with self._mutex:
            if table.get(old.name) != old:
                raise Conflict(f"{kind} {old.name} has been changed meanwhile")
            table[new.name] = new

    def _get(self, table: dict[str, Named], name: str, kind: str) -> Named:
        with self._mutex:
            if name not in table:
                raise NotFound(f"no {kind} {name}")
            return table[name]


def _require_version(current: Versioned, expected: int) -> None:
    if current.version != expected:
        name = current.volume.name
        raise Conflict(f"volume {name} has version {current.version} by now, not {expected}")
