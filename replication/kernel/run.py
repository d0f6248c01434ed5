"""Commands: every program that we start goes through `run`: logged, bounded in time and fakeable."""

import logging
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from replication.errors import CommandFailed, TimedOut, Unsupported

_log = logging.getLogger(__name__)

PACKAGES = {
    "blkid": "util-linux",
    "blockdev": "util-linux",
    "e2fsck": "e2fsprogs",
    "lvm": "lvm2",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "modprobe": "kmod",
    "mount": "mount",
    "resize2fs": "e2fsprogs",
    "umount": "mount",
    "xfs_growfs": "xfsprogs",
}
"""Of Debian, by the programs that we start."""
NOTHING: Mapping[str, str] = MappingProxyType({})
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_stuck: list[subprocess.Popen[bytes]] = []  # killed and not gone: to be reaped when they are
_GRACE = 1.0  # seconds that a killed child gets to disappear; in state D it never does


class Runner(Protocol):
    """What every wrapper of a tool is given."""

    def __call__(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        stdin: bytes | None = None,
        environment: Mapping[str, str] = NOTHING,
    ) -> str:
        """Standard output of `argv`, decoded. `environment` is added to our own.

        Raises CommandFailed on a status other than 0, TimedOut after `timeout` seconds (the child and its
        process group are killed), Unsupported when the program is not installed.
        """


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    stdin: bytes | None = None,
    environment: Mapping[str, str] = NOTHING,
) -> str:
    """The real Runner: no shell, `LC_ALL=C`, own process group; without `stdin` the child reads nothing."""
    started = time.monotonic()
    _stuck[:] = [child for child in _stuck if child.poll() is None]
    child, shown = _start(argv, environment, feed=stdin is not None), hide_flags(argv)
    try:
        output, errors = child.communicate(stdin, timeout=timeout)
    except subprocess.TimeoutExpired:
        _kill(child)
        raise TimedOut(f"{' '.join(shown)}: not within {timeout:g} s") from None
    _log.debug("%s: status %d after %.2f s", " ".join(shown), child.returncode, time.monotonic() - started)
    if child.returncode:
        raise CommandFailed(shown, child.returncode, errors.decode(errors="replace"))
    return output.decode(errors="replace")


def hide_flags(argv: Sequence[str]) -> tuple[str, ...]:
    """`argv` as it may be logged and told: mount flags may be sensitive, by the CSI specification."""
    if argv[0] != "mount":
        return tuple(argv)
    hidden = {number + 1 for number, word in enumerate(argv) if word == "-o"}
    return tuple("[flags]" if number in hidden else word for number, word in enumerate(argv))


def _start(argv: Sequence[str], environment: Mapping[str, str], *, feed: bool) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            argv,
            stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={**_environment(), **environment},
        )
    except FileNotFoundError as error:
        package = PACKAGES.get(argv[0])
        hint = f"; install the package {package}" if package else ""
        raise Unsupported(f"{argv[0]} is not on this machine{hint}") from error


def _environment() -> dict[str, str]:
    path = os.environ.get("PATH", "")
    return {**os.environ, "LC_ALL": "C", "PATH": f"{path}:{_SYSTEM_PATH}" if path else _SYSTEM_PATH}


def _kill(child: subprocess.Popen[bytes]) -> None:
    """Kill the process group, and wait for it no longer than the grace: a child in state D stays."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        _log.debug("process group %d ended by itself", child.pid)
    try:
        child.communicate(timeout=_GRACE)
    except subprocess.TimeoutExpired:
        _log.warning("process %d does not die: it waits for a device", child.pid)
        for pipe in (child.stdin, child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()
        _stuck.append(child)
