"""The wrappers of the kernel, each against a real one: tests/root, run in one machine and one process."""

import sys

import pytest

from hack.lab.cluster import Cluster
from hack.lab.paths import REPOSITORY

pytestmark = pytest.mark.lab


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("chosen", ["not more", pytest.param("more", marks=pytest.mark.more)])
@pytest.mark.cluster(nodes=1, disks=3, memory_mib=1200)
def test_the_wrappers_do_what_they_say(cluster: Cluster, chosen: str) -> None:
    command = (
        f"cd {REPOSITORY} && {sys.executable} -m pytest -q -m 'root and {chosen}' "
        "-p no:cacheprovider --tb=short --timeout=120 tests/root 2>&1"
    )
    status, output = cluster.machines[0].execute(command, timeout=1600)
    print(output)
    assert status == 0
