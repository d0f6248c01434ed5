"""HTTPS for the API server's questions: a thread for each of its connections, which it keeps open.

Whoever reaches the port may ask; the API server shows no certificate unless its administrator gave it one. So
a connection has bounds on its time and its size, and there are at most so many. One too many is closed at
once: the API server then goes on without an answer sooner than if it had to wait for one.
"""

import io
import logging
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from csi.connections import Bounded
from replication.clock import Clock
from replication.errors import InvalidRequest, NotFound, TrilithError
from replication.pki import Identity

BODY_BYTES = 8 << 20  # two objects, each of which the API server takes up to 3 MiB of
REQUEST_SECONDS = 5.0  # for a handshake, and for a request from its first byte to its last
IDLE_SECONDS = 90.0  # as long as Go's client keeps a connection
CONNECTIONS = 128
FAREWELL_SECONDS = 5.0
BACKLOG = 128
ANYWHERE = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104 (the API server comes from outside)

Answer = Callable[[str, bytes], bytes]
"""From a path and a body to a body. InvalidRequest and NotFound are the asker's fault, others ours."""

ReadIdentity = Callable[[], Identity]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What strangers can take."""

    connections: int = CONNECTIONS
    request_seconds: float = REQUEST_SECONDS


class WebhookServer:
    """`run` serves until it is told to stop."""

    def __init__(
        self,
        address: tuple[str, int],
        read_identity: ReadIdentity,
        answer: Answer,
        clock: Clock,
        bounds: Bounds = Bounds(),
    ) -> None:
        """Listens from now on; OSError when the address is taken. Port 0: any.

        `read_identity` is asked for each connection, so that a renewed certificate is used at once.
        """
        self._listener = _Listener(address, _Contexts(read_identity), answer, clock, bounds)

    @property
    def port(self) -> int:
        return int(self._listener.server_address[1])

    def run(self, stop: threading.Event) -> None:
        """Questions that are being answered when `stop` is set get their answer."""
        thread = threading.Thread(target=self._listener.serve_forever, args=(0.2,), name="admission")
        thread.start()
        try:
            stop.wait()
        finally:
            self._listener.shutdown()
            thread.join()
            self._listener.server_close()
            self._listener.wait_idle(FAREWELL_SECONDS)


class _Contexts:
    """The newest certificate that could be read; a half-written one does not end what works."""

    def __init__(self, read_identity: ReadIdentity) -> None:
        self._read_identity = read_identity
        self._known: tuple[Identity, ssl.SSLContext] | None = None

    def get(self) -> ssl.SSLContext:
        """OSError when there has never been one."""
        try:
            identity = self._read_identity()
            if self._known is None or self._known[0] != identity:
                self._known = identity, _make_context(identity)
        except (TrilithError, OSError) as error:
            log.warning("admission: certificate cannot be read: %s", error)
        if self._known is None:
            raise OSError("no certificate to show")
        return self._known[1]


class _Listener(Bounded, HTTPServer):
    request_queue_size = BACKLOG

    def __init__(
        self,
        address: tuple[str, int],
        contexts: _Contexts,
        answer: Answer,
        clock: Clock,
        bounds: Bounds,
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.contexts = contexts
        self.answer = answer
        self.clock = clock
        self.seconds = bounds.request_seconds
        self.connections = bounds.connections
        self.stopping = False
        self._busy = 0
        self._waiting: set[socket.socket] = set()
        self._changed = threading.Condition()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:  # `::` takes IPv4 as well
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def get_request(self) -> tuple[socket.socket, Any]:
        """The handshake is for the connection's own thread."""
        raw, peer = super().get_request()
        raw.settimeout(self.seconds)
        try:
            context = self.contexts.get()
            return context.wrap_socket(raw, server_side=True, do_handshake_on_connect=False), peer
        except OSError:
            raw.close()
            raise

    def shutdown(self) -> None:
        """Connections without a question are closed now, so that none is put to them any more."""
        super().shutdown()
        with self._changed:
            self.stopping = True
            for connection in self._waiting:
                with suppress(OSError):  # the other end was first
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)

    @contextmanager
    def awaiting(self, connection: socket.socket) -> Iterator[None]:
        """A connection that has no question now. ConnectionAbortedError when none is answered any more."""
        with self._changed:
            if self.stopping:
                raise ConnectionAbortedError("stopping")
            self._waiting.add(connection)
        try:
            yield
        finally:
            with self._changed:
                self._waiting.remove(connection)

    @contextmanager
    def answering(self) -> Iterator[None]:
        with self._changed:
            self._busy += 1
        try:
            yield
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()

    def wait_idle(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._busy == 0, seconds)


class _Timed(io.RawIOBase):
    """What is read of a request has to be there by one deadline, however slowly it trickles."""

    def __init__(self, connection: socket.socket, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self._deadline = 0.0

    def expect(self, seconds: float) -> None:
        self._deadline = self._clock.now() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 (as its base)
        left = self._deadline - self._clock.now()
        if left <= 0:
            raise TimeoutError("the request took too long")
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # an answer goes in one piece: its body would wait 40 ms for the other end to have its head
    server: _Listener

    def setup(self) -> None:
        self.request.do_handshake()
        super().setup()
        self._timed = _Timed(self.connection, self.server.clock)
        self.rfile = self._reader = io.BufferedReader(self._timed)

    def handle_one_request(self) -> None:
        """The time of a request counts from its first byte: before that, the connection is idle."""
        self._timed.expect(IDLE_SECONDS)
        try:
            with self.server.awaiting(self.connection):
                self._reader.peek(1)
        except (TimeoutError, ConnectionError):
            self.close_connection = True
            return
        self._timed.expect(self.server.seconds)
        with self.server.answering():
            super().handle_one_request()

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "Content-Length: missing")
        elif int(length) > BODY_BYTES:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {BODY_BYTES} bytes")
        else:
            self._reply(self.rfile.read(int(length)))

    def _reply(self, body: bytes) -> None:
        try:
            self._send(HTTPStatus.OK, self.server.answer(self.path, body), "application/json")
        except InvalidRequest as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        except NotFound as error:
            self._refuse(HTTPStatus.NOT_FOUND, str(error))
        except TrilithError as error:
            log.warning("admission: %s is not answered: %s", self.path, error)
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        except OSError:
            raise
        except Exception as error:
            log.exception("admission: %s is not answered", self.path)
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, repr(error))

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        """What was not read of the request would be taken for the next one: so this is the last."""
        self.close_connection = True
        self._send(status, why.encode(), "text/plain; charset=utf-8")

    def _send(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.close_connection = self.close_connection or self.server.stopping
        self.connection.settimeout(self.server.seconds)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (as its base)
        log.debug("admission: %s: %s", self.client_address[0], format % args)


def _make_context(identity: Identity) -> ssl.SSLContext:
    """By way of a file without a name, which never reaches a disk: OpenSSL takes no certificate otherwise."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    handle = os.memfd_create("trilith-admission", os.MFD_CLOEXEC)
    with os.fdopen(handle, "wb") as file:
        file.write(identity.certificate_pem + b"\n" + identity.key_pem)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{handle}")
    return context
