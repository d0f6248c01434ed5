"""Devices that are put together from several others of this machine: one after the other, or striped.

They are device-mapper's linear and striped targets, so that requests cost what they cost on a logical volume.
Each has a link below /dev/trilith, because the `dm-7` of today may be another one's tomorrow.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from replication.errors import FailedPrecondition, NotFound
from replication.kernel import blockdev
from replication.kernel.dm import DeviceMapper, DmDevice
from replication.kernel.dm_wire import Target
from replication.kernel.sysfs import Tree
from replication.layout import PART_AREA_BYTES, STRIPE_BYTES

FOLDER = "/dev/trilith"
_UUID_PREFIX = "TRILITH-whole-"
_BEGIN = PART_AREA_BYTES // blockdev.SECTOR_BYTES
_STRIPE = STRIPE_BYTES // blockdev.SECTOR_BYTES


@dataclass(frozen=True, slots=True)
class Part:
    """A device below, `MAJOR:MINOR`, and its sectors, of which the first ones are its own."""

    number: str
    sectors: int

    @property
    def given(self) -> int:
        """Sectors for the whole."""
        return max(0, self.sectors - _BEGIN)


def format_table(parts: Sequence[Part], *, striped: bool) -> tuple[Target, ...]:
    """A striped one takes the same of each part, in whole stripes."""
    if striped:
        width = min(part.given for part in parts) // _STRIPE * _STRIPE
        places = " ".join(f"{part.number} {_BEGIN}" for part in parts)
        return (Target(0, width * len(parts), "striped", f"{len(parts)} {_STRIPE} {places}"),)
    starts = [sum(part.given for part in parts[:index]) for index in range(len(parts))]
    return tuple(
        Target(start, part.given, "linear", f"{part.number} {_BEGIN}")
        for start, part in zip(starts, parts, strict=True)
    )


def is_beginning(found: Sequence[Target], wanted: Sequence[Target]) -> bool:
    """Whether every sector that `found` has lies where `wanted` has it: only the end may have grown."""
    if not found or len(found) > len(wanted):
        return False
    last = wanted[len(found) - 1]
    shorter = found[-1].sectors <= last.sectors
    return shorter and (*found[:-1], replace(found[-1], sectors=last.sectors)) == tuple(wanted[: len(found)])


class Wholes:
    """`parts` are paths of devices, in order."""

    def __init__(self, mapper: DeviceMapper, tree: Tree) -> None:
        self._mapper = mapper
        self._tree = tree

    def ensure(self, name: str, parts: Sequence[str], *, striped: bool) -> str:
        """Its path. One that is there grows with its parts; else FailedPrecondition when it has others."""
        wanted = format_table([self._measure(part) for part in parts], striped=striped)
        found = self._mapper.find(name)
        if found is None or not found.has_table:
            self._mapper.remove(name)  # one that crashed between create and load
            found = self._mapper.create(name, _UUID_PREFIX + name, wanted)
        else:
            self._follow(found, wanted)
        return self._link(name, found.number)

    def _measure(self, path: str) -> Part:
        kname = blockdev.kernel_name(self._tree, path)
        size = blockdev.size_bytes(self._tree, kname)
        return Part(blockdev.number(self._tree, kname), size // blockdev.SECTOR_BYTES)

    def _follow(self, found: DmDevice, wanted: tuple[Target, ...]) -> None:
        name = found.name
        if found.uuid != _UUID_PREFIX + name:
            raise FailedPrecondition(f"{name} exists and is no whole of ours: {found.uuid}")
        if found.suspended:  # whoever let it grow ended in between
            self._mapper.resume(name)
        table = self._mapper.table(name)
        if not is_beginning(table, wanted):
            raise FailedPrecondition(f"{name} is there, and is made of {table}, not of {wanted}")
        if table != wanted:
            self._mapper.replace_table(name, wanted)

    def _link(self, name: str, number: str) -> str:
        path, device = f"{FOLDER}/{name}", blockdev.device_path(self._tree, number)
        if not self._tree.exists(path) or self._tree.link_name(path) != device.rpartition("/")[2]:
            self._tree.make_directory(FOLDER)
            self._tree.unlink(path)
            self._tree.link(path, device)
        return path

    def remove(self, name: str) -> None:
        """Repeatable. FailedPrecondition while somebody has it open."""
        self._tree.unlink(f"{FOLDER}/{name}")  # first: its number may be given to another at once
        try:
            self._mapper.remove(name)
        except FailedPrecondition:
            with suppress(NotFound):
                self._link(name, self._mapper.get(name).number)
            raise
