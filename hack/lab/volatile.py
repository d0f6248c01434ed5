"""A disk with a volatile write cache, as an NBD server: what was not flushed dies with this process.

    python -I -S volatile.py LISTENER IMAGE

LISTENER is the number of an open socket that listens, IMAGE the file that keeps what was flushed. All else is
kept here, and nowhere else. Forced unit access is not offered: who wants it writes and flushes. Standard
library only.
"""

import contextlib
import errno
import os
import socket
import struct
import sys
from pathlib import Path

BLOCK_BYTES = 4096
_ZEROES = bytes(BLOCK_BYTES)

# https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md; the greeting is that of "oldstyle".
_GREETING = struct.Struct(">8sQQI124x")
_REQUEST = struct.Struct(">IHHQQI")
_REPLY = struct.Struct(">IIQ")
_OLDSTYLE, _ASKS, _ANSWERS = 0x00420281861253, 0x25609513, 0x67446698
_HAS_FLAGS, _CAN_FLUSH, _CAN_ZERO = 1, 4, 64
_READ, _WRITE, _DISCONNECT, _FLUSH, _ZERO = 0, 1, 2, 3, 6
_EINVAL = 22


class Disk:
    """The file `image`, and what of it is newer here than there."""

    def __init__(self, image: Path) -> None:
        self._file = os.open(image, os.O_RDWR)
        self.size_bytes = os.fstat(self._file).st_size
        self._unflushed: dict[int, bytes] = {}

    def read(self, offset: int, length: int) -> bytes:
        data = bytearray(os.pread(self._file, length, offset))
        for number in _blocks(offset, length) if self._unflushed else ():
            block = self._unflushed.get(number)
            if block is not None:
                _lay(data, offset, block, number * BLOCK_BYTES)
        return bytes(data)

    def write(self, offset: int, data: bytes) -> None:
        for number in _blocks(offset, len(data)):
            self._unflushed[number] = self._changed(number, offset, data)

    def zero(self, offset: int, length: int) -> None:
        """As writing zeroes, which it does by the block: a length may be gigabytes."""
        for number in _blocks(offset, length):
            begin = max(offset, number * BLOCK_BYTES)
            end = min(offset + length, (number + 1) * BLOCK_BYTES)
            whole = end - begin == BLOCK_BYTES
            self._unflushed[number] = _ZEROES if whole else self._changed(number, begin, bytes(end - begin))

    def flush(self) -> None:
        while self._unflushed:
            number, block = self._unflushed.popitem()
            if block is not _ZEROES or not self._is_hole(number):  # a wiped disk takes no room
                os.pwrite(self._file, block, number * BLOCK_BYTES)

    def _is_hole(self, number: int) -> bool:
        try:
            return os.lseek(self._file, number * BLOCK_BYTES, os.SEEK_DATA) >= (number + 1) * BLOCK_BYTES
        except OSError as error:
            return error.errno == errno.ENXIO  # there is no data behind it

    def _changed(self, number: int, offset: int, data: bytes) -> bytes:
        """The whole block as it is to be when `data` has been written at `offset`."""
        start = number * BLOCK_BYTES
        if offset <= start and start + BLOCK_BYTES <= offset + len(data):
            return data[start - offset : start - offset + BLOCK_BYTES]
        block = bytearray(self.read(start, BLOCK_BYTES))
        _lay(block, start, data, offset)
        return bytes(block)


def _blocks(offset: int, length: int) -> range:
    return range(offset // BLOCK_BYTES, -(-(offset + length) // BLOCK_BYTES))


def _lay(target: bytearray, target_offset: int, data: bytes, offset: int) -> None:
    """Where both have bytes of the disk, `target` gets those of `data`."""
    begin = max(target_offset, offset)
    end = min(target_offset + len(target), offset + len(data))
    target[begin - target_offset : end - target_offset] = data[begin - offset : end - offset]


def serve(connection: socket.socket, disk: Disk) -> None:
    """Answer requests in their order, until the client is gone."""
    flags = _HAS_FLAGS | _CAN_FLUSH | _CAN_ZERO
    connection.sendall(_GREETING.pack(b"NBDMAGIC", _OLDSTYLE, disk.size_bytes, flags))
    while len(head := connection.recv(_REQUEST.size, socket.MSG_WAITALL)) == _REQUEST.size:
        magic, _, kind, handle, offset, length = _REQUEST.unpack(head)
        if magic != _ASKS or kind == _DISCONNECT:
            return
        payload = connection.recv(length, socket.MSG_WAITALL) if kind == _WRITE else b""
        error, answer = _answer(disk, kind, offset, payload or length)
        connection.sendall(_REPLY.pack(_ANSWERS, error, handle) + answer)


def _answer(disk: Disk, kind: int, offset: int, what: bytes | int) -> tuple[int, bytes]:
    """The error's number, and what was read; `what` is what to write, or how much."""
    if isinstance(what, bytes):
        disk.write(offset, what)
    elif kind == _READ:
        return 0, disk.read(offset, what)
    elif kind == _ZERO:
        disk.zero(offset, what)
    elif kind == _FLUSH:
        disk.flush()
    else:
        return _EINVAL, b""
    return 0, b""


def main() -> None:
    listener, image = socket.socket(fileno=int(sys.argv[1])), Path(sys.argv[2])
    connection, _ = listener.accept()
    with contextlib.suppress(ConnectionError):  # a client whose power was cut says no good-bye
        serve(connection, Disk(image))


if __name__ == "__main__":
    main()
