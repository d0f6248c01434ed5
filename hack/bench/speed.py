"""An attached volume against what its consumer could have had without Trilith, in the same run."""

import statistics
from dataclasses import dataclass

from hack.bench import fio
from hack.bench.figures import Board, Figure, Goal
from hack.bench.fio import Job
from hack.bench.rival import Rival
from hack.lab.vm import Machine

_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure: a job on ours and on the rival's device."""

    name: str
    job: Job
    rival: str  # bare, array
    goal: float


COMPARISONS = (
    Comparison("randread-4k-depth1-of-bare", Job("randread", "4k", 1), "bare", 0.90),
    Comparison("randread-4k-depth32-of-bare", Job("randread", "4k", 32), "bare", 0.90),
    Comparison("randwrite-4k-depth1-of-mdadm", Job("randwrite", "4k", 1), "array", 0.95),
    Comparison("randwrite-4k-depth32-of-mdadm", Job("randwrite", "4k", 32), "array", 0.95),
    Comparison("seqwrite-1m-of-mdadm", Job("write", "1m", 4), "array", 0.95),
)


def measure_speed(board: Board, consumer: Machine, device: str, rival: Rival) -> None:
    """`device`: a volume attached to `consumer`, with a replica there; its content is overwritten."""
    rivals = {"bare": rival.bare, "array": rival.array}
    fill(consumer, (device, *rivals.values()))
    for comparison in COMPARISONS:
        theirs = rivals[comparison.rival]
        samples = fio.compare(consumer, comparison.job, device, theirs, _ROUNDS)
        goal = Goal(">=", comparison.goal)
        board.add(Figure(comparison.name, statistics.median(samples), "ratio", goal, samples))


def fill(machine: Machine, devices: tuple[str, ...]) -> None:
    """What was never written is read faster than what was."""
    for device in devices:
        machine.succeed(
            f"dd if=/dev/urandom of={device} bs=1M count=256 oflag=direct conv=fsync status=none",
            timeout=300,
        )
