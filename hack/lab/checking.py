"""The acknowledged-write checker in a machine of the lab."""

from dataclasses import dataclass

from hack.lab.cgroups import inside
from hack.lab.paths import REPOSITORY
from hack.lab.vm import Machine, Spawned

WRITERS, BLOCKS_PER_WRITER = 8, 64


@dataclass(frozen=True, slots=True)
class Load:
    """How much is written, and what it counts where processors are short."""

    writers: int = WRITERS
    pause: float = 0.0  # seconds between a writer's writes
    cgroup: str = ""


FULL = Load()


def start_writer(machine: Machine, device: str, endpoint: str, *kinds: str, load: Load = FULL) -> Spawned:
    """Writers of all kinds, or of those named: hack/checker/writer.py."""
    program = f"{REPOSITORY}/hack/checker/writer.py"
    words = [program, device, endpoint, str(load.writers), str(BLOCKS_PER_WRITER), str(load.pause), *kinds]
    return machine.spawn(inside(load.cgroup, ["python3", "-I", "-S", *words]))


def dump(machine: Machine, device: str, offset: int = 0, writers: int = WRITERS) -> str:
    """What every block of the checker holds."""
    words = f"{REPOSITORY}/hack/checker/dump.py {device} {writers * BLOCKS_PER_WRITER} {offset}"
    return machine.succeed(f"python3 -I -S {words}", timeout=120)
