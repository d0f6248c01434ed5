"""How long a volume is away when its consumer dies: given up there, attached and mounted elsewhere."""

from collections.abc import Sequence

from hack.bench.figures import Figure, Goal
from hack.bench.observe import await_redundant
from hack.bench.orders import move, timed
from hack.bench.stalls import reboot
from hack.demo.csi_calls import Orchestrator
from hack.lab.site import Site
from hack.lab.vm import Machine

_GOAL = Goal("<=", 10.0)


def sample_moves(
    site: Site, csi: Orchestrator, volume_id: str, machines: Sequence[Machine], times: int
) -> tuple[list[float], Machine]:
    """Seconds of each, and the consumer in the end. The volume is mounted on the first; whoever has it dies.

    From the decision to give it up: whoever decides has detected the death.
    """
    consumer, heir, third = machines
    samples = []
    for _ in range(times):
        consumer.crash()
        samples.append(timed(lambda dead=consumer, to=heir: move(csi, volume_id, dead, to))[0])  # type: ignore[misc]
        reboot(site, consumer)
        await_redundant(site, volume_id)
        consumer, heir, third = heir, third, consumer
    return samples, consumer


def longest_move(samples: Sequence[float]) -> Figure:
    return Figure("longest-move-after-consumers-death", max(samples), "s", _GOAL, tuple(samples))
