"""Servers with a thread for each connection, and at most so many: one too many is closed at once."""

import logging
import sys
import threading
from socketserver import BaseServer, ThreadingMixIn
from typing import Any

log = logging.getLogger(__name__)


class Bounded(ThreadingMixIn, BaseServer):
    """To be mixed into a server, which says how many before it listens."""

    daemon_threads = True
    request_queue_size = 128  # of the library's 5 the sixth of a crowd waits for a second and more
    connections: int

    def server_activate(self) -> None:
        self._slots = threading.BoundedSemaphore(self.connections)
        super().server_activate()

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 (as its base)
        if self._slots.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            log.warning("too many connections: %s is turned away", client_address[0])
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: object, client_address: Any) -> None:  # noqa: ANN401, ARG002
        """Of one connection: it was cut, said nothing, or is no TLS."""
        log.info("connection of %s ended: %s", client_address[0], sys.exception())
