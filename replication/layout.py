"""How a replica lies on its logical volume, and what follows from that for its size.

    0         header, two copies: at 0 and at 64 KiB
    1 MiB     md's write-intent bitmap, 1 MiB of room
    4 MiB     data

A replica that lies on several disks has a logical volume on each, its parts. Each begins with 4 MiB of its
own, of which the first hold a header, too; the rest of all of them together is laid out as above.

Control needs it to know what fits, the kernel's wrappers to write it.
"""

from collections.abc import Sequence

from replication.errors import OutOfRange

KIB = 1 << 10
MIB = 1 << 20

COPY_OFFSETS_BYTES = (0, 64 * KIB)
HEADER_AREA_BYTES = 1 * MIB
BITMAP_OFFSET_BYTES = 1 * MIB
BITMAP_SPACE_BYTES = 1 * MIB
DATA_OFFSET_BYTES = 4 * MIB  # ≥ 1 MiB behind the bitmap: before 6.11 md could write past its last page

PART_AREA_BYTES = 4 * MIB  # one extent of LVM
STRIPE_BYTES = 256 * KIB  # on one disk, before a striped replica goes on on the next one

MINIMUM_CHUNK_BYTES = (
    4 * MIB
)  # the first write to a clean chunk waits for a bitmap write: 64 KiB cost a factor of 4
CHUNKS = 1 << 14  # at most, when a volume is made: a returning replica copies whole chunks
GROWTH = (
    BITMAP_SPACE_BYTES * 8 // CHUNKS
)  # how many times larger a volume may become before its bitmap is full
LARGEST_CHUNK_BYTES = 1 << 31  # md refuses 4 GiB (EOVERFLOW)
LARGEST_NEW_BYTES = LARGEST_CHUNK_BYTES * CHUNKS


def choose_bitmap_chunk(size_bytes: int) -> int:
    """Bytes per bit of the bitmap: a power of two, such that the volume may grow GROWTH times.

    OutOfRange when even the largest chunk does not do.
    """
    chunk = MINIMUM_CHUNK_BYTES
    while chunk * CHUNKS < size_bytes:
        chunk *= 2
    if chunk > LARGEST_CHUNK_BYTES:
        raise OutOfRange(f"{size_bytes} bytes are more than a replica's bitmap can describe")
    return chunk


def largest_data_bytes(bitmap_chunk_bytes: int) -> int:
    """How far a replica with this chunk can grow before its bitmap is full."""
    return BITMAP_SPACE_BYTES * 8 * bitmap_chunk_bytes


def split(size_bytes: int, rooms: Sequence[int], *, striped: bool) -> tuple[int, ...] | None:
    """Sizes of the parts of a replica that takes `size_bytes`, one in each of `rooms`; None: it does not fit.

    One after the other is filled, and each gets something; a striped replica takes the same of each.
    """
    if striped:
        each = _extents(-(-size_bytes // len(rooms))) + PART_AREA_BYTES
        return (each,) * len(rooms) if each <= min(rooms) else None
    sizes, left = list[int](), _extents(size_bytes)
    for later, room in zip(reversed(range(len(rooms))), rooms, strict=True):
        given = room // PART_AREA_BYTES * PART_AREA_BYTES - PART_AREA_BYTES
        taken = min(left - later * PART_AREA_BYTES, given)
        if taken <= 0:
            return None
        sizes.append(taken + PART_AREA_BYTES)
        left -= taken
    return None if left else tuple(sizes)


def grow(size_bytes: int, sizes: Sequence[int], *, striped: bool) -> tuple[int, ...]:
    """What parts of `sizes` have to become to hold `size_bytes`: the last one grows, or all; none shrinks."""
    if striped:
        each = _extents(-(-size_bytes // len(sizes))) + PART_AREA_BYTES
        return tuple(max(size, each) for size in sizes)
    others = sum(size - PART_AREA_BYTES for size in sizes[:-1])
    return (*sizes[:-1], max(sizes[-1], _extents(size_bytes) - others + PART_AREA_BYTES))


def _extents(size_bytes: int) -> int:
    """Up to whole extents, which are as large as a part's own area."""
    return -(-size_bytes // PART_AREA_BYTES) * PART_AREA_BYTES
