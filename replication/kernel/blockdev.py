"""Block devices as the kernel names them: by device number, never by resolving a path.

Without udev `/dev/<vg>/<lv>` is a node of its own and no link, so that only the number leads to `dm-0`.
"""

import errno
import os

from replication.kernel.run import Runner
from replication.kernel.sysfs import Tree, refuse

SECTOR_BYTES = 512
_TIMEOUT = 10.0


def kernel_name(tree: Tree, device: str) -> str:
    """`dm-0` or `nvme0n1` for a node's path or a `MAJOR:MINOR`. NotFound when there is no such device."""
    number = tree.device_number(device) if device.startswith("/") else device
    return tree.link_name(f"/sys/dev/block/{number}")


def device_path(tree: Tree, device: str) -> str:
    """The node that devtmpfs made: `/dev/` and the kernel's name."""
    return f"/dev/{kernel_name(tree, device)}"


def number(tree: Tree, kname: str) -> str:
    """`MAJOR:MINOR` of the device with this kernel name."""
    return tree.read(f"/sys/class/block/{kname}/dev")


def size_bytes(tree: Tree, kname: str) -> int:
    return int(tree.read(f"/sys/class/block/{kname}/size")) * SECTOR_BYTES


def has_volatile_cache(tree: Tree, kname: str) -> bool:
    """Whether a power cut may take writes that were acknowledged but not flushed (`write back`)."""
    return write_cache(tree, kname) == "write back"


def write_cache(tree: Tree, kname: str) -> str:
    """`write back` or `write through`."""
    return tree.read(f"/sys/class/block/{kname}/queue/write_cache")


def is_readonly(tree: Tree, kname: str) -> bool:
    return tree.find(f"/sys/class/block/{kname}/ro") == "1"


def ensure_readonly(tree: Tree, runner: Runner, device: str, *, readonly: bool) -> None:
    """Whether the kernel refuses writes of whoever opens the device (EPERM), and mounts that could write.

    What md itself writes goes to its members and is not concerned. Repeatable.
    """
    if is_readonly(tree, kernel_name(tree, device)) != readonly:
        runner(("blockdev", "--setro" if readonly else "--setrw", device), timeout=_TIMEOUT)


def holders(tree: Tree, kname: str) -> tuple[str, ...]:
    """Kernel names of the devices that stand on this one."""
    return tree.names(f"/sys/class/block/{kname}/holders")


def requests_in_flight(tree: Tree, kname: str) -> int:
    """Reads and writes that this device has accepted and not ended."""
    return sum(int(word) for word in tree.read(f"/sys/class/block/{kname}/inflight").split())


def is_claimed(tree: Tree, path: str) -> bool:
    """Whether somebody has the device for himself: a mount, swap, dm, md, bcache (exclusive open, EBUSY)."""
    try:
        os.close(os.open(tree.path(path), os.O_RDONLY | os.O_EXCL))
    except OSError as error:
        if error.errno == errno.EBUSY:
            return True
        refuse(f"open {path}", error)
    return False
