"""How long a volume is away when its consumer dies: given up there, attached and mounted elsewhere."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from hack.bench.figures import Figure, Goal
from hack.bench.observe import await_redundant
from hack.bench.orders import move, timed
from hack.bench.stalls import reboot
from hack.demo.csi_calls import Orchestrator
from hack.lab.site import Site
from hack.lab.vm import Machine

_GOAL_FROM_DETECTION, _GOAL_FROM_DEATH = Goal("<=", 10.0), Goal("<=", 15.0)


@dataclass(frozen=True, slots=True)
class Move:
    """Seconds until the volume was mounted elsewhere."""

    from_death: float
    from_detection: float  # when the record had given the dead consumer up


def sample_moves(
    site: Site, csi: Orchestrator, volume_id: str, machines: Sequence[Machine], times: int
) -> tuple[list[Move], Machine]:
    """And the consumer in the end. The volume is mounted on the first; whoever has it dies."""
    consumer, heir, third = machines
    samples = []
    for _ in range(times):
        consumer.crash()
        seconds, _ = timed(lambda dead=consumer, to=heir: move(csi, volume_id, dead, to))  # type: ignore[misc]
        samples.append(Move(seconds, time.time() - _find_detection(site, volume_id)))
        reboot(site, consumer)
        await_redundant(site, volume_id)
        consumer, heir, third = heir, third, consumer
    return samples, consumer


def longest_moves(moves: Sequence[Move]) -> tuple[Figure, Figure]:
    detected, died = tuple(m.from_detection for m in moves), tuple(m.from_death for m in moves)
    return (
        Figure("longest-move-from-detection", max(detected), "s", _GOAL_FROM_DETECTION, detected),
        Figure("longest-move-after-consumers-death", max(died), "s", _GOAL_FROM_DEATH, died),
    )


def _find_detection(site: Site, volume_id: str) -> float:
    """The time of day at which it was told; the controller runs on this machine."""
    events = site.control.events.list(volume_id)
    return next(event.time for event in events if event.kind == "fenced")
