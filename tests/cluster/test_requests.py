"""What Trilith asks of the API server, sidecars included: while nothing happens, and for a volume's life.

Three volumes are attached all the time, one on each node: what each costs while it is there counts as well.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from hack.bench.figures import Board, Figure, Goal
from hack.kubernetes.audit import AuditLog, Request, by_program
from hack.kubernetes.installation import Installation
from replication.clock import SystemClock
from replication.kubernetes.watched import WATCH_SECONDS
from tests.cluster.pods import STORAGE_CLASS, Cluster, ephemeral, make_pod
from tests.cluster.writing import are_redundant

CLOCK = SystemClock()
NODES = ("m1", "m2", "m3")
LIVES = 5
IDLE_SECONDS = float(WATCH_SECONDS)
"""In it each watch ends once and begins anew: in a shorter time all of them may, or none."""

SETTLED_SECONDS = 15.0
"""What is said of volumes later has been said by then."""

MOST_SHOWN = 30

MOST_WHILE_IDLE, MOST_OF_A_LIFE = 0.6, 120.0
"""Three times the goals, and above all that was measured: but to read lists all the time costs more."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Requests, and in how many seconds."""

    requests: Counter[Request]
    seconds: float

    def less(self, idle: "Spent") -> "dict[Request, float]":
        """What there would have been anyway is left out."""
        share = self.seconds / idle.seconds
        return {each: count - idle.requests[each] * share for each, count in self.requests.items()}


@pytest.mark.more
def test_an_idle_cluster_and_the_life_of_a_volume_cost_few_requests(
    installation: Installation, cluster: Cluster
) -> None:
    audit, board = installation.kubernetes.audit, Board("requests")
    hold(cluster)
    live(cluster, "first")
    idle = count(audit, lambda: CLOCK.sleep(IDLE_SECONDS))
    rate = idle.requests.total() / idle.seconds / len(NODES)
    board.add(Figure("api-requests-idle-per-node", rate, "1/s", Goal("<=", 0.2)))
    for program, number in by_program(idle.requests.items()).items():
        board.note(f"  {program}: {number / idle.seconds / len(NODES):.3f} 1/s and node")
    for request, number in idle.requests.most_common(MOST_SHOWN):
        board.note(f"    {describe(request)}: {number} in {idle.seconds:.0f} s")
    lives = count(audit, lambda: live_all(cluster))
    mean = Counter({request: found / LIVES for request, found in lives.less(idle).items()})
    board.add(Figure("api-requests-per-volume-life", mean.total(), "", Goal("<=", 40.0)))
    for program, each in by_program(mean.items()).items():
        board.note(f"  {program}: {each:.1f}")
    for request, each in mean.most_common(MOST_SHOWN):
        board.note(f"    {describe(request)}: {each:.1f}")
    assert idle.requests
    assert rate <= MOST_WHILE_IDLE
    assert mean.total() <= MOST_OF_A_LIFE
    assert lives.requests.total() > LIVES


def live_all(cluster: Cluster) -> None:
    for number in range(LIVES):
        live(cluster, f"life-{number}")


def hold(cluster: Cluster) -> None:
    """A pod with a volume on each node, until the test has ended; all replicas are in sync."""
    for node in NODES:
        cluster.apply(make_pod(f"held-{node}", ephemeral(STORAGE_CLASS), node=node))
    cluster.wait_for_all_ready(len(NODES))
    cluster.wait(lambda: are_redundant(cluster), "every volume whole")


def live(cluster: Cluster, name: str) -> None:
    """A pod with a volume of its own runs, and is gone with it; nothing is said of either any more."""
    cluster.apply(make_pod(name, ephemeral(STORAGE_CLASS)))
    cluster.wait_for_condition(name)
    cluster.delete("pods", name)
    for kind in ("persistentvolumeclaims", "persistentvolumes", "volumeattachments", "volumes"):
        cluster.wait(lambda kind=kind: len(cluster.list(kind)) == len(NODES), f"no {kind} of {name}")  # type: ignore[misc]
    CLOCK.sleep(SETTLED_SECONDS)


def count(audit: AuditLog, act: Callable[[], object]) -> Spent:
    position, began = audit.position(), CLOCK.now()
    act()
    return Spent(audit.read(position), CLOCK.now() - began)


def describe(request: Request) -> str:
    return f"{request.program} {request.verb} {request.resource}"
