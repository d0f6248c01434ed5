"""The disks of this node, found again when some came or went, or after a while.

Looking runs a program for each disk, and a disk that errs lets it wait. So one thread looks at a time, and
the others have what was found last: questions of an impatient control plane must not pile up behind it.
"""

import threading
import zlib

from replication.agent.books import pool_of
from replication.clock import Clock
from replication.errors import FailedPrecondition, InvalidRequest
from replication.kernel import lvm_report
from replication.kernel.disks import FoundDisk, is_disk, list_candidates, read_disks
from replication.kernel.run import Runner
from replication.kernel.sysfs import Tree
from replication.model import Disk

KEPT = 60.0  # seconds
_NEVER = float("-inf")


class Discovery:
    """Safe to use from several threads."""

    def __init__(self, tree: Tree, runner: Runner, clock: Clock) -> None:
        self._tree = tree
        self._runner = runner
        self._clock = clock
        self._looking = threading.Lock()
        self._found: tuple[FoundDisk, ...] = ()
        self._judged: dict[str, bool] = {}  # whether it is a disk, by name: asking costs several reads
        self._present: tuple[str, ...] = ()
        self._looked = _NEVER

    def list(self) -> tuple[FoundDisk, ...]:
        """What was found last; that is looked for first where it is out of date and nobody else does so."""
        if self._is_fresh() or not self._looking.acquire(blocking=self._looked == _NEVER):
            return self._found
        try:
            return self._found if self._is_fresh() else self._look()
        finally:
            self._looking.release()

    def look(self) -> tuple[FoundDisk, ...]:
        """As they are now, whatever was found before."""
        with self._looking:
            return self._look()

    def forget(self) -> None:
        """Something was done to a disk: whoever asks next waits for a new look."""
        with self._looking:
            self._looked = _NEVER

    def _look(self) -> tuple[FoundDisk, ...]:
        now = self._clock.now()
        self._judged = {}
        present = self._list_present()
        self._found = read_disks(self._tree, self._runner)
        self._present, self._looked = present, now
        return self._found

    def _is_fresh(self) -> bool:
        return self._list_present() == self._present and self._clock.now() - self._looked <= KEPT

    def _list_present(self) -> tuple[str, ...]:
        known = self._judged
        judged = {
            name: known[name] if name in known else is_disk(self._tree, name)
            for name in list_candidates(self._tree)
        }
        self._judged = judged
        return tuple(name for name, is_one in judged.items() if is_one)


def group_name(disk: FoundDisk) -> str:
    """Of the volume group on a disk: the same on every node and after every boot for the same disk."""
    identity = f"{disk.model}/{disk.serial or disk.path}"
    return f"trilith_{zlib.crc32(identity.encode()):08x}"


def describe_disk(disk: FoundDisk, group: lvm_report.VolumeGroup | None) -> Disk:
    """`group` is what was on the disk that had this path last: another one may be there by now."""
    usable, why_not, name = disk.usable, disk.why_not, group_name(disk)
    if group is not None and _may_hold_a_group(disk):
        usable, why_not, name = False, f"in pool {pool_of(group)} already", group.name
    return Disk(disk.path, disk.serial, disk.model, disk.size_bytes, usable, why_not, name)


def _may_hold_a_group(disk: FoundDisk) -> bool:
    """Also one that cannot be read."""
    return disk.signature == "LVM2_member" or not (disk.usable or disk.signature)


def check_usable(path: str, disk: FoundDisk | None) -> None:
    if disk is None:
        raise InvalidRequest(f"{path} is not a disk of this node")
    if not disk.usable:
        raise FailedPrecondition(f"{path} is not usable: {disk.why_not}")
