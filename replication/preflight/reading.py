"""Read of the machine that this runs on what it needs for Trilith."""

import os
import shutil
from collections.abc import Callable, Sequence

from replication.errors import CommandFailed, Unsupported
from replication.kernel import modules
from replication.kernel.run import PACKAGES, Runner
from replication.kernel.sysfs import Tree
from replication.preflight.findings import Facts
from replication.preflight.system import System, parse_os_release

FindProgram = Callable[[str], str | None]
_OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")


def read_facts(
    tree: Tree,
    runner: Runner,
    host: Tree,
    *,
    load: bool,
    release: str = "",
    find_program: FindProgram = shutil.which,
) -> Facts:
    """`host` is where the machine's own files are, in a container; programs are looked for where this runs.

    `load`: load what is missing, as the agent does, and so see whether it can be; needs root.
    """
    return Facts(
        release=release or os.uname().release,
        system=_read_system(host),
        modules=_look_for(tree, runner, modules.MODULES, load=load),
        kubelet_modules=_look_for(tree, runner, modules.OF_KUBELET, load=load),
        missing_packages=_list_missing(find_program),
        multipath=tree.find("/sys/module/nvme_core/parameters/multipath"),
        missed_options=tuple(_split(missed) for missed in modules.list_missed_options(tree)),
        io_controller="io" in (tree.find("/sys/fs/cgroup/cgroup.controllers") or "").split(),
        tracing=tree.exists("/sys/kernel/tracing"),
    )


def _read_system(host: Tree) -> System:
    found = (host.find(name) for name in _OS_RELEASE)
    return parse_os_release(next((text for text in found if text is not None), ""))


def _look_for(tree: Tree, runner: Runner, names: Sequence[str], *, load: bool) -> tuple[tuple[str, str], ...]:
    """Each with why it is not there; empty when it is."""
    return tuple((name, _find_trouble(tree, runner, name, load=load)) for name in names)


def _find_trouble(tree: Tree, runner: Runner, module: str, *, load: bool) -> str:
    if modules.is_loaded(tree, module):
        return ""
    try:
        if load:
            modules.ensure_loaded(tree, runner, (module,))
        else:
            runner(("modprobe", "--dry-run", module), timeout=30)
    except CommandFailed as error:
        return error.stderr.strip() or "not there"
    except Unsupported as error:
        cause = error.__cause__
        return cause.stderr.strip() if isinstance(cause, CommandFailed) else str(error)
    return ""


def _list_missing(find_program: FindProgram) -> tuple[tuple[str, tuple[str, ...]], ...]:
    missing: dict[str, list[str]] = {}
    for program, package in sorted(PACKAGES.items()):
        if find_program(program) is None:
            missing.setdefault(package, []).append(program)
    return tuple((package, tuple(programs)) for package, programs in sorted(missing.items()))


def _split(missed: str) -> tuple[str, str]:
    module, _, option = missed.partition(" ")
    return module, option
