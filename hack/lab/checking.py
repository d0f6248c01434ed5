"""The acknowledged-write checker in a machine of the lab."""

from hack.lab.cgroups import inside
from hack.lab.paths import REPOSITORY
from hack.lab.vm import Machine, Spawned

WRITERS, BLOCKS_PER_WRITER = 8, 64


def start_writer(
    machine: Machine, device: str, endpoint: str, *kinds: str, writers: int = WRITERS, cgroup: str = ""
) -> Spawned:
    """Writers of all kinds, or of those named: hack/checker/writer.py. In a cgroup, when one is named."""
    program = f"{REPOSITORY}/hack/checker/writer.py"
    words = [program, device, endpoint, str(writers), str(BLOCKS_PER_WRITER), *kinds]
    return machine.spawn(inside(cgroup, ["python3", "-I", "-S", *words]))


def dump(machine: Machine, device: str, offset: int = 0, writers: int = WRITERS) -> str:
    """What every block of the checker holds."""
    words = f"{REPOSITORY}/hack/checker/dump.py {device} {writers * BLOCKS_PER_WRITER} {offset}"
    return machine.succeed(f"python3 -I -S {words}", timeout=120)
