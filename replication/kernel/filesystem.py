"""ext4 and xfs: found, made on what is empty, checked, grown, and shut down under a workload that is over."""

import fcntl
import os
import struct
from dataclasses import dataclass
from enum import StrEnum

from replication.errors import AlreadyExists, CommandFailed, DataLoss, FailedPrecondition
from replication.kernel.direct import BLOCK_BYTES, read_direct
from replication.kernel.run import Runner
from replication.kernel.sysfs import refuse

_PROBE_TIMEOUT = 30.0
_MAKE_TIMEOUT = 600.0
_CHECK_TIMEOUT = 3600.0
_FS_IOC_SHUTDOWN = 0x8004587D  # linux/fs.h: _IOR('X', 125, __u32)
_NO_LOG_FLUSH = 2  # nothing more is written, not even the journal


class Kind(StrEnum):
    """What we make."""

    EXT4 = "ext4"
    XFS = "xfs"


_MAKE = {
    Kind.EXT4: ("mkfs.ext4", "-q", "-m", "0", "-E", "nodiscard"),
    Kind.XFS: ("mkfs.xfs", "-q", "-K"),
}
_REPAIR = {Kind.EXT4: "e2fsck -f", Kind.XFS: "xfs_repair"}
_CORRECTED = 1 | 2  # e2fsck(8): corrected; corrected and wants a reboot, which concerns / only
_UNCORRECTED = 4


@dataclass(frozen=True, slots=True)
class Signature:
    """What blkid finds on a device: a file system, a volume manager's member, or a partition table."""

    kind: str  # ext4, xfs, LVM2_member, linux_raid_member, …; "" for a partition table alone
    partition_table: str  # gpt, dos, …; "" when there is none

    def __str__(self) -> str:
        return self.kind or f"a {self.partition_table} partition table"


def parse_signature(text: str) -> Signature | None:
    """`blkid -p -o export`: KEY=VALUE lines."""
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    signature = Signature(values.get("TYPE", ""), values.get("PTTYPE", ""))
    return signature if signature.kind or signature.partition_table else None


def find_signature(runner: Runner, device: str) -> Signature | None:
    """None for a device without any known signature. FailedPrecondition when several contradict."""
    try:
        return parse_signature(runner(("blkid", "-p", "-o", "export", device), timeout=_PROBE_TIMEOUT))
    except CommandFailed as error:
        if error.status == 2:
            return None
        if error.status == 8:
            raise FailedPrecondition(f"{device} carries several signatures that contradict") from error
        raise


def ensure_filesystem(runner: Runner, device: str, kind: Kind) -> bool:
    """Make one where nothing is; leave one of the same kind alone; AlreadyExists over anything else.

    Whether one was made. Nothing is discarded: members may read differently after a discard.
    """
    found = find_signature(runner, device)
    if found is None:
        runner((*_MAKE[kind], device), timeout=_MAKE_TIMEOUT)
    elif found.kind != kind:
        raise AlreadyExists(f"{device} holds {found}, not {kind}")
    return found is None


def check(runner: Runner, device: str, kind: Kind) -> None:
    """Replay the journal and repair what needs no question, while not mounted. xfs does it when mounted.

    DataLoss, with the command to run, when an administrator has to look at it.
    """
    if kind is Kind.XFS:
        return
    try:
        runner(("e2fsck", "-p", device), timeout=_CHECK_TIMEOUT)
    except CommandFailed as error:
        if error.status & _UNCORRECTED:
            raise needs_hands(device, kind, str(error)) from error
        if error.status & ~_CORRECTED:
            raise


def needs_hands(device: str, kind: str, why: str) -> DataLoss:
    """A damaged file system is never mounted, and never made over."""
    return DataLoss(
        f"{why}; the {kind} file system on {device} needs an administrator, nothing was changed: keep the "
        f"volume attached, run `{_REPAIR[Kind(kind)]} {device}` on this node, and try again"
    )


def read_size(device: str, kind: Kind) -> int:
    """Bytes that the file system spans, by its superblock.

    Sources: ext4, Documentation/filesystems/ext4/super.rst; xfs, struct xfs_dsb in
    fs/xfs/libxfs/xfs_format.h.
    """
    head = read_direct(device, 0, BLOCK_BYTES)
    if kind is Kind.XFS:
        block_bytes, blocks = struct.unpack_from(">IQ", head, 4)
    else:
        low, shift = struct.unpack_from("<I16xI", head, 1024 + 4)  # s_blocks_count_lo, s_log_block_size
        (high,) = struct.unpack_from("<I", head, 1024 + 0x150)
        block_bytes, blocks = 1024 << shift, high << 32 | low
    return int(block_bytes * blocks)


def grow(runner: Runner, device: str, mount_point: str, kind: Kind) -> None:
    """Fill the device, while mounted. Repeatable."""
    if kind is Kind.EXT4:
        runner(("resize2fs", device), timeout=_MAKE_TIMEOUT)
    else:
        runner(("xfs_growfs", mount_point), timeout=_MAKE_TIMEOUT)


def shut_down(mount_point: str) -> None:
    """Make every further access fail, without writing anything: the end of a superseded attachment."""
    try:
        descriptor = os.open(mount_point, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, _FS_IOC_SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(descriptor)
    except OSError as error:
        refuse(f"shut the file system at {mount_point} down", error)
