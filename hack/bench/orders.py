"""How long an orchestrator waits: volumes made, attached and mounted, and taken over from a dead consumer."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from hack.bench.figures import Board, Figure, Goal
from hack.demo.csi_calls import Orchestrator
from hack.lab.vm import Machine
from replication.model import MIB

SIZE_BYTES = 256 * MIB
POOL = "nvme"
_CREATIONS, _ATTACHMENTS = 7, 5

T = TypeVar("T")


def timed(act: Callable[[], T]) -> tuple[float, T]:
    begun = time.monotonic()
    result = act()
    return time.monotonic() - begun, result


def median_figure(name: str, samples: Sequence[float], goal: float) -> Figure:
    """Seconds, to be at most `goal`."""
    return Figure(name, statistics.median(samples), "s", Goal("<=", goal), tuple(samples))


def measure_creation(board: Board, csi: Orchestrator) -> list[str]:
    """The volumes that were made."""
    found = [timed(lambda n=n: csi.create(f"bench-{n}", POOL, SIZE_BYTES)) for n in range(_CREATIONS)]  # type: ignore[misc]
    board.add(median_figure("create-volume-p50", [seconds for seconds, _ in found], 2.0))
    return [volume_id for _, volume_id in found]


def measure_attachment(board: Board, csi: Orchestrator, volumes: Sequence[str], consumer: Machine) -> None:
    """The first use of each volume, so that its file system is made as well."""
    samples = []
    for volume_id in volumes[:_ATTACHMENTS]:
        samples.append(timed(lambda v=volume_id: use(csi, v, consumer))[0])  # type: ignore[misc]
        csi.unmount(volume_id, consumer)
        csi.detach(volume_id, consumer)
    board.add(median_figure("publish-stage-publish-p50", samples, 3.0))


def use(csi: Orchestrator, volume_id: str, machine: Machine) -> None:
    """Attached and mounted."""
    csi.mount(volume_id, machine, csi.attach(volume_id, machine))


def measure_takeover(
    board: Board, csi: Orchestrator, volumes: Sequence[str], dead: Machine, heir: Machine
) -> None:
    """`volumes` are attached to `dead`, which loses power now. Each is moved by a decision of its own."""
    dead.crash()
    samples = []
    for volume_id in volumes:
        samples.append(timed(lambda v=volume_id: move(csi, v, dead, heir))[0])  # type: ignore[misc]
        csi.unmount(volume_id, heir)
    board.add(median_figure("usable-after-consumers-death", samples, 15.0))


def move(csi: Orchestrator, volume_id: str, dead: Machine, heir: Machine) -> None:
    """From a consumer that does not answer, until it is mounted."""
    csi.detach(volume_id, dead)
    use(csi, volume_id, heir)
