"""How long pods take to have their volumes, beside pods without. A goal that is missed fails nothing."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from hack.bench.figures import Board, Figure, Goal
from tests.cluster.pods import PATIENCE, STORAGE_CLASS, Cluster, Json, ephemeral, is_so, make_pod

SAMPLES = 5
NODES = ("m1", "m2", "m3")
MOUNTED = "PodReadyToStartContainers"
"""The kubelet makes a pod's sandbox when all of its volumes are mounted, and says so with this condition."""


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds after the pod was made, as somebody sees them who watches."""

    scheduled: float
    mounted: float
    ready: float


@pytest.mark.more
def test_a_pod_has_its_volume_soon(cluster: Cluster) -> None:
    with_volume = [measure(cluster, f"volume-{n}", ephemeral(STORAGE_CLASS), n) for n in range(SAMPLES)]
    without = [measure(cluster, f"empty-{n}", {"emptyDir": {}}, n) for n in range(SAMPLES)]
    board = Board("cluster")
    board.add_all(
        [
            summarise("pod-ephemeral-scheduled-to-mounted", with_volume, wait_for_mount, 6.0),
            summarise("pod-emptydir-scheduled-to-mounted", without, wait_for_mount, 6.0),
            summarise("pod-ephemeral-made-to-ready", with_volume, lambda start: start.ready, 15.0),
            summarise("pod-emptydir-made-to-ready", without, lambda start: start.ready, 15.0),
        ]
    )
    assert all(start.scheduled <= start.mounted <= start.ready for start in (*with_volume, *without))


def measure(cluster: Cluster, name: str, volume: Json, number: int) -> Start:
    """Of one pod alone, on one node after the other; it is gone when this returns."""
    made = time.monotonic()
    cluster.apply(make_pod(name, volume, node=NODES[number % len(NODES)]))
    seen: dict[str, float] = {}

    def look() -> bool:
        pod = cluster.get("pods", name)
        for kind in ("PodScheduled", MOUNTED, "Ready"):
            if is_so(pod, kind):
                seen.setdefault(kind, time.monotonic() - made)
        return "Ready" in seen

    cluster.wait(look, f"pod {name} Ready", PATIENCE)
    cluster.clean()
    return Start(seen["PodScheduled"], seen[MOUNTED], seen["Ready"])


def wait_for_mount(start: Start) -> float:
    return start.mounted - start.scheduled


def summarise(name: str, starts: list[Start], of: Callable[[Start], float], goal: float) -> Figure:
    """The median."""
    samples = tuple(map(of, starts))
    return Figure(f"{name}-p50", statistics.median(samples), "s", Goal("<=", goal), samples)
