"""md's write-intent bitmap on a member, read and carried over by us.

With external metadata there is no bitmap superblock: bit k stands for chunk k of the data, bytes are
little-endian, the first byte lies at the bitmap's location. md forgets these bits at assembly (docs: data
plane), so before a start we read those of every member, unite them, and write them to `md/bitmap_set_bits`.
"""

from collections.abc import Iterable, Iterator

from replication.kernel.direct import BLOCK_BYTES, read_direct, zero_range
from replication.layout import BITMAP_OFFSET_BYTES, BITMAP_SPACE_BYTES

Ranges = tuple[tuple[int, int], ...]
"""Chunk numbers as (first, last), both inclusive, sorted, neither overlapping nor touching."""

_WRITE_BYTES = 4000  # sysfs takes a page in one write, and the last byte must stay 0


def parse_bits(area: bytes, chunks: int) -> Ranges:
    """The set bits among the first `chunks`."""
    return _join((first, min(last, chunks - 1)) for first, last in _runs(area) if first < chunks)


def _runs(area: bytes) -> Iterator[tuple[int, int]]:
    for index, byte in enumerate(area):
        if byte == 0xFF:  # whole bytes at once: an area of 1 MiB may be full
            yield index * 8, index * 8 + 7
        elif byte:
            for bit in range(8):
                if byte >> bit & 1:
                    yield index * 8 + bit, index * 8 + bit


def unite(several: Iterable[Ranges]) -> Ranges:
    """Every chunk that is in any of `several`."""
    return _join(sorted(each for ranges in several for each in ranges))


def _join(ordered: Iterable[tuple[int, int]]) -> Ranges:
    joined: list[tuple[int, int]] = []
    for first, last in ordered:
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return tuple(joined)


def count_chunks(ranges: Ranges) -> int:
    return sum(last - first + 1 for first, last in ranges)


def format_set_bits(ranges: Ranges) -> tuple[str, ...]:
    """Words for `md/bitmap_set_bits`, in as many texts as it takes to keep each below a page."""
    texts: list[str] = []
    for first, last in ranges:
        word = f"{first}-{last}" if last > first else f"{first}"
        if texts and len(texts[-1]) + 1 + len(word) <= _WRITE_BYTES:
            texts[-1] = f"{texts[-1]} {word}"
        else:
            texts.append(word)
    return tuple(texts)


def read_bits(device: str, size_bytes: int, chunk_bytes: int) -> Ranges:
    """The set bits of the replica on `device` with `size_bytes` of data."""
    chunks = -(-size_bytes // chunk_bytes)
    length = -(-chunks // (8 * BLOCK_BYTES)) * BLOCK_BYTES
    return parse_bits(read_direct(device, BITMAP_OFFSET_BYTES, length), chunks)


def clear_bits(device: str) -> None:
    """Zero the whole bitmap area: for a new replica, or one whose bits mean nothing any more."""
    zero_range(device, BITMAP_OFFSET_BYTES, BITMAP_SPACE_BYTES)
