import os
import socket
import struct

import pytest

from replication.errors import KernelError
from replication.kernel.sockets import Connection, break_connections, parse_connections


def answer(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 1, 0) + body


def test_a_dump_reads_back_with_the_kernels_own_name_of_each_socket() -> None:
    ends = struct.pack("!HH4s12x4s12x", 40000, 4420, bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]))
    socket_id = ends + b"cookiecookie"
    listed = answer(20, bytes([2, 1, 0, 0]) + socket_id + bytes(20)) + answer(3, bytes(4))
    assert list(parse_connections(listed)) == [Connection("10.0.0.2", 4420, socket_id), None]


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
