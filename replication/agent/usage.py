"""How full a staged or published volume is."""

import os

from replication.agent.machine import Machine
from replication.kernel import blockdev
from replication.kernel.md_state import device_of
from replication.kernel.sysfs import refuse
from replication.model import AccessType
from replication.usage import VolumeUsage

_TIMEOUT = 5.0


def measure(machine: Machine, access: AccessType, volume_id: str, path: str) -> VolumeUsage:
    if access is AccessType.BLOCK:
        kname = blockdev.kernel_name(machine.tree, device_of(volume_id))
        return VolumeUsage(access, blockdev.size_bytes(machine.tree, kname))
    return machine.blocking.call(f"statvfs {path}", lambda: read_usage(path), timeout=_TIMEOUT)


def read_usage(path: str) -> VolumeUsage:
    """As df(1) counts: what is reserved for root is neither used nor available."""
    try:
        found = os.statvfs(path)
    except OSError as error:
        refuse(f"measure {path}", error)
    return VolumeUsage(
        access=AccessType.MOUNT,
        total_bytes=found.f_blocks * found.f_frsize,
        used_bytes=(found.f_blocks - found.f_bfree) * found.f_frsize,
        available_bytes=found.f_bavail * found.f_frsize,
        total_inodes=found.f_files,
        used_inodes=found.f_files - found.f_ffree,
        available_inodes=found.f_favail,
    )
