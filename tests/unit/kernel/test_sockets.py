import os
import socket
import struct
from collections.abc import Iterator

import pytest

from replication.errors import KernelError
from replication.kernel.sockets import (
    Connection,
    break_connection,
    break_connections,
    find_asked,
    parse_connections,
)


def answer(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 1, 0) + body


def test_a_dump_reads_back_with_the_kernels_own_name_of_each_socket() -> None:
    ends = struct.pack("!HH4s12x4s12x", 40000, 4420, bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]))
    socket_id = ends + b"cookiecookie"
    listed = answer(20, bytes([2, 1, 0, 0]) + socket_id + bytes(20)) + answer(3, bytes(4))
    assert list(parse_connections(listed)) == [Connection("10.0.0.2", 4420, socket_id), None]


@pytest.mark.parametrize(
    ("attributes", "received"),
    [
        (struct.pack("=HHI", 8, 9, 7) + struct.pack("=HH128xQ24x", 164, 2, 108), 108),
        (struct.pack("=HH100x", 104, 2), 0),  # of a kernel that does not count yet
        (struct.pack("=HH", 0, 9), 0),
    ],
)
def test_what_a_connection_has_received_is_read(attributes: bytes, received: int) -> None:
    listed = answer(20, bytes(72) + attributes)
    (found,) = parse_connections(listed)
    assert found is not None
    assert found.received_bytes == received


class Ends:
    """Both ends of some connections to one port of this machine."""

    def __init__(self, number: int) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.port = server.getsockname()[1]
            self.here = [socket.create_connection(server.getsockname()) for _ in range(number)]
            self.there = [server.accept()[0] for _ in range(number)]

    def answer(self, *lengths: int) -> None:
        """To each of the first so many bytes."""
        for here, there, length in zip(self.here, self.there, lengths, strict=False):
            there.send(bytes(length))
            assert len(here.recv(length, socket.MSG_WAITALL)) == length

    def find(self, *lengths: int) -> Connection | None:
        return find_asked("127.0.0.1", self.port, lambda: self.answer(*lengths), 60)

    def close(self) -> None:
        for end in self.here + self.there:
            end.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends(3)
    yield made
    made.close()


def test_the_connection_that_is_asked_is_the_one_that_is_answered(ends: Ends) -> None:
    ends.answer(7, 60, 60)
    found = ends.find(84, 60, 24)
    assert found is not None
    assert struct.unpack_from("!H", found.socket_id)[0] == ends.here[1].getsockname()[1]


@pytest.mark.parametrize("lengths", [(), (24, 84), (60, 0, 60)])
def test_where_none_or_several_are_answered_like_that_nobody_knows(
    ends: Ends, lengths: tuple[int, ...]
) -> None:
    assert ends.find(*lengths) is None


@pytest.mark.root
def test_only_the_one_that_is_meant_breaks(ends: Ends) -> None:
    found = ends.find(0, 60)
    assert found is not None
    break_connection(found)
    with pytest.raises(ConnectionAbortedError):
        ends.here[1].recv(1)
    ends.answer(1)


def test_an_error_answer_is_an_error_that_names_the_act() -> None:
    with pytest.raises(KernelError, match="list TCP connections: Operation not permitted"):
        list(parse_connections(answer(2, struct.pack("=i", -1))))


@pytest.mark.root
def test_only_connections_to_the_given_port_break() -> None:
    with socket.create_server(("127.0.0.1", 0)) as doomed, socket.create_server(("127.0.0.1", 0)) as spared:
        ends = [socket.create_connection(server.getsockname()) for server in (doomed, spared)]
        assert os.geteuid() == 0
        assert break_connections("127.0.0.1", doomed.getsockname()[1]) == 1
        with pytest.raises(ConnectionAbortedError):
            ends[0].recv(1)
        ends[1].send(b"x")
        assert break_connections("127.0.0.1", doomed.getsockname()[1]) == 0
        for end in ends:
            end.close()
