"""Who is alive, by echo and by connection; sockets are real ones of loopback, echoes are not."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest

from replication.agent.peers import Peers
from replication.clock import SystemClock
from replication.peer import Peer, PeerState
from tests.unit.agent.test_probe import FakeWire

ECHOES = Peer("echoes", "nowhere:1", "192.0.2.1")
ALIVE, SILENT, UNKNOWN = PeerState.ANSWERS, PeerState.SILENT, PeerState.UNKNOWN


class Stand:
    """An agent's view of its peers, on a network that answers for those that are `alive`."""

    def __init__(self) -> None:
        self.wire = FakeWire()
        self.peers = Peers(SystemClock(), lambda: self.wire, wait_seconds=1.0)

    def probe(self, *peers: Peer) -> list[PeerState]:
        verdicts = self.peers.probe(peers)
        assert [verdict.name for verdict in verdicts] == [peer.name for peer in peers]
        return [verdict.state for verdict in verdicts]


@pytest.fixture
def stand() -> Stand:
    return Stand()


@contextmanager
def dropping() -> Iterator[int]:
    """A port whose kernel drops what comes, as a machine without power does."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        yield full.getsockname()[1]


def test_who_echoes_is_alive(stand: Stand) -> None:
    stand.wire.alive.add("192.0.2.1")
    assert stand.probe(ECHOES) == [ALIVE]


def test_silence_says_something_only_of_whom_we_have_heard(stand: Stand) -> None:
    assert stand.probe(ECHOES) == [UNKNOWN]
    stand.wire.alive.add("192.0.2.1")
    assert stand.probe(ECHOES) == [ALIVE]
    stand.wire.alive.clear()
    assert stand.probe(ECHOES, replace(ECHOES, name="other", data_address="192.0.2.2")) == [SILENT, UNKNOWN]


def test_who_takes_or_refuses_a_connection_is_alive(stand: Stand) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        peer = replace(ECHOES, address=f"127.0.0.1:{port}")
        assert stand.probe(peer) == [ALIVE]
    assert stand.probe(peer) == [ALIVE]  # nobody listens any more, and a kernel says so


def test_who_does_not_even_refuse_is_silent(stand: Stand) -> None:
    with dropping() as port:
        peer = replace(ECHOES, address=f"127.0.0.1:{port}")
        stand.wire.alive.add("192.0.2.1")
        assert stand.probe(peer) == [ALIVE]
        stand.wire.alive.clear()
        assert stand.probe(peer) == [SILENT]


def test_one_that_is_silent_hides_none_that_answers(stand: Stand) -> None:
    with dropping() as port, socket.create_server(("::1", 0), family=socket.AF_INET6) as listening:
        gone = Peer("gone", f"127.0.0.1:{port}", "192.0.2.2")
        six = Peer("six", f"[::1]:{listening.getsockname()[1]}", "192.0.2.3")
        stand.wire.alive.add("192.0.2.1")
        assert stand.probe(gone, ECHOES, six) == [UNKNOWN, ALIVE, ALIVE]


def test_nobody_is_asked_about_nobody(stand: Stand) -> None:
    assert stand.probe() == []
