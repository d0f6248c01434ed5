"""How long pods take to have their volumes, beside pods without. A goal that is missed fails nothing."""

import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass

import pytest

from hack.bench.figures import Board, Figure, Goal
from tests.cluster.pods import PATIENCE, STORAGE_CLASS, Cluster, Json, ephemeral, is_so, make_pod

SAMPLES = 5
NODES = ("m1", "m2", "m3")
MOUNTED = "PodReadyToStartContainers"
"""The kubelet makes a pod's sandbox when all of its volumes are mounted, and says so with this condition."""
ATTACHED, IN_USE = "attached", "in use"
"""The kubelet mounts nothing before its node's status says that the volume is in use. It writes so every ten
seconds, and looks again after waits that double: Kubernetes' share, with every driver that attaches."""


@dataclass(frozen=True, slots=True)
class Start:
    """When what was so first, in seconds after the pod was made, as somebody sees it who watches."""

    seen: dict[str, float]

    def between(self, first: str, second: str) -> float:
        return self.seen[second] - self.seen[first]


@pytest.mark.more
def test_a_pod_has_its_volume_soon(cluster: Cluster) -> None:
    with_volume = [measure(cluster, f"volume-{n}", ephemeral(STORAGE_CLASS), n) for n in range(SAMPLES)]
    without = [measure(cluster, f"empty-{n}", {"emptyDir": {}}, n) for n in range(SAMPLES)]
    mounting = [start.between("PodScheduled", MOUNTED) for start in with_volume]
    sandbox = [start.between("PodScheduled", MOUNTED) for start in without]
    Board("cluster").add_all(
        [
            summarise("pod-emptydir-scheduled-to-mounted", sandbox, 6.0),
            summarise("pod-volume-adds-to-it", (each - statistics.median(sandbox) for each in mounting), 6.0),
            summarise("of-it-until-attached", of(with_volume, "PodScheduled", ATTACHED), 3.0),
            summarise("of-it-from-there-until-in-use", of(with_volume, ATTACHED, IN_USE), 10.0),
            summarise("of-it-from-there-until-mounted", of(with_volume, IN_USE, MOUNTED), 6.0),
            summarise("pod-volume-made-to-ready", [start.seen["Ready"] for start in with_volume], 15.0),
            summarise("pod-emptydir-made-to-ready", [start.seen["Ready"] for start in without], 15.0),
        ]
    )
    assert all(start.between("PodScheduled", MOUNTED) >= 0 for start in (*with_volume, *without))


def measure(cluster: Cluster, name: str, volume: Json, number: int) -> Start:
    """Of one pod alone, on one node after the other; it is gone when this returns."""
    node = NODES[number % len(NODES)]
    made = time.monotonic()
    cluster.apply(make_pod(name, volume, node=node))
    seen: dict[str, float] = {}

    def look() -> bool:
        for what in list_true(cluster, name, node):
            seen.setdefault(what, time.monotonic() - made)
        return "Ready" in seen

    cluster.wait(look, f"pod {name} Ready", PATIENCE)
    cluster.clean()
    return Start(seen)


def list_true(cluster: Cluster, pod: str, node: str) -> Iterable[str]:
    if any(each.get("status", {}).get("attached") for each in cluster.list("volumeattachments")):
        yield ATTACHED
    if cluster.get("nodes", node)["status"].get("volumesInUse"):
        yield IN_USE
    found = cluster.get("pods", pod)
    yield from (kind for kind in ("PodScheduled", MOUNTED, "Ready") if is_so(found, kind))


def of(starts: Iterable[Start], first: str, second: str) -> list[float]:
    return [start.between(first, second) for start in starts]


def summarise(name: str, samples: Iterable[float], goal: float) -> Figure:
    """The median."""
    found = tuple(samples)
    return Figure(f"{name}-p50", statistics.median(found), "s", Goal("<=", goal), found)
