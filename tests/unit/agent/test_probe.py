import os
import struct

from replication.agent.probe import Prober, checksum, echo_request, parse_echo_reply

IPV4 = b"\x45" + bytes(19)


def test_a_request_with_its_checksum_sums_to_zero() -> None:
    assert checksum(echo_request(0x1234, 7)) == 0


def test_odd_lengths_are_padded() -> None:
    assert checksum(b"\x01") == 0xFEFF


def test_a_reply_reads_back() -> None:
    reply = b"\0" + echo_request(0x1234, 7)[1:]
    assert parse_echo_reply(IPV4 + reply) == (0x1234, 7)


def test_options_in_the_header_are_skipped() -> None:
    reply = b"\0" + echo_request(1, 2)[1:]
    assert parse_echo_reply(b"\x46" + bytes(23) + reply) == (1, 2)


def test_requests_errors_and_scraps_are_not_replies() -> None:
    assert parse_echo_reply(IPV4 + echo_request(1, 2)) is None
    assert parse_echo_reply(IPV4 + struct.pack("!BBHHH", 3, 1, 0, 1, 2)) is None
    assert parse_echo_reply(b"") is None


class FakeClock:
    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


class FakeWire:
    """Peers that answer at once; answers wait until they are looked at."""

    def __init__(self) -> None:
        self.alive: set[str] = set()
        self.answers: list[tuple[bytes, tuple[str, int]]] = []

    def sendto(self, packet: bytes, destination: tuple[str, int], /) -> int:
        if destination[0] in self.alive:
            self.answers.append((IPV4 + b"\0" + packet[1:], destination))
        return len(packet)

    def recvfrom(self, size: int, /) -> tuple[bytes, tuple[str, int]]:
        if not self.answers:
            raise BlockingIOError
        return self.answers.pop(0)

    def close(self) -> None: ...


class Rounds:
    """A prober whose rounds are taken by hand."""

    def __init__(self, *alive: str) -> None:
        self.clock, self.wire = FakeClock(), FakeWire()
        self.wire.alive = set(alive)
        self.prober = Prober(lambda: (), self.clock, 0.5, lambda: self.wire)

    def send(self) -> None:
        self.prober._send({"a", "b"})

    def go(self, number: int = 1) -> None:
        for _ in range(number):
            self.send()
            self.clock.time += 0.5
            self.prober._receive()


def test_a_peer_is_silent_since_the_first_request_that_it_did_not_answer() -> None:
    rounds = Rounds("a", "b")
    rounds.go(3)
    rounds.wire.alive = {"b"}
    rounds.go(4)
    assert (rounds.prober.silence("a"), rounds.prober.silence("b")) == (2.0, 0.0)


def test_a_peer_that_answers_again_is_not_silent() -> None:
    rounds = Rounds("a")
    rounds.go()
    rounds.wire.alive = set()
    rounds.go(4)
    rounds.wire.alive = {"a"}
    rounds.go()
    assert rounds.prober.silence("a") == 0.0


def test_a_peer_that_never_answered_is_not_silent() -> None:
    rounds = Rounds()
    rounds.go(20)
    assert rounds.prober.silence("a") == 0.0


def test_a_pause_of_our_own_is_not_the_peers() -> None:
    """Stopped after sending: until the answers have been looked at, nobody is silent."""
    rounds = Rounds("a")
    rounds.go(3)
    rounds.send()
    rounds.clock.time += 60
    assert rounds.prober.silence("a") == 0.0
    rounds.prober._receive()
    assert rounds.prober.silence("a") == 0.0


def test_answers_to_somebody_else_are_passed_over() -> None:
    rounds = Rounds("a")
    rounds.go()
    rounds.wire.alive = set()
    other = (os.getpid() + 1) & 0xFFFF
    for _ in range(3):
        rounds.wire.answers.append((IPV4 + b"\0" + echo_request(other, 1)[1:], ("a", 0)))
        rounds.go()
    assert rounds.prober.silence("a") == 1.5


def test_those_that_have_been_silent_for_long_are_listed() -> None:
    rounds = Rounds("a", "b")
    rounds.go(2)
    rounds.wire.alive = {"a"}
    rounds.go(8)
    assert rounds.prober.list_silent(3.0) == {"b"}
    assert rounds.prober.list_silent(30.0) == frozenset()
