"""The tables of the SQLite store, and which program may touch them."""

import sqlite3
from pathlib import Path

from replication.errors import FailedPrecondition, Unsupported

VERSION = 2

_FIRST = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE volumes (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, version INTEGER NOT NULL, record TEXT NOT NULL
) STRICT;
CREATE TABLE named (
    kind TEXT NOT NULL, name TEXT NOT NULL, record TEXT NOT NULL, PRIMARY KEY (kind, name)
) STRICT;
CREATE TABLE events (
    number INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL,
    subject TEXT NOT NULL, kind TEXT NOT NULL, message TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_subject ON events (subject, number)
"""
_COUNT = """
CREATE TRIGGER {table}_{act} AFTER {act} ON {table}
BEGIN UPDATE changes SET count = count + 1 WHERE subject = '{table}'; END
"""
_COUNTED = (
    "CREATE TABLE changes (subject TEXT PRIMARY KEY, count INTEGER NOT NULL) STRICT",
    "INSERT INTO changes (subject, count) VALUES ('named', 0), ('volumes', 0)",
    *(
        _COUNT.format(table=table, act=act)
        for table in ("named", "volumes")
        for act in ("INSERT", "UPDATE", "DELETE")
    ),
)
_STEPS: tuple[tuple[str, ...], ...] = (tuple(_FIRST.split(";")), _COUNTED)
"""What makes each version of the one before it. Changes are counted for those who remember what they read."""


def check_schema(db: sqlite3.Connection, path: Path) -> int:
    """The version of the tables, 0 when there are none. Unsupported when a newer program made them."""
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version > VERSION:
        raise Unsupported(
            f"state store {path} has schema {version}, this program knows {VERSION}: use a newer trilith"
        )
    return version


def ensure_schema(db: sqlite3.Connection, path: Path, cluster: str) -> None:
    """Within a transaction."""
    found = check_schema(db, path)
    if found == VERSION:
        return
    for step in _STEPS[found:]:
        for statement in step:
            db.execute(statement)
    if found == 0:
        db.execute("INSERT INTO meta (key, value) VALUES ('cluster', ?)", (cluster,))
    db.execute(f"PRAGMA user_version = {VERSION}")


def read_cluster(db: sqlite3.Connection, path: Path, cluster: str) -> str:
    """FailedPrecondition unless the store is of `cluster`."""
    row = db.execute("SELECT value FROM meta WHERE key = 'cluster'").fetchone()
    if row is None or row[0] != cluster:
        found = "no cluster" if row is None else f"cluster {row[0]}"
        raise FailedPrecondition(f"state store {path} is of {found}, the identity is of cluster {cluster}")
    return cluster
