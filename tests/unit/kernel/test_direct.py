from pathlib import Path

import pytest

from replication.errors import InvalidRequest, KernelError, NotFound
from replication.kernel.direct import BLOCK_BYTES, read_direct, write_direct, zero_range


def test_what_is_written_is_read(tmp_path: Path) -> None:
    device = tmp_path / "device"
    device.write_bytes(bytes(4 * BLOCK_BYTES))
    write_direct(str(device), BLOCK_BYTES, b"x" * BLOCK_BYTES)
    assert read_direct(str(device), 0, 2 * BLOCK_BYTES) == bytes(BLOCK_BYTES) + b"x" * BLOCK_BYTES


def test_only_the_range_is_zeroed(tmp_path: Path) -> None:
    device = tmp_path / "device"
    device.write_bytes(b"x" * (2 << 20))
    zero_range(str(device), BLOCK_BYTES, (2 << 20) - 2 * BLOCK_BYTES)
    data = device.read_bytes()
    assert data[:BLOCK_BYTES] == data[-BLOCK_BYTES:] == b"x" * BLOCK_BYTES
    assert not any(data[BLOCK_BYTES:-BLOCK_BYTES])


def test_a_range_off_the_blocks_is_refused(tmp_path: Path) -> None:
    for offset, length in ((1, BLOCK_BYTES), (0, 100), (0, 0)):
        with pytest.raises(InvalidRequest):
            read_direct(str(tmp_path), offset, length)


def test_the_end_of_a_device_is_an_error(tmp_path: Path) -> None:
    device = tmp_path / "device"
    device.write_bytes(bytes(BLOCK_BYTES))
    with pytest.raises(KernelError, match="ends before byte 8192"):
        read_direct(str(device), 0, 2 * BLOCK_BYTES)


def test_a_device_that_is_gone_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="gone"):
        write_direct(str(tmp_path / "gone"), 0, bytes(BLOCK_BYTES))
