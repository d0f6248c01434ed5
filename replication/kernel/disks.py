"""Discovery: the disks of this machine, and which of them are empty and ours to take.

A disk is refused for anything that anybody may have put on it. Nothing here writes.
"""

import re
from dataclasses import dataclass

from replication.errors import FailedPrecondition, KernelError, NotFound, TimedOut
from replication.kernel import blockdev
from replication.kernel.filesystem import find_signature
from replication.kernel.mounts import parse_mountinfo
from replication.kernel.run import Runner
from replication.kernel.sysfs import Tree

_BLOCK = "/sys/block"
_NOT_DISKS = re.compile(r"(dm-|md|loop|ram|zram|nbd|sr|fd|drbd|bcache|rbd)\d*.*")
_SMALLEST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class FoundDisk:
    """A physical disk. `why_not` says, in the administrator's words, why it is not usable."""

    path: str
    kname: str
    serial: str
    model: str
    size_bytes: int
    kind: str  # nvme, other
    volatile_cache: bool
    usable: bool
    why_not: str
    signature: str = ""  # what blkid calls what is on it; LVM2_member for a disk of ours


def read_disks(tree: Tree, runner: Runner) -> tuple[FoundDisk, ...]:
    """All disks with a medium, those of NVMe over a network left out."""
    return tuple(_read(tree, runner, kname) for kname in list_candidates(tree) if is_disk(tree, kname))


def list_candidates(tree: Tree) -> tuple[str, ...]:
    """Kernel names of what may be disks, from one directory."""
    return tuple(kname for kname in tree.names(_BLOCK) if not _NOT_DISKS.fullmatch(kname))


def is_disk(tree: Tree, kname: str) -> bool:
    """Whether `read_disks` would look at this candidate: it has a medium, and is no remote one."""
    base = f"{_BLOCK}/{kname}"
    if tree.find(f"{base}/hidden") == "1" or tree.find(f"{base}/size") in (None, "0"):
        return False
    return _transport(tree, base) in ("", "pcie")


def _transport(tree: Tree, base: str) -> str:
    """NVMe's transport, by the controller or, with native multipath, by any controller of the subsystem."""
    direct = tree.find(f"{base}/device/transport")
    if direct is not None:
        return direct
    for name in tree.names(f"{base}/device"):
        through = tree.find(f"{base}/device/{name}/transport") if re.fullmatch(r"nvme\d+", name) else None
        if through is not None:
            return through
    return ""


def _read(tree: Tree, runner: Runner, kname: str) -> FoundDisk:
    base = f"{_BLOCK}/{kname}"
    path = "/dev/" + kname.replace("!", "/")
    why_not = _reason_in_sysfs(tree, kname) or _reason_in_use(tree, path)
    signature, unreadable = _signature(runner, path)
    why_not = why_not or unreadable or (f"it holds {signature}" if signature else "")
    return FoundDisk(
        path=path,
        kname=kname,
        serial=(tree.find(f"{base}/device/serial") or tree.find(f"{base}/serial") or ""),
        model=tree.find(f"{base}/device/model") or "",
        size_bytes=blockdev.size_bytes(tree, kname),
        kind="nvme" if kname.startswith("nvme") else "other",
        volatile_cache=blockdev.has_volatile_cache(tree, kname),
        usable=not why_not,
        why_not=why_not,
        signature=signature,
    )


def _reason_in_sysfs(tree: Tree, kname: str) -> str:
    base = f"{_BLOCK}/{kname}"
    partitions = [name for name in tree.names(base) if tree.exists(f"{base}/{name}/partition")]
    if partitions:
        return f"it has the partition {partitions[0]}"
    if tree.find(f"{base}/ro") == "1":
        return "it is read-only"
    if tree.find(f"{base}/removable") == "1":
        return "it is removable"
    if blockdev.size_bytes(tree, kname) < _SMALLEST_BYTES:
        return "it is smaller than 64 MiB"
    users = blockdev.holders(tree, kname)
    return f"{', '.join(users)} stands on it" if users else ""


def _reason_in_use(tree: Tree, path: str) -> str:
    number = tree.device_number(path)
    mounts = parse_mountinfo(tree.read("/proc/self/mountinfo"))
    mounted = next((mount.path for mount in mounts if number == mount.number or path == mount.source), None)
    if mounted is not None:
        return f"it is mounted at {mounted}"
    swaps = [line.split()[0] for line in (tree.find("/proc/swaps") or "").splitlines()[1:]]
    if path in swaps:
        return "it is used for swap"
    return "something has it open for itself alone" if blockdev.is_claimed(tree, path) else ""


def _signature(runner: Runner, path: str) -> tuple[str, str]:
    """What is on it, and why that could not be read."""
    try:
        found = find_signature(runner, path)
    except FailedPrecondition:
        return "several signatures", ""
    except TimedOut:
        return "", "it does not answer"
    except (KernelError, NotFound) as error:
        return "", f"it cannot be read: {error}"
    return ("" if found is None else str(found)), ""
