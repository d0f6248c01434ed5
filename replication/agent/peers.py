"""Whether other machines are alive, for a control plane that cannot reach them itself.

A machine's kernel answers an echo request on its data address, or a connection to its agent's port, with a
refusal if nothing listens there: either is a sign of life. Silence says something only about a peer that has
answered this agent before: a network may drop what we ask with.
"""

import ipaddress
import os
import selectors
import socket
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from errno import ECONNREFUSED, EINPROGRESS

from replication.agent.probe import Wire, echo_request, open_icmp_socket, parse_echo_reply
from replication.clock import Clock
from replication.peer import Peer, PeerState, PeerVerdict

WAIT_SECONDS = 1.2
QUICK_SECONDS = 0.05  # for the first answers to a request
ROUND_SECONDS = 0.4  # between two requests to one peer, as one packet may be lost
_ALIVE = {0, ECONNREFUSED}


class Peers:
    """Remembers, as long as this agent runs, which of them it has heard."""

    def __init__(
        self,
        clock: Clock,
        open_wire: Callable[[], Wire] = open_icmp_socket,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self._clock = clock
        self._open_wire = open_wire
        self._wait_seconds = wait_seconds
        self._heard: set[Peer] = set()

    def probe(self, peers: tuple[Peer, ...]) -> tuple[PeerVerdict, ...]:
        answering = self._ask(peers)
        self._heard |= answering
        return tuple(PeerVerdict(peer.name, self._judge(peer, answering)) for peer in peers)

    def _judge(self, peer: Peer, answering: set[Peer]) -> PeerState:
        if peer in answering:
            return PeerState.ANSWERS
        return PeerState.SILENT if peer in self._heard else PeerState.UNKNOWN

    def _ask(self, peers: Iterable[Peer]) -> set[Peer]:
        """Until all have answered, or the time is over: after one look at least, however late that is."""
        deadline = self._clock.now() + self._wait_seconds
        with ExitStack() as stack:
            wire = self._open_wire()
            stack.callback(wire.close)
            found = self._echo(wire, peers, QUICK_SECONDS)
            connecting = _Connecting(stack, set(peers) - found)
            while left := set(peers) - found:
                _send_all(wire, left)
                found |= connecting.wait(min(ROUND_SECONDS, deadline - self._clock.now()))
                found |= _receive_all(wire, left)
                if self._clock.now() >= deadline:
                    break
        return found

    def _echo(self, wire: Wire, peers: Iterable[Peer], seconds: float) -> set[Peer]:
        """Nearly always this is all: a connection would be a line in the log of each agent."""
        _send_all(wire, peers)
        self._clock.sleep(seconds)
        return _receive_all(wire, peers)


class _Connecting:
    """A connection to each peer's agent, under way."""

    def __init__(self, stack: ExitStack, peers: Iterable[Peer]) -> None:
        self._selector = stack.enter_context(selectors.DefaultSelector())
        self._at_once: set[Peer] = set()
        for peer in peers:
            self._begin(stack, peer)

    def _begin(self, stack: ExitStack, peer: Peer) -> None:
        """Names are not looked up: that could take longer than all else."""
        host, _, port = peer.address.rpartition(":")
        try:
            place = ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            return
        family = socket.AF_INET if place.version == 4 else socket.AF_INET6
        opened = stack.enter_context(socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
        answer = opened.connect_ex((str(place), int(port)))
        if answer in _ALIVE:
            self._at_once.add(peer)
        elif answer == EINPROGRESS:
            self._selector.register(opened, selectors.EVENT_WRITE, peer)

    def wait(self, seconds: float) -> set[Peer]:
        """Who answered by then: it comes back as soon as one does."""
        found, self._at_once = self._at_once, set()
        for key, _ in self._selector.select(0 if found else max(0.0, seconds)):
            opened, peer = key.fileobj, key.data
            self._selector.unregister(opened)
            if opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in _ALIVE:  # type: ignore[union-attr]
                found.add(peer)
        return found


def _send_all(wire: Wire, peers: Iterable[Peer]) -> None:
    packet = echo_request(os.getpid() & 0xFFFF, 0)
    for peer in peers:
        with suppress(OSError):  # no route, link down: the same as silence
            wire.sendto(packet, (peer.data_address, 0))


def _receive_all(wire: Wire, peers: Iterable[Peer]) -> set[Peer]:
    """Who has answered, whichever of our sockets had asked."""
    sources = set()
    with suppress(BlockingIOError):
        while True:
            packet, source = wire.recvfrom(256)
            if parse_echo_reply(packet) is not None:
                sources.add(source[0])
    return {peer for peer in peers if peer.data_address in sources}
