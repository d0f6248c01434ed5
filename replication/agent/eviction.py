"""End what uses a device whose attachment is over, without an acknowledgement to anyone.

Order matters. Requests that wait in the array complete when it is released, some of them well; so first
whoever could see such a completion is killed (a process that waits in the kernel dies before it returns to
its own code), then the file system is told to fail everything, and only then may the caller release what is
held.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from replication.agent.machine import Machine
from replication.errors import KernelError
from replication.kernel import filesystem
from replication.kernel.mounts import Mount, Mounts


def evict(machine: Machine, device: str) -> None:
    """Kill the users of `device` and of what is mounted from it; shut that down and unmount it lazily."""
    if not Path(device).exists():
        return
    mounts = Mounts(machine.runner, machine.tree)
    number = machine.tree.device_number(device)
    mounted = mounts.list_of_device(number)
    for pid in find_users(number):
        _kill(pid)
    for mount in mounted:
        _end_mount(mounts, mount)


def _end_mount(mounts: Mounts, mount: Mount) -> None:
    with suppress(KernelError):  # a bind mount of a file, or shut down through another of its mounts already
        filesystem.shut_down(mount.path)
    mounts.unmount(mount.path, lazily=True)  # its directory is for whoever made it to remove


def find_users(number: str) -> Iterator[int]:
    """Processes with a file open on the device `MAJOR:MINOR` or in a file system on it, ours excepted."""
    major, minor = (int(word) for word in number.split(":"))
    wanted = os.makedev(major, minor)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid() and _uses(entry, wanted):
            yield int(entry.name)


def _uses(process: Path, wanted: int) -> bool:
    links = [process / "cwd", process / "root"]
    try:
        links += (process / "fd").iterdir()
    except OSError:  # it has ended
        return False
    return any(_is_on(link, wanted) for link in links)


def _is_on(link: Path, wanted: int) -> bool:
    try:
        status = link.stat()
    except OSError:  # closed meanwhile
        return False
    return wanted in (status.st_dev, status.st_rdev)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
