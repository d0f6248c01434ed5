"""Programs of the lab's machines that are to count as others do when processors are short."""

from collections.abc import Sequence


def inside(cgroup: str, argv: Sequence[str]) -> list[str]:
    """`argv`, in a cgroup (a folder, made when it is not there); in the caller's own when none is named."""
    if not cgroup:
        return list(argv)
    return ["/bin/sh", "-c", f'mkdir -p {cgroup} && echo $$ >{cgroup}/cgroup.procs && exec "$@"', "sh", *argv]
