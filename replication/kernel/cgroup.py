"""cgroup v2 `io.max`: bounds on what all workloads below a cgroup do to one device."""

from dataclasses import dataclass

from replication.errors import KernelError, NotFound, Unsupported
from replication.kernel.sysfs import Tree

ROOT = "/sys/fs/cgroup"


@dataclass(frozen=True, slots=True)
class IoLimits:
    """Per second; None: unbounded. Buffered writes count too."""

    read_operations: int | None = None
    write_operations: int | None = None
    read_bytes: int | None = None
    write_bytes: int | None = None


def format_limits(limits: IoLimits) -> str:
    """`riops=… wiops=… rbps=… wbps=…`."""
    return (
        f"riops={_word(limits.read_operations)} wiops={_word(limits.write_operations)} "
        f"rbps={_word(limits.read_bytes)} wbps={_word(limits.write_bytes)}"
    )


def _word(value: int | None) -> str:
    return "max" if value is None else str(value)


def parse_limits(text: str) -> dict[str, IoLimits]:
    """By `MAJOR:MINOR`; the kernel leaves unbounded devices out."""
    found: dict[str, IoLimits] = {}
    for line in text.splitlines():
        number, *words = line.split()
        values = dict(word.split("=", 1) for word in words)
        found[number] = IoLimits(
            read_operations=_value(values.get("riops")),
            write_operations=_value(values.get("wiops")),
            read_bytes=_value(values.get("rbps")),
            write_bytes=_value(values.get("wbps")),
        )
    return found


def _value(word: str | None) -> int | None:
    return None if word is None or word == "max" else int(word)


def ensure_controller(tree: Tree) -> None:
    """Let the cgroups below the root have `io` attributes. Repeatable. Unsupported when they cannot."""
    name = f"{ROOT}/cgroup.subtree_control"
    if "io" in (tree.find(name) or "").split():
        return
    try:
        tree.write(name, "+io")
    except (KernelError, NotFound) as error:
        raise Unsupported(
            f"cgroup v2 with the controller `io` is needed to bound anybody: {error}"
        ) from error


def read_limits(tree: Tree, cgroup: str, number: str) -> IoLimits:
    """`cgroup` is a path below the hierarchy's root, like `kubepods.slice`."""
    return parse_limits(tree.read(_attribute(tree, cgroup))).get(number, IoLimits())


def ensure_limits(tree: Tree, cgroup: str, number: str, limits: IoLimits) -> None:
    """Repeatable. Unsupported when the cgroup has no `io` controller."""
    if read_limits(tree, cgroup, number) != limits:
        tree.write(_attribute(tree, cgroup), f"{number} {format_limits(limits)}")


def remove_limits(tree: Tree, cgroup: str, number: str) -> None:
    """Repeatable."""
    ensure_limits(tree, cgroup, number, IoLimits())


def _attribute(tree: Tree, cgroup: str) -> str:
    name = f"{ROOT}/{cgroup}/io.max"
    if not tree.exists(name):
        raise Unsupported(f"{name} is missing: no cgroup v2, or its parent does not delegate `io`")
    return name
