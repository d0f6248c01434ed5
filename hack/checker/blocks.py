"""A block of the acknowledged-write checker: 4 KiB that say who wrote them, where, and as which number.

Standard library only: it runs inside the lab's machines with a bare interpreter.
"""

import struct
import zlib
from dataclasses import dataclass

BLOCK_BYTES = 4096
_HEAD = struct.Struct("<8sIIQ")  # magic, writer, block, number
_MAGIC = b"trilith\0"
_CRC = struct.Struct("<I")


@dataclass(frozen=True)
class Block:
    """`number` counts up over all of its writer's writes, from 1; 0 is the first filling."""

    writer: int
    index: int
    number: int


def encode(block: Block) -> bytes:
    """4096 bytes: head, a filling that depends on the number, checksum of all before it."""
    head = _HEAD.pack(_MAGIC, block.writer, block.index, block.number)
    filling = struct.pack("<Q", block.number) * ((BLOCK_BYTES - _HEAD.size - _CRC.size) // 8)
    body = (head + filling).ljust(BLOCK_BYTES - _CRC.size, b"\0")
    return body + _CRC.pack(zlib.crc32(body))


def decode(data: bytes) -> Block | None:
    """None when the bytes are not a whole block."""
    body, (crc,) = data[: -_CRC.size], _CRC.unpack(data[-_CRC.size :])
    if len(data) != BLOCK_BYTES or zlib.crc32(body) != crc:
        return None
    magic, writer, index, number = _HEAD.unpack_from(body)
    return Block(writer, index, number) if magic == _MAGIC else None
