"""A store that does not answer: another process keeps the lock of its file."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from hack.lab.errors import LabError

_LOCK = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
db.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Nobody else reads or writes the SQLite file at `path`."""
    argv = [sys.executable, "-c", _LOCK, str(path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as keeper:
        if keeper.stdout is None or keeper.stdout.readline() != "locked\n":
            raise LabError(f"{path} is not locked")
        try:
            yield
        finally:
            keeper.communicate()
