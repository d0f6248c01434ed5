"""Where the lab keeps its things: unpacked packages in the user's cache, logs in the checkout's."""

import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
VENV = REPOSITORY / ".cache" / "venv"
LOGS = REPOSITORY / ".cache" / "lab" / "logs"
PYTHON = Path(sys.executable).resolve()
"""The interpreter behind the environment: guests run the same file through their view of the host's root."""


def cache() -> Path:
    """The user's cache folder for everything downloaded: survives `make clean`, shared by checkouts."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "trilith" / "lab"


@contextlib.contextmanager
def locked_cache() -> Iterator[None]:
    """Alone in the user's cache: two checkouts would unpack and build over each other."""
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
