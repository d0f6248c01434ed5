"""What was read before, for as long as nobody has changed it: the store's own count of changes says so.

The count is read each time, and rows are read together with theirs: what is returned is what the store held
at some moment after it was asked for, whichever process writes.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from replication.model import Versioned

T = TypeVar("T")

NEVER = -1  # a count that no store has


@dataclass(frozen=True, slots=True)
class RememberedNamed:
    """Table `named` after `count` changes; parsed when asked for, so that a damaged one spoils no other."""

    count: int = NEVER
    texts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # by kind, by name in its order
    _parsed: dict[tuple[str, str], Any] = field(default_factory=dict)
    _lists: dict[str, tuple[Any, ...]] = field(default_factory=dict)

    def find(self, kind: str, name: str, parse: Callable[[str, str], T]) -> T | None:
        """`parse` gets name and text."""
        text = self.texts.get(kind, {}).get(name)
        if text is None:
            return None
        if (kind, name) not in self._parsed:
            self._parsed[kind, name] = parse(name, text)
        found: T = self._parsed[kind, name]
        return found

    def list(self, kind: str, parse: Callable[[str, str], T]) -> tuple[T, ...]:
        """By name."""
        if kind not in self._lists:
            self._lists[kind] = tuple(parse(name, text) for name, text in self.texts.get(kind, {}).items())
        return self._lists[kind]


@dataclass(frozen=True, slots=True)
class RememberedVolumes:
    """All records after `count` changes. An id with a version names one record for ever."""

    count: int = NEVER
    by_id: Mapping[str, Versioned] = field(default_factory=dict)
    by_name: tuple[Versioned, ...] = ()


def refresh_named(db: sqlite3.Connection, known: RememberedNamed) -> RememberedNamed:
    """The same, while nothing has changed."""
    if _read_count(db, "named") == known.count:
        return known
    with _at_one_moment(db):
        texts: dict[str, dict[str, str]] = {}
        for kind, name, record in db.execute("SELECT kind, name, record FROM named ORDER BY kind, name"):
            texts.setdefault(kind, {})[name] = record
        return RememberedNamed(_read_count(db, "named"), texts)


def refresh_volumes(
    db: sqlite3.Connection, known: RememberedVolumes, parse: Callable[[tuple[object, ...]], Versioned]
) -> RememberedVolumes:
    """`parse` gets (id, version, record), of those only that are new."""
    if _read_count(db, "volumes") == known.count:
        return known
    with _at_one_moment(db):
        found: dict[str, Versioned] = {}
        for volume_id, version in db.execute("SELECT id, version FROM volumes").fetchall():
            before = known.by_id.get(volume_id)
            if before is None or before.version != version:
                before = parse(_read_row(db, volume_id))
            found[volume_id] = before
        by_name = sorted(found.values(), key=lambda each: each.volume.name)
        return RememberedVolumes(_read_count(db, "volumes"), found, tuple(by_name))


def _read_row(db: sqlite3.Connection, volume_id: str) -> tuple[object, ...]:
    row: tuple[object, ...] = db.execute(
        "SELECT id, version, record FROM volumes WHERE id = ?", (volume_id,)
    ).fetchone()
    return row


def _read_count(db: sqlite3.Connection, table: str) -> int:
    return int(db.execute("SELECT count FROM changes WHERE subject = ?", (table,)).fetchone()[0])


@contextmanager
def _at_one_moment(db: sqlite3.Connection) -> Iterator[None]:
    """What is read inside is of one state of the store."""
    db.execute("BEGIN")
    try:
        yield
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
