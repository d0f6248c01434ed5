"""What our things are called in the kernel, so that a restarted agent can read back what it had made.

    logical volume    <volume>_<replica>, or dirty_<number> when all it holds is to be wiped
    one of several    <volume>_<replica>_<number>of<count>, and `.striped` where they are
    whole             trilith_<volume>_<replica>, made of these         (a device-mapper device)
    hold layer        trilith-<volume>-<replica>-<epoch>          (a device-mapper device)
    array             md_<volume>
    subsystem         nqn.2026-11.io.trilith:<volume>:<replica>:<epoch>.<record version>:<boot>
    host              nqn.2026-11.io.trilith:host:<volume>:<epoch>:<replica>   (chosen by control)

The record's version makes every export's name new: a controller of an earlier export, which may still hold
old writes, can never reconnect and replay them. The boot makes it differ after a power loss.
"""

import re
import secrets
from dataclasses import dataclass

NQN_PREFIX = "nqn.2026-11.io.trilith:"
_DIRTY = "dirty_"
_HOLD = re.compile(r"trilith-(v[0-9a-f]+)-(r[0-9]+)-([0-9]+)")
_NQN = re.compile(re.escape(NQN_PREFIX) + r"(v[0-9a-f]+):(r[0-9]+):([0-9]+)\.([0-9]+):([0-9a-f]+)")


@dataclass(frozen=True, slots=True)
class HoldName:
    """A hold layer's name, taken apart."""

    volume_id: str
    replica_id: str
    epoch: int

    def __str__(self) -> str:
        return f"trilith-{self.volume_id}-{self.replica_id}-{self.epoch}"


@dataclass(frozen=True, slots=True)
class ExportName:
    """A subsystem's NQN, taken apart."""

    volume_id: str
    replica_id: str
    epoch: int
    record_version: int
    boot: str

    def __str__(self) -> str:
        return (
            f"{NQN_PREFIX}{self.volume_id}:{self.replica_id}:{self.epoch}.{self.record_version}:{self.boot}"
        )


@dataclass(frozen=True, slots=True)
class PartName:
    """Of a logical volume that is one of several of a replica; an earlier agent takes it for nothing."""

    volume_id: str
    replica_id: str
    number: int  # from 1
    count: int
    striped: bool

    def __str__(self) -> str:
        base = logical_volume_name(self.volume_id, self.replica_id)
        return f"{base}_{self.number}of{self.count}{'.striped' if self.striped else ''}"


def parse_hold_name(name: str) -> HoldName | None:
    found = _HOLD.fullmatch(name)
    return HoldName(found[1], found[2], int(found[3])) if found else None


def parse_export_name(nqn: str) -> ExportName | None:
    found = _NQN.fullmatch(nqn)
    return ExportName(found[1], found[2], int(found[3]), int(found[4]), found[5]) if found else None


def array_name(volume_id: str) -> str:
    return f"md_{volume_id}"


def volume_of_array(name: str) -> str:
    return name.removeprefix("md_")


def logical_volume_name(volume_id: str, replica_id: str) -> str:
    return f"{volume_id}_{replica_id}"


def parse_logical_volume_name(name: str) -> tuple[str, str] | None:
    """(volume, replica), or None when it is not one of ours."""
    found = re.fullmatch(r"(v[0-9a-f]+)_(r[0-9]+)", name)
    return (found[1], found[2]) if found else None


def parse_part_name(name: str) -> PartName | None:
    found = re.fullmatch(r"(v[0-9a-f]+)_(r[0-9]+)_([1-9][0-9]*)of([1-9][0-9]*)(\.striped)?", name)
    return PartName(found[1], found[2], int(found[3]), int(found[4]), bool(found[5])) if found else None


def parse_mapped_name(name: str) -> tuple[str, str] | None:
    """(volume, replica) of which device-mapper's device, as LVM names it, is one, or a part."""
    volume = name.partition("-")[2]
    part = parse_part_name(volume)
    return parse_logical_volume_name(volume) if part is None else (part.volume_id, part.replica_id)


def whole_name(volume_id: str, replica_id: str) -> str:
    """Unlike a hold layer's, which has an epoch."""
    return f"trilith_{logical_volume_name(volume_id, replica_id)}"


def new_dirty_name() -> str:
    """Never given twice: what is known of one must not be taken for true of another."""
    return f"{_DIRTY}{secrets.token_hex(8)}"


def is_dirty_name(name: str) -> bool:
    return name.startswith(_DIRTY)
