"""A group that may read and write everything in a file system: ext4 and xfs take none when they are mounted.

As the kubelet does it for fsGroup: every file belongs to the group and is readable and writable for it, every
directory passes it on to what is made in it later.
"""

import os
import stat
from pathlib import Path

from replication.kernel.sysfs import refuse

_FILE_BITS = stat.S_IRGRP | stat.S_IWGRP
_DIRECTORY_BITS = _FILE_BITS | stat.S_IXGRP | stat.S_ISGID


def ensure_group(root: str, group: int) -> None:
    """Nothing to do when the root directory has it. The root comes last: what was cut short is begun anew."""
    try:
        if not _has_group(Path(root).stat(), group):
            _walk(root, group)
    except OSError as error:
        refuse(f"give {root} to group {group}", error)


def _has_group(status: os.stat_result, group: int) -> bool:
    return status.st_gid == group and status.st_mode & _DIRECTORY_BITS == _DIRECTORY_BITS


def _walk(root: str, group: int) -> None:
    for _, directories, files, descriptor in os.fwalk(root, topdown=False, follow_symlinks=False):
        for name in (*files, *directories):
            _give(name, group, descriptor)
    _give(root, group, None)


def _give(name: str, group: int, directory: int | None) -> None:
    """Owner first: changing it takes set-group-id bits away. A symbolic link has no mode of its own."""
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    os.chown(name, -1, group, dir_fd=directory, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        bits = _DIRECTORY_BITS if stat.S_ISDIR(status.st_mode) else _FILE_BITS
        os.chmod(name, stat.S_IMODE(status.st_mode) | bits, dir_fd=directory)
