"""SQLite stores of tests, and what happens to their files behind their backs."""

import sqlite3
from pathlib import Path

from replication.clock import SystemClock
from replication.control.store.sqlite import SqliteStore


def open_sqlite(directory: Path, cluster: str = "cluster", busy_seconds: float = 5.0) -> SqliteStore:
    return SqliteStore(directory, cluster, SystemClock(), busy_seconds)


def change(directory: Path, statement: str, *parameters: str) -> None:
    with sqlite3.connect(directory / "state.db") as connection:
        connection.execute(statement, parameters)
    connection.close()
