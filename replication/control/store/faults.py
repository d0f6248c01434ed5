"""What SQLite's errors mean to the person who runs the control plane, and what to do about them."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from replication.errors import DataLoss, OutOfSpace, TrilithError, Unavailable

_MEANINGS: dict[int, tuple[type[TrilithError], str]] = {
    sqlite3.SQLITE_CORRUPT: (DataLoss, "is damaged: stop the control plane and restore a backup"),
    sqlite3.SQLITE_NOTADB: (DataLoss, "is not a database: stop the control plane and restore a backup"),
    sqlite3.SQLITE_BUSY: (Unavailable, "is locked by another process: find it with `fuser`, or try again"),
    sqlite3.SQLITE_LOCKED: (Unavailable, "is locked by another thread: try again"),
    sqlite3.SQLITE_FULL: (OutOfSpace, "cannot grow: make room on its file system"),
    sqlite3.SQLITE_READONLY: (Unavailable, "cannot be written: check its owner, mode and file system"),
    sqlite3.SQLITE_CANTOPEN: (Unavailable, "cannot be opened: check that its directory exists and is ours"),
    sqlite3.SQLITE_PERM: (Unavailable, "may not be opened: check its owner and mode"),
    sqlite3.SQLITE_IOERR: (Unavailable, "cannot be read or written: check its disk"),
    sqlite3.SQLITE_IOERR_SHMSIZE: (OutOfSpace, "has no room for its index: make room on its file system"),
}
_OTHER = (Unavailable, "does not work")


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Errors of SQLite and of the file system as ours, naming the file and the remedy."""
    try:
        yield
    except sqlite3.Error as error:
        kind, meaning = _meaning(error)
        raise kind(f"state store {path} {meaning} ({error})") from error
    except OSError as error:
        raise Unavailable(f"state store {path} cannot be made: {error}") from error


def _meaning(error: sqlite3.Error) -> tuple[type[TrilithError], str]:
    """By the extended code, or by the primary one: its lowest eight bits."""
    code = getattr(error, "sqlite_errorcode", 0)
    return _MEANINGS.get(code, _MEANINGS.get(code & 0xFF, _OTHER))
