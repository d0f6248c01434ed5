"""The HTTPS server on a real socket: what it answers, and what strangers cannot take from it."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.client import HTTPException, HTTPSConnection

import pytest

from csi.admission.server import ANYWHERE, BODY_BYTES, Bounds, WebhookServer
from hack.kubernetes.pki import Authority
from replication.clock import SystemClock, wait_until
from replication.errors import InvalidRequest, NotFound, TrilithError, Unavailable
from replication.pki import Identity

LOOPBACK = "127.0.0.1"
ERRORS: dict[str, Exception] = {
    "/invalid": InvalidRequest("not a review"),
    "/missing": NotFound("nothing here"),
    "/away": Unavailable("no watch"),
    "/bug": ValueError("a bug"),
}


def issue() -> Identity:
    authority = Authority()
    pair = authority.issue_server((LOOPBACK,), ("localhost",))
    return Identity(authority.certificate, pair.certificate, pair.key)


FIRST, SECOND = issue(), issue()


@dataclass
class Stand:
    """A server, and what it shows and is told to do."""

    identity: Identity | TrilithError = FIRST
    asked: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)
    port: int = 0
    opened: list[HTTPSConnection] = field(default_factory=list)

    def read_identity(self) -> Identity:
        if isinstance(self.identity, TrilithError):
            raise self.identity
        return self.identity

    def answer(self, path: str, body: bytes) -> bytes:
        if path in ERRORS:
            raise ERRORS[path]
        if path == "/slow":
            self.asked.set()
            self.go_on.wait()
        return path.encode() + b" " + body

    def connect(self, identity: Identity = FIRST) -> HTTPSConnection:
        made = HTTPSConnection(LOOPBACK, self.port, timeout=10, context=trust(identity))
        self.opened.append(made)
        return made


def trust(identity: Identity) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=identity.ca_pem.decode())


@contextmanager
def serving(stand: Stand, bounds: Bounds = Bounds(), host: str = LOOPBACK) -> Iterator[threading.Event]:  # noqa: B008
    server = WebhookServer((host, 0), stand.read_identity, stand.answer, SystemClock(), bounds)
    stand.port, stop = server.port, threading.Event()
    thread = threading.Thread(target=server.run, args=(stop,))
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        stand.go_on.set()
        thread.join()
        for connection in stand.opened:
            connection.close()


def ask(connection: HTTPSConnection, path: str, body: bytes = b"x") -> tuple[int, str]:
    connection.request("POST", path, body)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


@pytest.fixture
def stand() -> Iterator[Stand]:
    stand = Stand()
    with serving(stand):
        yield stand


def test_a_connection_is_kept_for_many_questions(stand: Stand) -> None:
    connection = stand.connect()
    connection.connect()
    own = connection.sock.getsockname()
    for number in range(3):
        assert ask(connection, f"/{number}", b"y") == (200, f"/{number} y")
        assert connection.sock.getsockname() == own
    connection.close()


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/invalid", 400, "not a review"),
        ("/missing", 404, "nothing here"),
        ("/away", 503, "no watch"),
        ("/bug", 500, "a bug"),
    ],
)
def test_an_error_is_no_answer_and_does_not_end_the_server(
    stand: Stand, path: str, status: int, words: str
) -> None:
    found, said = ask(stand.connect(), path)
    assert (found, words in said) == (status, True)
    assert ask(stand.connect(), "/next") == (200, "/next x")


def test_what_is_no_question_is_refused(stand: Stand) -> None:
    connection = stand.connect()
    connection.request("GET", "/")
    assert connection.getresponse().status == 501
    connection = stand.connect()
    connection.putrequest("POST", "/")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    assert connection.getresponse().status == 411
    connection = stand.connect()
    connection.putrequest("POST", "/")
    connection.putheader("Content-Length", str(BODY_BYTES + 1))
    connection.endheaders()
    assert connection.getresponse().status == 413


def test_a_body_that_breaks_off_is_not_answered(stand: Stand) -> None:
    connection = stand.connect()
    connection.putrequest("POST", "/invalid")
    connection.putheader("Content-Length", "100")
    connection.endheaders(b"half")
    connection.sock.shutdown(socket.SHUT_WR)
    with pytest.raises((HTTPException, OSError)):
        connection.getresponse()


def test_a_renewed_certificate_is_shown_to_the_next_connection(stand: Stand) -> None:
    kept = stand.connect()
    assert ask(kept, "/a")[0] == 200
    stand.identity = SECOND
    assert ask(stand.connect(SECOND), "/b")[0] == 200
    assert ask(kept, "/c")[0] == 200
    with pytest.raises(ssl.SSLCertVerificationError):
        ask(stand.connect(FIRST), "/d")


@pytest.mark.parametrize(
    "broken",
    [Unavailable("being written"), replace(FIRST, key_pem=SECOND.key_pem), Identity(b"", b"", b"")],
    ids=["unreadable", "another's key", "empty"],
)
def test_a_half_written_certificate_leaves_the_old_one(stand: Stand, broken: Identity | TrilithError) -> None:
    assert ask(stand.connect(), "/a")[0] == 200
    stand.identity = broken
    assert ask(stand.connect(), "/b")[0] == 200


def test_without_a_certificate_nobody_is_answered_until_there_is_one() -> None:
    stand = Stand(identity=Unavailable("not issued yet"))
    with serving(stand):
        with pytest.raises(OSError, match=r"reset|EOF|closed"):
            ask(stand.connect(), "/a")
        stand.identity = FIRST
        assert ask(stand.connect(), "/b")[0] == 200


def test_who_says_nothing_keeps_nobody_from_being_answered(stand: Stand) -> None:
    with socket.create_connection((LOOPBACK, stand.port)):
        assert ask(stand.connect(), "/a")[0] == 200


@pytest.mark.parametrize("said", [b"", b"not tls at all\r\n\r\n"])
def test_a_handshake_has_a_bound(said: bytes) -> None:
    stand = Stand()
    bounds = Bounds(request_seconds=0.2)
    with serving(stand, bounds), socket.create_connection((LOOPBACK, stand.port)) as peer:
        peer.sendall(said)
        peer.settimeout(10)
        wait_until_left(peer)


def test_a_request_that_trickles_is_cut_off() -> None:
    """Each byte comes soon enough; all of them together do not."""
    stand = Stand()
    bounds = Bounds(request_seconds=0.5)
    with (
        serving(stand, bounds),
        socket.create_connection((LOOPBACK, stand.port)) as raw,
        trust(FIRST).wrap_socket(raw, server_hostname=LOOPBACK) as peer,
    ):
        peer.sendall(b"POST /a HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n")
        peer.settimeout(0.05)
        began = SystemClock().now()
        assert trickle(peer) == b""
        assert 0.4 < SystemClock().now() - began < 10


def trickle(peer: ssl.SSLSocket) -> bytes:
    """A byte with every time-out of the socket, until the other end says something or goes."""
    for _ in range(200):
        try:
            peer.sendall(b"x")
            return peer.recv(1)
        except TimeoutError:
            continue
        except OSError:
            return b""
    return b"still there"


def test_one_connection_too_many_is_turned_away_at_once() -> None:
    stand = Stand()
    with serving(stand, Bounds(connections=2)):
        kept = [stand.connect(), stand.connect()]
        assert [ask(each, "/a")[0] for each in kept] == [200, 200]
        with pytest.raises(OSError, match=r"reset|EOF|closed"):
            ask(stand.connect(), "/b")
        assert ask(kept[0], "/c")[0] == 200
        kept[0].close()
        wait_for_a_place(stand)


def wait_for_a_place(stand: Stand) -> None:
    for _ in range(1000):
        try:
            assert ask(stand.connect(), "/d")[0] == 200
        except OSError:
            continue
        return
    raise AssertionError("the place of a connection that is closed is not given to another")


def test_a_question_under_way_is_answered_before_the_end() -> None:
    stand = Stand()
    with serving(stand) as stop:
        connection = stand.connect()
        connection.request("POST", "/slow", b"x")
        assert stand.asked.wait(10)
        stop.set()
        wait_until(lambda: is_closed(stand.port), "it listens no more", timeout=10, clock=SystemClock())
        stand.go_on.set()
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Connection"]) == (200, "close")


def is_closed(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), timeout=10).close()
    except OSError:
        return True
    return False


def test_at_the_end_idle_connections_are_closed() -> None:
    """Else the API server would put its next question to one, and wait for nobody."""
    stand = Stand()
    with serving(stand) as stop:
        connection = stand.connect()
        assert ask(connection, "/a")[0] == 200
        stop.set()
        wait_until_left(connection.sock)


@pytest.mark.parametrize("host", [ANYWHERE, "0.0.0.0"])  # noqa: S104
def test_it_listens_for_ipv4_whatever_it_listens_on(host: str) -> None:
    stand = Stand()
    with serving(stand, host=host):
        assert ask(stand.connect(), "/a")[0] == 200


def wait_until_left(peer: socket.socket) -> None:
    """By the other end; what it says before is nothing but TLS. TimeoutError when it stays."""
    with suppress(ConnectionError):
        while peer.recv(1000):
            pass
