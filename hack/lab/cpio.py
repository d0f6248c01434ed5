"""A writer of newc cpio archives: what the kernel unpacks as its first root."""

import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TRAILER = "TRAILER!!!"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, folder or link: `mode` with its type bits, `data` a file's content or a link's target."""

    name: str
    mode: int
    data: bytes = b""


def folder(name: str) -> Entry:
    return Entry(name, stat.S_IFDIR | 0o755)


def file(name: str, data: bytes, *, executable: bool = False) -> Entry:
    return Entry(name, stat.S_IFREG | (0o755 if executable else 0o644), data)


def format_archive(entries: Iterable[Entry]) -> bytes:
    """The archive; several of them may follow each other in one image, the later files winning."""
    parts = [_format(entry, inode) for inode, entry in enumerate([*entries, Entry(_TRAILER, 0)], start=1)]
    return _padded(b"".join(parts), 512)


def _format(entry: Entry, inode: int) -> bytes:
    name = entry.name.encode() + b"\0"
    # inode, mode, uid, gid, nlink, mtime, size, device and rdev (major, minor each), name's length, checksum
    fields = (inode, entry.mode, 0, 0, 1, 0, len(entry.data), 0, 0, 0, 0, len(name), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return _padded(header + name, 4) + _padded(entry.data, 4)


def _padded(data: bytes, to: int) -> bytes:
    return data + bytes(-len(data) % to)


def write_archive(path: Path, entries: Iterable[Entry]) -> None:
    path.write_bytes(format_archive(entries))
