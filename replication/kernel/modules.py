"""Kernel modules and the kernel itself: what Trilith needs, and what to install where it is missing."""

import re

from replication.errors import CommandFailed, FailedPrecondition, Unsupported
from replication.kernel.run import Runner
from replication.kernel.sysfs import Tree

MODULES = (
    "dm-mod",
    "dm-multipath",
    "dm-service-time",
    "raid1",
    "nvmet",
    "nvmet-tcp",
    "nvme-fabrics",
    "nvme-tcp",
)
OF_KUBELET = ("loop",)
"""Not for us: the kubelet holds each block volume through a loop device."""
OPTIONS = {"nvme-tcp": ("wq_unbound=Y",)}
"""A sender that holds a queue's send lock can be preempted by that queue's own high-priority work on the same
processor, which then spins for the lock (nvme_tcp_io_work, 6.12). Unbound work never meets such a sender:
on a busy machine with one processor, writes with flushes to three replicas went 14 times as fast."""
OLDEST = (6, 12)
_CONFIGFS = "/sys/kernel/config"
_WHERE = "the package linux-image-amd64 or linux-image-arm64 of Debian 13 or bookworm-backports, not -cloud"


def parse_release(release: str) -> tuple[int, int]:
    """(6, 12) of `6.12.107+deb13-amd64`."""
    match = re.match(r"(\d+)\.(\d+)", release)
    if match is None:
        raise FailedPrecondition(f"the kernel calls itself {release!r}, which is no version")
    return int(match[1]), int(match[2])


def check_kernel(release: str) -> None:
    """Unsupported, saying why, for a kernel older than 6.12."""
    if parse_release(release) < OLDEST:
        raise Unsupported(
            f"kernel {release} is older than 6.12: before 6.11 md could write past its bitmap, 6.1 has no "
            f"NVMe authentication, nothing between was tested; install {_WHERE}"
        )


def ensure_loaded(tree: Tree, runner: Runner, modules: tuple[str, ...] = MODULES) -> None:
    """Load those that are not there. Unsupported names the first that this kernel lacks, and who has it."""
    for module in modules:
        if not is_loaded(tree, module):
            _load(runner, module)


def list_missed_options(tree: Tree) -> tuple[str, ...]:
    """`module option` of each that somebody loaded before us with another value; built-in ones included."""
    missed = []
    for module, options in OPTIONS.items():
        for name, wanted in (option.split("=") for option in options):
            found = tree.find(f"/sys/module/{module.replace('-', '_')}/parameters/{name}")
            if found is not None and found != wanted:
                missed.append(f"{module} {name}={wanted}")
    return tuple(missed)


def is_loaded(tree: Tree, module: str) -> bool:
    """Loaded or built in, as far as sysfs shows it."""
    return tree.exists(f"/sys/module/{module.replace('-', '_')}")


def _load(runner: Runner, module: str) -> None:
    try:
        runner(("modprobe", module, *OPTIONS.get(module, ())), timeout=30)
    except CommandFailed as error:
        raise Unsupported(
            f"the kernel module {module} cannot be loaded ({error.stderr.strip()}); it is in {_WHERE}"
        ) from error


def ensure_configfs(tree: Tree, runner: Runner) -> None:
    """Mount configfs where systemd does, if nobody has. NVMe's target is configured through it."""
    if not tree.names(_CONFIGFS):
        runner(("mount", "-t", "configfs", "configfs", _CONFIGFS), timeout=10)
