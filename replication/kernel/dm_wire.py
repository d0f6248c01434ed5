"""The bytes that /dev/mapper/control takes and gives: linux/dm-ioctl.h, interface version 4, pure."""

import os
import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag

from replication.errors import InvalidRequest

_HEADER = struct.Struct("=3I3Ii3IQ128s129s7x")  # struct dm_ioctl
_SPEC = struct.Struct("=QQiI16s")  # struct dm_target_spec
_NAME_ENTRY = struct.Struct("=QI")  # struct dm_name_list without the name
_DATA_START = _HEADER.size
_VERSION = (4, 0, 0)


class Command(IntEnum):
    """Numbers of the ioctls."""

    VERSION = 0
    CREATE = 3
    REMOVE = 4
    SUSPEND = 6
    STATUS = 7
    LOAD = 9
    DEPENDENCIES = 11
    TABLE = 12
    LIST = 2
    MESSAGE = 14
    ARM_POLL = 16

    @property
    def request(self) -> int:
        """`_IOWR(0xfd, number, struct dm_ioctl)`."""
        return 0xC0000000 | _HEADER.size << 16 | 0xFD << 8 | self.value


class Flag(IntFlag):
    """The bits of dm_ioctl.flags that we use."""

    NONE = 0
    READ_ONLY = 1 << 0
    SUSPEND = 1 << 1
    STATUS_TABLE = 1 << 4
    ACTIVE = 1 << 5
    INACTIVE = 1 << 6
    BUFFER_FULL = 1 << 8
    SKIP_LOCKFS = 1 << 10
    NOFLUSH = 1 << 11


@dataclass(frozen=True, slots=True)
class Target:
    """One line of a table: a range of the device in sectors, and what it is mapped to."""

    start: int
    sectors: int
    kind: str
    parameters: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The fixed part of what the kernel gave back, and the bytes behind it."""

    open_count: int
    flags: Flag
    event_number: int
    target_count: int
    number: str  # MAJOR:MINOR
    name: str
    uuid: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Listed:
    """A device as the list of all names it."""

    name: str
    number: str
    event_number: int


@dataclass(frozen=True, slots=True)
class Request:
    """What an ioctl is asked for: of a device by its name, or by its number in the kernel's form."""

    name: str = ""
    device: int = 0
    uuid: str = ""
    flags: Flag = Flag.NONE
    event_number: int = 0
    target_count: int = 0
    data: bytes = b""


def encode_request(request: Request, size: int) -> bytearray:
    """A buffer of `size` bytes, in which the kernel leaves its answer."""
    if len(request.name) > 127 or len(request.uuid) > 128:
        raise InvalidRequest(f"{request.name}: too long a name for a device-mapper device")
    buffer = bytearray(max(size, _DATA_START + len(request.data)))
    _HEADER.pack_into(
        buffer, 0, *_VERSION, len(buffer), _DATA_START, request.target_count, 0, request.flags,
        request.event_number, 0, request.device, request.name.encode(), request.uuid.encode(),
    )  # fmt: skip
    buffer[_DATA_START : _DATA_START + len(request.data)] = request.data
    return buffer


def parse_answer(buffer: bytes | bytearray) -> Answer:
    fields = _HEADER.unpack_from(buffer)
    size, start, targets, opened, flags, event, _, device, name, uuid = fields[3:]
    return Answer(
        open_count=opened,
        flags=Flag(flags),
        event_number=event,
        target_count=targets,
        number=parse_number(device),
        name=_text(name),
        uuid=_text(uuid),
        data=bytes(buffer[start:size]),
    )


def parse_number(device: int) -> str:
    """`MAJOR:MINOR` of the kernel's 64-bit form."""
    return f"{os.major(device)}:{os.minor(device)}"


def encode_targets(targets: tuple[Target, ...]) -> bytes:
    """`next` counts from the start of the same line here, unlike in what comes back."""
    lines = b""
    for target in targets:
        parameters = _padded(target.parameters.encode() + b"\0")
        length = _SPEC.size + len(parameters)
        lines += _SPEC.pack(target.start, target.sectors, 0, length, target.kind.encode()) + parameters
    return lines


def parse_targets(answer: Answer) -> tuple[Target, ...]:
    """Lines of a table or of a status; `next` counts from the start of the first line."""
    targets: list[Target] = []
    offset = 0
    for _ in range(answer.target_count):
        start, sectors, _, following, kind = _SPEC.unpack_from(answer.data, offset)
        parameters = _text(answer.data[offset + _SPEC.size : following])
        targets.append(Target(start, sectors, _text(kind), parameters.strip()))
        offset = following
    return tuple(targets)


def parse_list(answer: Answer) -> tuple[Listed, ...]:
    """Every device. The event number lies behind the name, at the next multiple of 8 bytes (since 4.37)."""
    found: list[Listed] = []
    offset = 0
    while len(answer.data) - offset > _NAME_ENTRY.size:
        device, following = _NAME_ENTRY.unpack_from(answer.data, offset)
        if device:
            name = _text(answer.data[offset + _NAME_ENTRY.size :][:128])
            event = _aligned(offset + _NAME_ENTRY.size + len(name) + 1)
            (event_number,) = struct.unpack_from("=I", answer.data, event)
            found.append(Listed(name, parse_number(device), event_number))
        if not following:
            break
        offset += following
    return tuple(found)


def parse_dependencies(answer: Answer) -> tuple[str, ...]:
    """`MAJOR:MINOR` of every device that the table uses."""
    (count,) = struct.unpack_from("=I", answer.data)
    return tuple(parse_number(device) for device in struct.unpack_from(f"={count}Q", answer.data, 8))


def encode_message(sector: int, text: str) -> bytes:
    return struct.pack("=Q", sector) + text.encode() + b"\0"


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode(errors="replace")


def _aligned(offset: int) -> int:
    return (offset + 7) & ~7


def _padded(raw: bytes) -> bytes:
    return raw.ljust(_aligned(len(raw)), b"\0")
