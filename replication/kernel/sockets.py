"""End TCP connections of this machine from outside, through sock_diag(7): what `ss -K` does, without a fork.

Why: a request that nvme-tcp has sent to a peer that fell silent comes back only when its connection breaks,
which takes the kernel until the keep-alive runs out, and `delete_controller` on a live controller waits for
the request's own time-out (measured on 6.12: more than 25 s). Breaking the connection starts nvme-tcp's
error recovery at once.

Whose a connection is, is not told: `find_asked` sees it from an answer of a known length.

The kernel needs CONFIG_INET_DIAG_DESTROY (Debian has it). Structures: include/uapi/linux/inet_diag.h, tcp.h.
"""

import ipaddress
import os
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from replication.errors import KernelError

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY, _SOCK_DESTROY = 20, 21
_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_DUMP = 1, 4, 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_REQUEST = struct.Struct("=BBBBI48s")  # struct inet_diag_req_v2; the last two: states, id
_ID = struct.Struct("!HH16s16s12s")  # struct inet_diag_sockid: ports, addresses, then interface and cookie
_ID_OFFSET = 4  # of the socket's id in struct inet_diag_msg
_MESSAGE_BYTES = 72  # of struct inet_diag_msg; attributes follow
_ATTRIBUTE = struct.Struct("=HH")  # struct rtattr: length, type
_INET_DIAG_INFO = 2
_RECEIVED = struct.Struct("=128xQ")  # struct tcp_info up to tcpi_bytes_received
_ALL_STATES = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Connection:
    """`socket_id` is the kernel's own name of it, cookie included."""

    peer: str
    peer_port: int
    socket_id: bytes
    received_bytes: int = 0  # since it was made; 0 for one that has ended


def break_connections(peer: str, port: int) -> int:
    """Reset every IPv4 TCP connection from here to `peer`:`port`; how many there were.

    Raises KernelError when the kernel cannot do it.
    """
    with _open() as netlink:
        ours = _list(netlink, peer, port)
        for connection in ours:
            _destroy(netlink, connection)
    return len(ours)


def break_connection(connection: Connection) -> None:
    """Reset this one. Raises KernelError when the kernel cannot do it."""
    with _open() as netlink:
        _destroy(netlink, connection)


def find_asked(peer: str, port: int, ask: Callable[[], None], answer_bytes: int) -> Connection | None:
    """The connection from here to `peer`:`port` that `ask` asks through, to be answered by so many bytes.

    None when none, or more than one, has received just that meanwhile. What `ask` raises passes.
    """
    with _open() as netlink:
        before = {found.socket_id: found.received_bytes for found in _list(netlink, peer, port)}
        ask()
        after = [found for found in _list(netlink, peer, port) if found.socket_id in before]
    asked = [found for found in after if found.received_bytes - before[found.socket_id] == answer_bytes]
    return asked[0] if len(asked) == 1 else None


def _open() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG)


def parse_connections(datagram: bytes) -> Iterator[Connection | None]:
    """Each connection in an answer to a dump; None at its end. Raises KernelError for an error answer."""
    offset = 0
    while offset + _HEADER.size <= len(datagram):
        length, kind, _, _, _ = _HEADER.unpack_from(datagram, offset)
        body = datagram[offset + _HEADER.size : offset + length]
        if kind == _NLMSG_ERROR:
            _raise_error(body, "list TCP connections")
        yield None if kind == _NLMSG_DONE else _parse_connection(body)
        offset += (length + 3) & ~3


def _parse_connection(message: bytes) -> Connection:
    socket_id = message[_ID_OFFSET : _ID_OFFSET + _ID.size]
    _, port, _, peer, _ = _ID.unpack(socket_id)
    return Connection(str(ipaddress.IPv4Address(peer[:4])), port, socket_id, _parse_received(message))


def _parse_received(message: bytes) -> int:
    """One that waits for its end has no such attribute."""
    offset = _MESSAGE_BYTES
    while offset + _ATTRIBUTE.size <= len(message):
        length, kind = _ATTRIBUTE.unpack_from(message, offset)
        if kind == _INET_DIAG_INFO and length >= _ATTRIBUTE.size + _RECEIVED.size:
            (received,) = _RECEIVED.unpack_from(message, offset + _ATTRIBUTE.size)
            return int(received)
        offset += (max(length, _ATTRIBUTE.size) + 3) & ~3
    return 0


def _list(netlink: socket.socket, peer: str, port: int) -> list[Connection]:
    """The kernel leaves out those to other ports by itself (inet_diag_dump_icsk)."""
    socket_id = _ID.pack(0, port, bytes(16), bytes(16), bytes(12))
    netlink.send(_message(_SOCK_DIAG_BY_FAMILY, _NLM_F_DUMP, socket_id))
    return [found for found in _receive(netlink) if (found.peer, found.peer_port) == (peer, port)]


def _receive(netlink: socket.socket) -> Iterator[Connection]:
    while True:
        for found in parse_connections(netlink.recv(1 << 16)):
            if found is None:
                return
            yield found


def _destroy(netlink: socket.socket, connection: Connection) -> None:
    netlink.send(_message(_SOCK_DESTROY, _NLM_F_ACK, connection.socket_id))
    answer = netlink.recv(1 << 16)
    _raise_error(answer[_HEADER.size :], f"break the connection to {connection.peer}:{connection.peer_port}")


def _message(kind: int, flags: int, socket_id: bytes) -> bytes:
    wanted = 1 << (_INET_DIAG_INFO - 1)
    body = _REQUEST.pack(socket.AF_INET, socket.IPPROTO_TCP, wanted, 0, _ALL_STATES, socket_id)
    return _HEADER.pack(_HEADER.size + len(body), kind, _NLM_F_REQUEST | flags, 1, 0) + body


def _raise_error(body: bytes, what: str) -> None:
    (negative,) = struct.unpack_from("=i", body)
    if negative not in (0, -2):  # ENOENT: it has ended by itself meanwhile
        hint = "; the kernel lacks CONFIG_INET_DIAG_DESTROY" if negative == -95 else ""
        raise KernelError(f"{what}: {os.strerror(-negative)}{hint}")
