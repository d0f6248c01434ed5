"""Running fio in a machine: several devices in one run of it, one after the other, and what each did."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from hack.lab.errors import LabError
from hack.lab.vm import Machine


@dataclass(frozen=True, slots=True)
class Job:
    """What is asked of each device. Only the first `span` of it is used."""

    kind: str  # fio's rw: randread, randwrite, write
    block: str
    depth: int
    seconds: float = 1.0
    ramp: float = 0.25  # seconds that are not counted
    span: str = "256m"


def format_argv(job: Job, devices: Sequence[str]) -> list[str]:
    """The command line. Starting fio takes seconds on an emulated machine, so one does all."""
    words = ["fio", "--output-format=json", "--thread", "--ioengine=libaio", "--direct=1", "--norandommap"]
    words += [f"--rw={job.kind}", f"--bs={job.block}", f"--iodepth={job.depth}", f"--size={job.span}"]
    words += ["--time_based", f"--runtime={job.seconds:g}s", f"--ramp_time={round(job.ramp * 1000)}ms"]
    for number, device in enumerate(devices):
        words += [f"--name={number}", "--stonewall", f"--filename={device}"]
    return words


def parse_rates(output: str, kind: str) -> tuple[float, ...]:
    """Operations a second of each device, in order. LabError when fio met an error."""
    jobs = json.loads(output[output.index("{") :])["jobs"]
    failed = [job["jobname"] for job in jobs if job["error"]]
    if failed:
        raise LabError(f"fio: errors on device number {', '.join(failed)}")
    way = "read" if "read" in kind else "write"
    return tuple(float(job[way]["iops"]) for job in jobs)


def measure(machine: Machine, job: Job, devices: Sequence[str]) -> tuple[float, ...]:
    """Operations a second of each device."""
    timeout = 60 + 5 * (job.seconds + job.ramp) * len(devices)
    return parse_rates(machine.succeed(format_argv(job, devices), timeout=timeout), job.kind)


def compare(machine: Machine, job: Job, ours: str, theirs: str, rounds: int) -> tuple[float, ...]:
    """Ours of theirs in each round: there and back again, so that what drifts hits both alike."""
    order = (ours, theirs, theirs, ours) * rounds
    return ratios(measure(machine, job, order))


def ratios(rates: Sequence[float]) -> tuple[float, ...]:
    """Of rates in the order ours, theirs, theirs, ours, …: one ratio for each four."""
    rounds = zip(*(rates[place::4] for place in range(4)), strict=True)
    return tuple(math.sqrt(first * last / (second * third)) for first, second, third, last in rounds)
