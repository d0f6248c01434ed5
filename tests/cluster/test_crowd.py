"""Thirty pods at once, each with a volume of its own, beside thirty without."""

import time

import pytest

from hack.bench.figures import Board, Figure, Goal
from tests.cluster.pods import STORAGE_CLASS, Cluster, Json, ephemeral, make_pod
from tests.cluster.remains import find_left

COUNT = 30
PATIENCE_OF_ALL = 900.0


@pytest.mark.more
@pytest.mark.timeout(3600)
def test_thirty_pods_with_volumes_start_at_once_and_leave_nothing(cluster: Cluster) -> None:
    without = measure(cluster, "empty", {"emptyDir": {}})
    with_volumes = measure(cluster, "volume", ephemeral(STORAGE_CLASS, "16Mi"))
    Board("crowd").add_all(
        [
            Figure("thirty-pods-with-emptydir", without, "s", Goal("<=", 300.0)),
            Figure("thirty-pods-with-volumes-ratio", with_volumes / without, "times", Goal("<=", 3.0)),
        ]
    )
    cluster.wait(lambda: not list(find_left(cluster)), "nothing left")


def measure(cluster: Cluster, name: str, volume: Json) -> float:
    """Seconds until all run; they are gone when this returns."""
    made = time.monotonic()
    cluster.apply(*(make_pod(f"{name}-{number}", volume) for number in range(COUNT)))
    cluster.wait_for_all_ready(COUNT, PATIENCE_OF_ALL)
    seconds = time.monotonic() - made
    cluster.clean()
    return seconds
