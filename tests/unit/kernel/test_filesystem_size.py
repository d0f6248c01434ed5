import struct
from pathlib import Path

from replication.kernel.filesystem import Kind, read_size


def test_the_size_of_ext4_is_read_from_its_superblock(tmp_path: Path) -> None:
    block = bytearray(4096)
    struct.pack_into("<I", block, 1024 + 4, 5)
    struct.pack_into("<I", block, 1024 + 24, 2)
    struct.pack_into("<I", block, 1024 + 0x150, 1)
    device = tmp_path / "ext4"
    device.write_bytes(block)
    assert read_size(str(device), Kind.EXT4) == ((1 << 32) + 5) * 4096


def test_the_size_of_xfs_is_read_from_its_superblock(tmp_path: Path) -> None:
    device = tmp_path / "xfs"
    device.write_bytes((b"XFSB" + struct.pack(">IQ", 4096, 1000)).ljust(4096, b"\0"))
    assert read_size(str(device), Kind.XFS) == 4096000
