"""What the hold layer costs: each of its forms against an array without one, in one run on three machines.

    python -m hack.bench.hold [--passes N]

Every pass measures all forms in one order and then in the other, a second each, so that what drifts hits all
alike; a figure is the median of ratios within a turn. Goals are issue 3's, section 7.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

from hack.bench import fio
from hack.bench.figures import Board, Figure, Goal
from hack.bench.fio import Job
from hack.lab.cluster import Cluster
from hack.lab.network import enter_private_network
from hack.lab.vm import Machine

_GUEST = Path(__file__).with_name("hold_guest.py")
_JOBS = {
    "randread-qd1": Job("randread", "4k", 1, span="64m"),
    "randread-qd32": Job("randread", "4k", 32, span="64m"),
    "randwrite-qd1": Job("randwrite", "4k", 1, span="64m"),
    "randwrite-qd32": Job("randwrite", "4k", 32, span="64m"),
    "seqwrite-1m": Job("write", "1m", 4, span="64m"),
}
_READ_GOAL, _WRITE_GOAL = Goal(">=", 0.90), Goal(">=", 0.95)
Sample = dict[str, float]
"""Operations a second of each form, taken within seconds."""


def set_up(cluster: Cluster) -> dict[str, str]:
    """The device of every form on m1."""
    words = [sys.executable, "-I", "-S", str(_GUEST)]
    targets = [cluster["m2"], cluster["m3"]]
    for machine in targets:
        machine.succeed([*words, "target", machine.address], timeout=120)
    addresses = [machine.address for machine in targets]
    found: dict[str, str] = json.loads(cluster["m1"].succeed([*words, "consumer", *addresses], timeout=600))
    return found


def measure(machine: Machine, devices: dict[str, str], job: str, passes: int) -> list[Sample]:
    """One fio goes `passes` times there and back through all devices, a second each."""
    order = [*devices, *reversed(devices)] * passes
    rates = fio.measure(machine, _JOBS[job], [devices[form] for form in order])
    turns = [range(start, start + len(devices)) for start in range(0, len(order), len(devices))]
    return [{order[place]: rates[place] for place in turn} for turn in turns]


def figures(job: str, turns: list[Sample]) -> Iterator[Figure]:
    """Reads against the bare local disk, writes against the array without a layer."""
    base, goal = ("bare", _READ_GOAL) if "read" in job else ("none", _WRITE_GOAL)
    for form in turns[0]:
        if form == base or (form == "bare" and base != "bare"):
            continue
        ratios = tuple(turn[form] / turn[base] for turn in turns)
        yield Figure(f"hold-{form}-{job}-of-{base}", statistics.median(ratios), "ratio", goal, ratios)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passes", type=int, default=5)
    passes = parser.parse_args().passes
    enter_private_network()
    board = Board("hold")
    with Cluster(nodes=3, disk_size_bytes=8 << 30) as cluster:
        devices = set_up(cluster)
        for job in _JOBS:
            board.add_all(tuple(figures(job, measure(cluster["m1"], devices, job, passes))))


if __name__ == "__main__":
    main()
