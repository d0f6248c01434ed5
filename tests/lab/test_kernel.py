"""The wrappers of the kernel, each against a real one: tests/root, shared out among machines."""

import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from hack.lab.cluster import Cluster
from hack.lab.paths import REPOSITORY
from hack.lab.vm import Machine
from replication.kernel.run import run

pytestmark = pytest.mark.lab
PYTEST = ("env", f"--chdir={REPOSITORY}", sys.executable, "-m", "pytest")


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("chosen", ["not more", pytest.param("more", marks=pytest.mark.more)])
@pytest.mark.cluster(nodes=2, disks=3, memory_mib=1200)
def test_the_wrappers_do_what_they_say(cluster: Cluster, chosen: str) -> None:
    """Each machine is alone with its disks and its modules of tests."""
    marks = f"root and {chosen}"
    shares = share_out(count_by_module(marks), len(cluster.machines))
    with ThreadPoolExecutor() as pool:
        outcomes = list(pool.map(partial(run_tests, marks), cluster.machines, shares))
    assert outcomes == [0] * len(shares)


def count_by_module(marks: str) -> Counter[str]:
    listed = run([*PYTEST, "-m", marks, "--collect-only", "-q", "tests/root"], timeout=120)
    return Counter(line.partition("::")[0] for line in listed.splitlines() if "::" in line)


def share_out(counts: Counter[str], machines: int) -> list[list[str]]:
    """Modules for each machine, which take turns: most tests first. No list is empty."""
    modules = [module for module, _ in counts.most_common()]
    return [modules[turn::machines] for turn in range(min(machines, len(modules)))]


def run_tests(marks: str, machine: Machine, modules: list[str]) -> int:
    argv = [
        *PYTEST,
        "-q",
        "-m",
        marks,
        "-p",
        "no:cacheprovider",
        "--tb=short",
        "--durations=10",
        "--timeout=120",
    ]
    status, output = machine.execute([*argv, *modules], timeout=1600)
    print(output)
    return status
