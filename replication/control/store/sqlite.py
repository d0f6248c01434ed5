"""Records in one SQLite file: for one control plane, or for several processes of one machine.

Every swap is on the disk before it returns (WAL, synchronous=FULL): what is recorded must survive a crash.
"""

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from replication.clock import Clock
from replication.control.cordons import Cordon
from replication.control.settings import Settings
from replication.control.store.base import EVENTS_KEPT, Event
from replication.control.store.codec import decode, encode
from replication.control.store.faults import explained
from replication.control.store.locks import FileLocks
from replication.control.store.remembered import (
    RememberedNamed,
    RememberedVolumes,
    refresh_named,
    refresh_volumes,
)
from replication.control.store.schema import check_schema, ensure_schema, read_cluster
from replication.errors import AlreadyExists, Conflict, NotFound, Unavailable
from replication.model import Node, Pool, Versioned, Volume

BUSY_SECONDS = 5.0
IDLE_CONNECTIONS = 4
TRIMMED_EVERY = 100  # events, so that not every one pays for a count

Named = TypeVar("Named", Node, Pool, Cordon, Settings)

logger = logging.getLogger(__name__)


class SqliteStore:
    """The state in `directory`. Threads may share it: each borrows a connection of its own."""

    def __init__(
        self, directory: Path, cluster: str, clock: Clock, busy_seconds: float = BUSY_SECONDS
    ) -> None:
        """FailedPrecondition when the state is another cluster's."""
        self._path = directory / "state.db"
        self._busy_seconds = busy_seconds
        self._mutex = threading.Lock()
        self._turn = threading.Lock()  # to write: SQLite lets threads that wait sleep for up to 0.1 s
        self._idle: list[sqlite3.Connection] = []
        self._named = RememberedNamed()
        self._volumes = RememberedVolumes()
        self._locks = FileLocks(directory / "locks", clock)
        with explained(self._path):
            (directory / "locks").mkdir(parents=True, exist_ok=True, mode=0o700)
            with self._writing() as db:
                ensure_schema(db, self._path, cluster)
                self._cluster = read_cluster(db, self._path, cluster)

    def cluster(self) -> str:
        return self._cluster

    def add_volume(self, volume: Volume) -> Versioned:
        row = (volume.id, volume.name, 1, encode(volume))
        with explained(self._path), self._writing() as db:
            taken = db.execute("SELECT 1 FROM volumes WHERE id = ? OR name = ?", row[:2]).fetchone()
            if taken:
                raise AlreadyExists(f"a volume {volume.name} exists")
            db.execute("INSERT INTO volumes (id, name, version, record) VALUES (?, ?, ?, ?)", row)
        return Versioned(volume, 1)

    def swap_volume(self, volume: Volume, expected_version: int, events: tuple[Event, ...] = ()) -> Versioned:
        row = (expected_version + 1, volume.name, encode(volume), volume.id, expected_version)
        with explained(self._path), self._writing() as db:
            update = "UPDATE volumes SET version = ?, name = ?, record = ? WHERE id = ? AND version = ?"
            if db.execute(update, row).rowcount == 0:
                raise _refused_swap(db, volume.id, expected_version)
            _add_on_the_way(db, events)
        return Versioned(volume, expected_version + 1)

    def remove_volume(self, volume_id: str, expected_version: int, events: tuple[Event, ...] = ()) -> None:
        with explained(self._path), self._writing() as db:
            version = _version(db, volume_id)
            if version not in {None, expected_version}:
                raise Conflict(f"volume {volume_id} has version {version} by now, not {expected_version}")
            if db.execute("DELETE FROM volumes WHERE id = ?", (volume_id,)).rowcount:
                _add_on_the_way(db, events)

    def get_volume(self, volume_id: str) -> Versioned:
        rows = self._read("SELECT id, version, record FROM volumes WHERE id = ?", (volume_id,))
        if not rows:
            raise NotFound(f"no volume {volume_id}")
        return self._versioned(rows[0])

    def recall_volume(self, volume_id: str) -> Versioned | None:  # noqa: ARG002 (the interface's)
        return None

    def find_volume(self, name: str) -> Versioned | None:
        rows = self._read("SELECT id, version, record FROM volumes WHERE name = ?", (name,))
        return self._versioned(rows[0]) if rows else None

    def list_volumes(self) -> tuple[Versioned, ...]:
        """What has not changed since the last time is not parsed again."""
        with explained(self._path), self._connected() as db:
            self._volumes = known = refresh_volumes(db, self._volumes, self._versioned)
        return known.by_name

    def list_volumes_after(self, volume_id: str, count: int) -> tuple[Versioned, ...]:
        query = "SELECT id, version, record FROM volumes WHERE id > ? ORDER BY id LIMIT ?"
        return tuple(self._versioned(row) for row in self._read(query, (volume_id, count)))

    def add_node(self, node: Node) -> None:
        self._add("node", node)

    def replace_node(self, old: Node, new: Node) -> None:
        self._replace("node", old, new)

    def remove_node(self, name: str) -> None:
        self._remove("node", name)

    def get_node(self, name: str) -> Node:
        return self._get("node", Node, name)

    def list_nodes(self) -> tuple[Node, ...]:
        return self._list("node", Node)

    def add_pool(self, pool: Pool) -> None:
        self._add("pool", pool)

    def replace_pool(self, old: Pool, new: Pool) -> None:
        self._replace("pool", old, new)

    def remove_pool(self, name: str) -> None:
        self._remove("pool", name)

    def get_pool(self, name: str) -> Pool:
        return self._get("pool", Pool, name)

    def list_pools(self) -> tuple[Pool, ...]:
        return self._list("pool", Pool)

    def get_settings(self, name: str) -> Settings:
        return self._find("settings", Settings, name) or Settings(name)

    def put_settings(self, settings: Settings) -> None:
        self._put("settings", settings)

    def put_cordon(self, cordon: Cordon) -> None:
        self._put("cordon", cordon)

    def remove_cordon(self, name: str) -> None:
        self._remove("cordon", name)

    def list_cordons(self) -> tuple[Cordon, ...]:
        return self._list("cordon", Cordon)

    def add_event(self, event: Event) -> None:
        with explained(self._path), self._writing() as db:
            _add_event(db, event)

    def list_events(self, subject: str | None, limit: int) -> tuple[Event, ...]:
        query = "SELECT time, subject, kind, message FROM events WHERE ?1 IS NULL OR subject = ?1"
        rows = self._read(f"{query} ORDER BY number DESC LIMIT ?2", (subject, min(limit, EVENTS_KEPT)))
        return tuple(Event(float(str(t)), str(about), str(kind), str(text)) for t, about, kind, text in rows)

    def lock(self, key: str, operation: str, timeout: float = 0.0) -> AbstractContextManager[None]:
        return self._locks.lock(key, operation, timeout)

    def close(self) -> None:
        with self._mutex:
            for connection in self._idle:
                connection.close()
            self._idle.clear()

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """Not kept per thread: many of them live for one question to a node only."""
        with self._mutex:
            db = self._idle.pop() if self._idle else None
        db = db or self._open()
        try:
            yield db
        finally:
            with self._mutex:
                keep = len(self._idle) < IDLE_CONNECTIONS
                if keep:
                    self._idle.append(db)
            if not keep:
                db.close()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=self._busy_seconds, isolation_level=None, check_same_thread=False
        )
        try:
            check_schema(connection, self._path)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, that nobody else writes during. Rolled back when anything raises."""
        with self._my_turn(), self._connected() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    @contextmanager
    def _my_turn(self) -> Iterator[None]:
        if not self._turn.acquire(timeout=self._busy_seconds):
            raise Unavailable(f"state store {self._path} is locked by another thread: try again")
        try:
            yield
        finally:
            self._turn.release()

    def _read(self, query: str, parameters: tuple[object, ...]) -> list[tuple[object, ...]]:
        with explained(self._path), self._connected() as db:
            return db.execute(query, parameters).fetchall()

    def _versioned(self, row: tuple[object, ...]) -> Versioned:
        volume_id, version, record = row
        volume = decode(Volume, str(record), f"record of volume {volume_id} in {self._path}")
        return Versioned(volume, int(str(version)))

    def _add(self, kind: str, item: Named) -> None:
        with explained(self._path), self._writing() as db:
            insert = "INSERT OR IGNORE INTO named (kind, name, record) VALUES (?, ?, ?)"
            db.execute(insert, (kind, item.name, encode(item)))
            row = db.execute(
                "SELECT record FROM named WHERE kind = ? AND name = ?", (kind, item.name)
            ).fetchone()
            if row[0] != encode(item):
                raise AlreadyExists(f"a different {kind} {item.name} exists: {row[0]}")

    def _put(self, kind: str, item: Named) -> None:
        with explained(self._path), self._writing() as db:
            put = "INSERT OR REPLACE INTO named (kind, name, record) VALUES (?, ?, ?)"
            db.execute(put, (kind, item.name, encode(item)))

    def _replace(self, kind: str, old: Named, new: Named) -> None:
        with explained(self._path), self._writing() as db:
            update = "UPDATE named SET record = ? WHERE kind = ? AND name = ? AND record = ?"
            if db.execute(update, (encode(new), kind, old.name, encode(old))).rowcount == 0:
                raise Conflict(f"{kind} {old.name} has been changed meanwhile")

    def _remove(self, kind: str, name: str) -> None:
        with explained(self._path), self._writing() as db:
            db.execute("DELETE FROM named WHERE kind = ? AND name = ?", (kind, name))

    def _get(self, kind: str, of: type[Named], name: str) -> Named:
        found = self._find(kind, of, name)
        if found is None:
            raise NotFound(f"no {kind} {name}")
        return found

    def _find(self, kind: str, of: type[Named], name: str) -> Named | None:
        return self._refresh_named().find(kind, name, partial(self._parse_named, kind, of))

    def _list(self, kind: str, of: type[Named]) -> tuple[Named, ...]:
        return self._refresh_named().list(kind, partial(self._parse_named, kind, of))

    def _refresh_named(self) -> RememberedNamed:
        with explained(self._path), self._connected() as db:
            self._named = known = refresh_named(db, self._named)
        return known

    def _parse_named(self, kind: str, of: type[Named], name: str, text: str) -> Named:
        return decode(of, text, f"record of {kind} {name} in {self._path}")


def _add_event(db: sqlite3.Connection, event: Event) -> None:
    row = (event.time, event.subject, event.kind, event.message)
    insert = "INSERT INTO events (time, subject, kind, message) VALUES (?, ?, ?, ?)"
    number = db.execute(insert, row).lastrowid or 0
    if number % TRIMMED_EVERY == 0:
        db.execute("DELETE FROM events WHERE number <= ?", (number - EVENTS_KEPT,))


def _add_on_the_way(db: sqlite3.Connection, events: tuple[Event, ...]) -> None:
    """With a change of a record, which matters more: one wait for the disk serves both."""
    try:
        for event in events:
            _add_event(db, event)
    except sqlite3.Error as error:
        logger.warning("events not kept: %s", error)


def _version(db: sqlite3.Connection, volume_id: str) -> int | None:
    row = db.execute("SELECT version FROM volumes WHERE id = ?", (volume_id,)).fetchone()
    return None if row is None else int(row[0])


def _refused_swap(db: sqlite3.Connection, volume_id: str, expected: int) -> Conflict | NotFound:
    version = _version(db, volume_id)
    if version is None:
        return NotFound(f"no volume {volume_id}")
    return Conflict(f"volume {volume_id} has version {version} by now, not {expected}")
