"""What kubelet and Prometheus ask is answered, whoever else holds connections."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPException

import pytest

from csi.cluster.web import CONNECTIONS, Web


@pytest.fixture
def port() -> Iterator[int]:
    web, stop = Web(("127.0.0.1", 0), (), lambda: ""), threading.Event()
    thread = threading.Thread(target=web.run, args=(stop,))
    thread.start()
    yield web.port
    stop.set()
    thread.join()


def ask(port: int) -> int:
    """The status of the answer; 0 when there is none."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status
    except (HTTPException, OSError):
        return 0
    finally:
        connection.close()


@contextmanager
def idle(port: int) -> Iterator[list[socket.socket]]:
    """As many connections as there may be, on which nothing is said."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            for _ in range(CONNECTIONS)
        ]


def test_one_more_than_there_may_be_is_turned_away(port: int) -> None:
    with idle(port):
        assert ask(port) == 0


def test_idle_connections_do_not_last(port: int) -> None:
    with idle(port) as connections:
        assert all(each.recv(1) == b"" for each in connections)
        assert ask(port) == 200
