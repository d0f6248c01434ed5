"""How a replica lies on its logical volume, and what follows from that for its size.

    0         header, two copies: at 0 and at 64 KiB
    1 MiB     md's write-intent bitmap, 1 MiB of room
    4 MiB     data

Control needs it to know what fits, the kernel's wrappers to write it.
"""

from replication.errors import OutOfRange

KIB = 1 << 10
MIB = 1 << 20

COPY_OFFSETS_BYTES = (0, 64 * KIB)
HEADER_AREA_BYTES = 1 * MIB
BITMAP_OFFSET_BYTES = 1 * MIB
BITMAP_SPACE_BYTES = 1 * MIB
DATA_OFFSET_BYTES = 4 * MIB  # ≥ 1 MiB behind the bitmap: before 6.11 md could write past its last page

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
