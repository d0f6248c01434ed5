"""Bytes of a block device past the page cache: O_DIRECT, whole blocks, stable when a write returns."""

import errno
import fcntl
import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from replication.errors import InvalidRequest, KernelError
from replication.kernel.sysfs import refuse

BLOCK_BYTES = 4096  # a multiple of every sector size in use
_BLKZEROOUT = 0x127F  # linux/fs.h
_PIECE_BYTES = 64 << 20  # zeroed by one ioctl, so that no call is long
_BUFFER_BYTES = 1 << 20
_NOT_ZEROED_BY_KERNEL = (errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL)


def read_direct(path: str, offset_bytes: int, length_bytes: int) -> bytes:
    """`length_bytes` from `offset_bytes`, both multiples of BLOCK_BYTES. KernelError when it is shorter."""
    _check_aligned(offset_bytes, length_bytes)
    with _opened(path, os.O_RDONLY) as descriptor, mmap.mmap(-1, length_bytes) as buffer:
        done = 0
        while done < length_bytes:
            with memoryview(buffer)[done:] as rest:
                count = os.preadv(descriptor, [rest], offset_bytes + done)
            if count == 0:
                raise KernelError(f"{path} ends before byte {offset_bytes + length_bytes}")
            done += count
        return buffer[:]


def write_direct(path: str, offset_bytes: int, data: bytes) -> None:
    """Write whole blocks and flush the device's cache."""
    _check_aligned(offset_bytes, len(data))
    with _opened(path, os.O_WRONLY) as descriptor, mmap.mmap(-1, len(data)) as buffer:
        buffer.write(data)
        _write_all(descriptor, buffer, offset_bytes)
        os.fsync(descriptor)


def flush(path: str) -> None:
    """What the device has acknowledged is stable (blkdev_fsync: REQ_PREFLUSH to the device itself)."""
    with _opened(path, os.O_RDONLY) as descriptor:
        os.fsync(descriptor)


def zero_range(path: str, offset_bytes: int, length_bytes: int) -> None:
    """Make a range read as zeroes, as `blkdiscard -z` does: by the device itself where it can.

    It takes as long as the device needs; a caller that wants progress asks for pieces.
    """
    _check_aligned(offset_bytes, length_bytes)
    with _opened(path, os.O_WRONLY) as descriptor:
        for start in range(offset_bytes, offset_bytes + length_bytes, _PIECE_BYTES):
            _zero_piece(descriptor, start, min(_PIECE_BYTES, offset_bytes + length_bytes - start))
        os.fsync(descriptor)


def _zero_piece(descriptor: int, start: int, length: int) -> None:
    try:
        fcntl.ioctl(descriptor, _BLKZEROOUT, struct.pack("QQ", start, length))
    except OSError as error:
        if error.errno not in _NOT_ZEROED_BY_KERNEL:
            raise
    else:
        return
    with mmap.mmap(-1, min(length, _BUFFER_BYTES)) as buffer:
        for offset in range(start, start + length, len(buffer)):
            with memoryview(buffer)[: start + length - offset] as piece:
                _write_all(descriptor, piece, offset)


def _write_all(descriptor: int, data: mmap.mmap | memoryview, offset_bytes: int) -> None:
    done = 0
    while done < len(data):
        with memoryview(data)[done:] as rest:
            done += os.pwritev(descriptor, [rest], offset_bytes + done)


@contextmanager
def _opened(path: str, flags: int) -> Iterator[int]:
    try:
        descriptor = os.open(path, flags | os.O_DIRECT)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
    except OSError as error:
        refuse(f"direct access to {path}", error)


def _check_aligned(offset_bytes: int, length_bytes: int) -> None:
    if offset_bytes % BLOCK_BYTES or length_bytes % BLOCK_BYTES or length_bytes <= 0:
        raise InvalidRequest(f"{length_bytes} bytes at {offset_bytes} are not whole blocks of {BLOCK_BYTES}")
