import os
import socket
import struct
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hack.lab.volatile import BLOCK_BYTES, Disk, serve

READ, WRITE, FLUSH, ZERO = 0, 1, 3, 6
_SIZE = 16 * BLOCK_BYTES
offsets = st.integers(0, _SIZE - 1)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.write_bytes(bytes(_SIZE))
    return path


def test_what_was_not_flushed_is_read_and_forgotten(image: Path) -> None:
    disk = Disk(image)
    disk.write(BLOCK_BYTES, b"x" * BLOCK_BYTES)
    assert disk.read(BLOCK_BYTES, 1) == b"x"
    assert Disk(image).read(0, _SIZE) == bytes(_SIZE)


def test_what_was_flushed_is_kept(image: Path) -> None:
    disk = Disk(image)
    disk.write(100, b"flushed")
    disk.flush()
    disk.write(100, b"FORGOT!")
    assert Disk(image).read(100, 7) == b"flushed"


def test_zeroes_where_nothing_was_written_take_no_room(image: Path) -> None:
    os.truncate(image, 0)
    os.truncate(image, _SIZE)
    disk = Disk(image)
    disk.write(4 * BLOCK_BYTES, b"x" * BLOCK_BYTES)
    disk.zero(0, _SIZE - BLOCK_BYTES)
    disk.flush()
    assert image.stat().st_blocks == 0
    disk.write(4 * BLOCK_BYTES, b"x" * BLOCK_BYTES)
    disk.flush()
    disk.zero(4 * BLOCK_BYTES, BLOCK_BYTES)
    disk.flush()
    assert Disk(image).read(0, _SIZE) == bytes(_SIZE)


@settings(max_examples=50)
@given(st.lists(st.tuples(offsets, offsets, st.sampled_from(["write", "zero", "flush"]))))
def test_it_reads_like_any_disk(steps: list[tuple[int, int, str]]) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(_SIZE)
        disk, model = Disk(Path(file.name)), bytearray(_SIZE)
        for number, (one, other, how) in enumerate(steps):
            begin, end = sorted((one, other))
            model[begin:end] = do(disk, how, begin, end - begin, number % 255 + 1)
            assert disk.read(0, _SIZE) == model
        disk.flush()
        assert Disk(Path(file.name)).read(0, _SIZE) == model


def do(disk: Disk, how: str, offset: int, length: int, filling: int) -> bytes:
    """What the disk is to hold there afterwards."""
    if how == "flush":
        disk.flush()
        return disk.read(offset, length)
    if how == "zero":
        disk.zero(offset, length)
        return bytes(length)
    disk.write(offset, bytes([filling]) * length)
    return bytes([filling]) * length


def test_it_is_served_over_nbd(image: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        server = threading.Thread(target=serve, args=(theirs, Disk(image)))
        server.start()
        greeting = ours.recv(152, socket.MSG_WAITALL)
        assert greeting[16:28] == struct.pack(">QI", _SIZE, 0b1000101), "flushes, zeroes"
        assert ask(ours, WRITE, 0, 4, b"kept") == (0, b"")
        assert Disk(image).read(0, 4) == bytes(4)
        assert ask(ours, FLUSH, 0, 0) == (0, b"")
        assert ask(ours, ZERO, 2, 2) == (0, b"")
        assert ask(ours, READ, 0, 4) == (0, b"ke\0\0")
        assert Disk(image).read(0, 4) == b"kept"
        assert ask(ours, FLUSH, 0, 0) == (0, b"")
        assert Disk(image).read(0, 4) == b"ke\0\0"
        assert ask(ours, 4, 0, 4) == (22, b""), "discards are not offered"
        ours.shutdown(socket.SHUT_WR)
        server.join()


def ask(client: socket.socket, kind: int, offset: int, length: int, data: bytes = b"") -> tuple[int, bytes]:
    """The error's number and what was read."""
    client.sendall(struct.pack(">IHHQQI", 0x25609513, 0, kind, 7, offset, length) + data)
    magic, error, handle = struct.unpack(">IIQ", client.recv(16, socket.MSG_WAITALL))
    assert (magic, handle) == (0x67446698, 7)
    return error, client.recv(length, socket.MSG_WAITALL) if kind == READ else b""
