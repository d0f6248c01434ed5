"""Where one's identity is read from whenever a connection is made, so that a renewed one is used at once."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

from replication.clock import Clock, SystemClock
from replication.errors import TrilithError
from replication.pki import CA_FILE, CERTIFICATE_FILE, KEY_FILE, Identity, read_identity

Source = Identity | Callable[[], Identity]
"""One that stays as it is, or where to read it. May raise what read_identity raises."""

_FILES = (CA_FILE, CERTIFICATE_FILE, KEY_FILE)
_Stamp = tuple[tuple[int, int], ...]


def current(source: Source) -> Identity:
    return source if isinstance(source, Identity) else source()


class FolderIdentity:
    """The one in a folder, read anew when a file there is another one. Threads may share it.

    While a new one is being written, or when it cannot be read, the old one stays: only the first reading
    raises.
    """

    def __init__(self, folder: Path, clock: Clock | None = None) -> None:
        """Raise what read_identity raises."""
        self._folder = folder
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._stamp = self._look()
        self._identity = read_identity(folder, clock=self._clock)

    def __call__(self) -> Identity:
        with self._lock:
            stamp = self._look()
            if stamp != self._stamp:
                self._read(stamp)
            return self._identity

    def _read(self, stamp: _Stamp) -> None:
        try:
            self._identity = read_identity(self._folder, clock=self._clock)
        except TrilithError:  # half-written: the next caller looks again
            return
        self._stamp = stamp

    def _look(self) -> _Stamp:
        """Files are replaced, never written into: a new one has another inode or another time."""
        found = (self._folder / name for name in _FILES)
        return tuple((status.st_ino, status.st_mtime_ns) for path in found for status in _statuses(path))


def _statuses(path: Path) -> list[os.stat_result]:
    try:
        return [path.stat()]
    except OSError:
        return []
