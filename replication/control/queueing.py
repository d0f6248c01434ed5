"""Attachments to one node, a few at a time.

A replica that is not ready within seconds does not start with the array, and is copied to afterwards. Thirty
attachments begun at once keep nodes busy for longer than that; so the others are begun when one is done.
"""

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from replication.errors import Busy

AT_ONCE = 3
PATIENCE = 60.0  # seconds


class Queue:
    """Threads may share it. One node's attachments do not wait for another's."""

    def __init__(self, at_once: int = AT_ONCE, patience: float = PATIENCE) -> None:
        self._at_once = at_once
        self._patience = patience
        self._mutex = threading.Lock()
        self._nodes: defaultdict[str, threading.Semaphore] = defaultdict(self._open)

    @contextmanager
    def turn(self, node: str) -> Iterator[None]:
        """Busy when none comes in time."""
        with self._mutex:
            free = self._nodes[node]
        if not free.acquire(timeout=self._patience):
            raise Busy(f"{self._at_once} other volumes are being attached to node {node}")
        try:
            yield
        finally:
            free.release()

    def _open(self) -> threading.Semaphore:
        return threading.Semaphore(self._at_once)
