import stat

import pytest

from hack.lab import cpio


def _names(archive: bytes) -> list[tuple[str, int, bytes]]:
    """Reads by the letter of the format: 110 bytes of header; name and data padded to four."""
    found, at = [], 0
    while archive[at : at + 6] == b"070701":
        fields = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        name = archive[at + 110 : at + 110 + fields[11] - 1].decode()
        start = at + (110 + fields[11] + 3) // 4 * 4
        found.append((name, fields[1], archive[start : start + fields[6]]))
        at = start + (fields[6] + 3) // 4 * 4
    return found


def test_entries_come_back_and_a_trailer_ends_them() -> None:
    archive = cpio.format_archive([cpio.folder("bin"), cpio.file("bin/sh", b"12345", executable=True)])
    assert _names(archive) == [
        ("bin", stat.S_IFDIR | 0o755, b""),
        ("bin/sh", stat.S_IFREG | 0o755, b"12345"),
        ("TRAILER!!!", 0, b""),
    ]
    assert len(archive) % 512 == 0


@pytest.mark.parametrize("length", range(9))
def test_any_length_of_data_and_name_is_padded(length: int) -> None:
    entries = [cpio.file("n" * (length + 1), b"d" * length), cpio.file("last", b"x")]
    names = _names(cpio.format_archive(entries))
    assert [(name, data) for name, _, data in names[:2]] == [(entry.name, entry.data) for entry in entries]
