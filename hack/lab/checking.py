"""The acknowledged-write checker in a machine of the lab."""

from hack.lab.paths import REPOSITORY
from hack.lab.vm import Machine, Spawned

WRITERS, BLOCKS_PER_WRITER = 8, 64


def start_writer(machine: Machine, device: str, endpoint: str) -> Spawned:
    program = f"{REPOSITORY}/hack/checker/writer.py"
    words = [program, device, endpoint, str(WRITERS), str(BLOCKS_PER_WRITER)]
    return machine.spawn(["python3", "-I", "-S", *words])


def dump(machine: Machine, device: str) -> str:
    """What every block of the checker holds."""
    program = f"{REPOSITORY}/hack/checker/dump.py"
    return machine.succeed(f"python3 -I -S {program} {device} {WRITERS * BLOCKS_PER_WRITER}", timeout=120)
