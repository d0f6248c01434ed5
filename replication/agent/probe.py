"""Is a peer's kernel alive? Asked by ICMP echo, which that kernel answers however busy its programs are.

One raw socket and one thread serve all peers. A peer is silent since the first of a row of unanswered
requests, until the prober last looked what had come: one that was itself not scheduled for a while does not
mistake its own pause for the peer's. It looks once in each round, not at each answer, as being woken is what
costs most. A peer that has never answered counts as not silent: a network may drop ICMP, and then the
connection's own state has to tell.
"""

import os
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Protocol

from replication.clock import Clock

_ECHO_REQUEST, _ECHO_REPLY = 8, 0
_IPV4_HEADER_MIN = 20
_SOL_RAW, _ICMP_FILTER = 255, 1  # linux/socket.h, linux/icmp.h: the types that are not wanted


def checksum(packet: bytes) -> int:
    """RFC 1071, over 16-bit words."""
    if len(packet) % 2:
        packet += b"\0"
    total = sum(struct.unpack(f"!{len(packet) // 2}H", packet))
    total = (total >> 16) + (total & 0xFFFF)
    return int(~(total + (total >> 16)) & 0xFFFF)


def echo_request(identifier: int, sequence: int) -> bytes:
    head = struct.pack("!BBHHH", _ECHO_REQUEST, 0, 0, identifier, sequence)
    return head[:2] + struct.pack("!H", checksum(head)) + head[4:]


def parse_echo_reply(packet: bytes) -> tuple[int, int] | None:
    """(identifier, sequence) of an echo reply inside an IPv4 packet, or None for anything else."""
    start = (packet[0] & 15) * 4 if packet else _IPV4_HEADER_MIN
    if len(packet) < start + 8 or packet[start] != _ECHO_REPLY:
        return None
    identifier, sequence = struct.unpack("!HH", packet[start + 4 : start + 8])
    return identifier, sequence


class Wire(Protocol):
    """What the prober needs of a raw socket."""

    def sendto(self, packet: bytes, destination: tuple[str, int], /) -> int: ...

    def recvfrom(self, size: int, /) -> tuple[bytes, tuple[str, int]]:
        """BlockingIOError when nothing has come."""

    def close(self) -> None: ...


def open_icmp_socket() -> Wire:
    """Only echo replies come through it."""
    opened = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    opened.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("I", ~(1 << _ECHO_REPLY) & 0xFFFFFFFF))
    opened.setblocking(False)
    return opened


class Prober:
    """Asks each of `addresses()` every `interval` seconds, and knows how long each has been silent."""

    def __init__(
        self,
        addresses: Callable[[], Iterable[str]],
        clock: Clock,
        interval: float = 0.5,
        open_wire: Callable[[], Wire] = open_icmp_socket,
    ) -> None:
        self._addresses = addresses
        self._clock = clock
        self._interval = interval
        self._identifier = os.getpid() & 0xFFFF
        self._sequence = 0
        self._unanswered: dict[str, float] = {}  # address: when the first request without an answer was sent
        self._heard: set[str] = set()
        self._looked_at = 0.0  # when what had come until then was taken
        self._wire = open_wire()
        self._thread = threading.Thread(target=self._run, name="prober", daemon=True)
        self._stop = threading.Event()
        self._needed = threading.Event()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._needed.set()
        self._thread.join()
        self._wire.close()

    def wake(self) -> None:
        """There may be addresses to ask now; while there are none the prober sleeps."""
        self._needed.set()

    def silence(self, address: str) -> float:
        """How long the oldest request has had no answer; 0 when each has one, or none ever came."""
        since = self._unanswered.get(address)
        return 0.0 if since is None or address not in self._heard else max(0.0, self._looked_at - since)

    def list_silent(self, seconds: float) -> frozenset[str]:
        """Addresses that have been silent for so long."""
        unanswered = tuple(self._unanswered)
        return frozenset(address for address in unanswered if self.silence(address) >= seconds)

    def _run(self) -> None:
        while not self._stop.is_set():
            addresses = set(self._addresses())
            if not addresses:
                self._unanswered.clear()
                self._needed.wait()
                self._needed.clear()
                continue
            self._send(addresses)
            self._stop.wait(self._interval)
            self._receive()

    def _send(self, addresses: set[str]) -> None:
        self._sequence = (self._sequence + 1) & 0xFFFF
        packet = echo_request(self._identifier, self._sequence)
        for gone in self._unanswered.keys() - addresses:
            del self._unanswered[gone]
        for address in addresses:
            self._unanswered.setdefault(address, self._clock.now())
            try:
                self._wire.sendto(packet, (address, 0))
            except OSError:  # no route, link down: the same as silence
                continue

    def _receive(self) -> None:
        now = self._clock.now()
        with suppress(BlockingIOError):
            while True:
                self._take(*self._wire.recvfrom(256))
        self._looked_at = now

    def _take(self, packet: bytes, source: tuple[str, int]) -> None:
        reply = parse_echo_reply(packet)
        if reply is not None and reply[0] == self._identifier:
            self._heard.add(source[0])
            self._unanswered.pop(source[0], None)
