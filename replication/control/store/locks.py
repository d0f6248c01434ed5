"""One operation at a time on a key, across threads and processes; a lock dies with the process that holds it.

A file per key, locked with flock(2) on its own open file, so that threads exclude each other too. The holder
removes the file before it lets go: whoever got hold of a removed file tries again.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

from replication.clock import Clock
from replication.errors import Busy, Unavailable

INTERVAL = 0.02
MAX_NAME_BYTES = 255  # NAME_MAX


class FileLocks:
    """Locks as files in one directory of this machine."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock

    @contextmanager
    def lock(self, key: str, operation: str, timeout: float) -> Iterator[None]:
        path = self._directory / file_name(key)
        descriptor = self._acquire(path, key, timeout)
        try:
            _sign(descriptor, operation)
            yield
        finally:
            path.unlink(missing_ok=True)
            os.close(descriptor)

    def _acquire(self, path: Path, key: str, timeout: float) -> int:
        deadline = self._clock.now() + timeout
        while True:
            descriptor = _try_lock(path)
            if descriptor is not None:
                return descriptor
            if self._clock.now() >= deadline:
                raise Busy(f"{_holder(path)} under way on {key}")
            self._clock.sleep(INTERVAL)


def file_name(key: str) -> str:
    """Of any key: quoting trebles what is not ASCII, so that a long one is named by its hash."""
    quoted = quote(key, safe="", errors="surrogatepass")
    if len(quoted) <= MAX_NAME_BYTES:
        return quoted
    return f"sha256-{sha256(key.encode(errors='surrogatepass')).hexdigest()}"


def _try_lock(path: Path) -> int | None:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(f"lock {path}: {error.strerror}: check the directory's owner and room") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_ino == path.stat().st_ino:
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass  # held by another, or removed by its holder just now
    os.close(descriptor)
    return None


def _sign(descriptor: int, operation: str) -> None:
    """For whoever finds it held. On a full disk it goes unsigned, and holds all the same."""
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{operation} (process {os.getpid()})".encode(), 0)


def _holder(path: Path) -> str:
    try:
        return f"operation {path.read_text()}" if path.stat().st_size else "an operation"
    except OSError:
        return "an operation"
