"""A replica's header: what its node must know of it before anybody else can be asked.

Both copies are written, one after the other with a flush between: a torn write leaves the other one, and a
copy that decays later does not bring an older epoch back. The newest valid copy wins.
"""

import json
import struct
import zlib
from dataclasses import asdict, dataclass, replace

from replication.errors import DataLoss, OutOfRange, Unsupported
from replication.kernel.direct import BLOCK_BYTES, read_direct, write_direct
from replication.layout import COPY_OFFSETS_BYTES

_MAGIC = b"TRILITH REPLICA\0"
_FORMAT = 1
_DISCARDED = b"TRILITH DISCARDED".ljust(BLOCK_BYTES, b"\0")
_PREAMBLE = struct.Struct("<16sIIQI")  # magic, format, payload length, sequence, CRC32 of all but itself
_CRC_OFFSET = 32


@dataclass(frozen=True, slots=True)
class Header:
    """What the header says. `sequence` counts writes of it; the writer sets it."""

    cluster: str
    volume_id: str
    replica_id: str
    generation: int
    epoch: int  # the highest seen: lower ones are refused
    record_version: int
    size_bytes: int  # of data
    bitmap_chunk_bytes: int
    suspect: bool = False
    sequence: int = 0
    part: int = 0  # which of several parts begins with it, from 1; 0: the replica itself


def encode(header: Header) -> bytes:
    """One copy: BLOCK_BYTES bytes."""
    fields = asdict(header)
    sequence = fields.pop("sequence")
    if not header.part:  # an earlier agent reads it, too
        del fields["part"]
    payload = json.dumps(fields, sort_keys=True).encode()
    body = payload.ljust(BLOCK_BYTES - _PREAMBLE.size, b"\0")
    if len(body) + _PREAMBLE.size != BLOCK_BYTES:
        raise OutOfRange(f"the header of replica {header.replica_id} is longer than {BLOCK_BYTES} bytes")
    unsigned = _PREAMBLE.pack(_MAGIC, _FORMAT, len(payload), sequence, 0) + body
    return _signed(unsigned, zlib.crc32(unsigned))


def decode(block: bytes) -> Header | None:
    """The header in one copy, or None when it is damaged. Unsupported when a newer Trilith wrote it."""
    magic, form, length, sequence, crc = _PREAMBLE.unpack_from(block)
    if magic != _MAGIC or crc != zlib.crc32(_signed(block, 0)):
        return None
    if form != _FORMAT:
        raise Unsupported(f"a replica's header has format {form}, and we know {_FORMAT}: upgrade the agent")
    fields = json.loads(block[_PREAMBLE.size : _PREAMBLE.size + length])
    return Header(**fields, sequence=sequence)


def _signed(block: bytes, crc: int) -> bytes:
    return block[:_CRC_OFFSET] + struct.pack("<I", crc) + block[_CRC_OFFSET + 4 :]


def find_header(device: str) -> Header | None:
    """The newest valid copy; None where none is meant to be; DataLoss when both copies are damaged."""
    blocks = [read_direct(device, offset, BLOCK_BYTES) for offset in COPY_OFFSETS_BYTES]
    valid = [header for header in map(decode, blocks) if header is not None]
    if valid:
        return max(valid, key=lambda header: header.sequence)
    if any(any(block) and block != _DISCARDED for block in blocks):
        raise DataLoss(f"{device}: both copies of the replica's header are damaged")
    return None


def read_header(device: str) -> Header:
    """DataLoss, naming the device, when there is none."""
    header = find_header(device)
    if header is None:
        raise DataLoss(f"{device}: there is no replica's header")
    return header


def write_header(device: str, header: Header) -> Header:
    """Store both copies, the older or damaged one first. Returns what is stored, with its sequence."""
    blocks = [read_direct(device, offset, BLOCK_BYTES) for offset in COPY_OFFSETS_BYTES]
    sequences = [-1 if copy is None else copy.sequence for copy in map(decode, blocks)]
    stored = replace(header, sequence=max(*sequences, 0) + 1)
    block = encode(stored)
    for _, offset in sorted(zip(sequences, COPY_OFFSETS_BYTES, strict=True)):
        write_direct(device, offset, block)
    return stored


def remove_header(device: str) -> None:
    """Repeatable: zero both copies, so that nothing takes the logical volume for a replica."""
    for offset in COPY_OFFSETS_BYTES:
        write_direct(device, offset, bytes(BLOCK_BYTES))


def discard_header(device: str) -> None:
    """Repeatable. Nothing takes it for a replica any more, and whoever looks knows that it is to be wiped."""
    for offset in COPY_OFFSETS_BYTES:
        write_direct(device, offset, _DISCARDED)


def is_discarded(device: str) -> bool:
    """Also when another copy is damaged. Not while one is valid: it was cut short, and will be repeated."""
    blocks = [read_direct(device, offset, BLOCK_BYTES) for offset in COPY_OFFSETS_BYTES]
    return _DISCARDED in blocks and not any(map(decode, blocks))
