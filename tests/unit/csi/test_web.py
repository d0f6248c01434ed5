"""What kubelet and Prometheus ask is answered, whoever else holds connections."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection

import pytest

from csi.cluster.web import CONNECTIONS, IDLE_SECONDS, Web
from replication.clock import SystemClock

CLOCK = SystemClock()


@pytest.fixture
def port() -> Iterator[int]:
    web, stop = Web(("127.0.0.1", 0), (), lambda: ""), threading.Event()
    thread = threading.Thread(target=web.run, args=(stop,))
    thread.start()
    yield web.port
    stop.set()
    thread.join()


def ask(port: int) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status
    finally:
        connection.close()


def test_idle_connections_are_bounded_and_do_not_last(port: int) -> None:
    with ExitStack() as stack:
        began = CLOCK.now()
        idle = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            for _ in range(CONNECTIONS)
        ]
        with socket.create_connection(("127.0.0.1", port), timeout=30) as one_more:
            assert one_more.recv(1) == b"", "turned away"
        assert CLOCK.now() - began < IDLE_SECONDS
        assert all(each.recv(1) == b"" for each in idle)
        assert CLOCK.now() - began >= IDLE_SECONDS
        assert ask(port) == 200
