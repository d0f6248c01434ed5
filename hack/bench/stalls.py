"""How long writes stand still when a replica is lost, by how it is lost."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from hack.bench.figures import Board, Figure, Goal
from hack.bench.observe import await_redundant, await_that, find_state
from hack.checker.collector import Collector
from hack.demo.csi_calls import TARGET
from hack.lab.checking import start_writer
from hack.lab.network import HOST_ADDRESS
from hack.lab.site import Site
from hack.lab.vm import Machine
from replication.model import ReplicaState

_REFUSE = """
for link in /sys/kernel/config/nvmet/ports/*/subsystems/*; do rm "$link"; done
"""
"""The listener goes with the last subsystem: the kernel answers with a reset, as one that has just booted."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A way of losing a replica, and of having its machine back in order."""

    name: str
    goal: float  # seconds
    times: int
    strike: Callable[[Machine], object]
    mend: Callable[[Site, Machine], object]


def reboot(site: Site, machine: Machine) -> None:
    machine.crash()
    machine.start()
    site.start_agent(machine)
    site.wait_for_agent(machine)
    site.start_node_plugin(machine)


SILENT_GOAL, LOUD_GOAL = 5.0, 1.5
POWER_CUT = Loss("stall-power-cut", SILENT_GOAL, 3, lambda machine: machine.crash(), reboot)
REFUSED = Loss("stall-refused", LOUD_GOAL, 3, lambda machine: machine.succeed(_REFUSE), lambda *_: None)
DISK_ERRORS = Loss(
    "stall-disk-errors",
    LOUD_GOAL,
    3,
    lambda machine: machine.fail_disk_io(),
    lambda _, machine: machine.heal_disk_io(),
)
LOSSES = (
    Loss("stall-silent", SILENT_GOAL, 3, lambda machine: machine.cut(), lambda _, machine: machine.heal()),
    REFUSED,
    DISK_ERRORS,
    Loss("stall-disk-gone", LOUD_GOAL, 1, lambda machine: machine.break_disk(), reboot),
)


@contextmanager
def writing(consumer: Machine) -> Iterator[Collector]:
    """The checker's writers at work in the file system at TARGET of `consumer`."""
    with Collector(HOST_ADDRESS) as collector:
        writers = start_writer(consumer, f"{TARGET}/checked", collector.endpoint)
        try:
            yield collector
        finally:
            writers.kill()
            writers.wait()


def measure_stalls(
    board: Board,
    site: Site,
    volume_id: str,
    consumer: Machine,
    victims: Sequence[Machine],
    losses: Sequence[Loss] = LOSSES,
) -> None:
    """The volume is mounted at TARGET of `consumer`, with a replica on each victim."""
    for loss in losses:
        board.add(longest(loss, sample_stalls(site, volume_id, consumer, victims, loss)))


def longest(loss: Loss, samples: tuple[float, ...]) -> Figure:
    return Figure(loss.name, max(samples), "s", Goal("<=", loss.goal), samples)


def sample_stalls(
    site: Site, volume_id: str, consumer: Machine, victims: Sequence[Machine], loss: Loss
) -> tuple[float, ...]:
    """Seconds of each time, the victims taking turns. Mounted as for `measure_stalls`."""
    with writing(consumer) as collector:
        turns = [victims[number % len(victims)] for number in range(loss.times)]
        samples = tuple(_lose(site, volume_id, collector, loss, victim) for victim in turns)
        if collector.errors():
            raise AssertionError(f"writes failed: {collector.errors()[:5]}")
        return samples


def _lose(site: Site, volume_id: str, collector: Collector, loss: Loss, victim: Machine) -> float:
    """Seconds without any acknowledgement."""
    _await_writes(collector, 100)
    collector.restart_stall_watch()
    loss.strike(victim)
    await_that(
        lambda: find_state(site, volume_id, victim.name) is not ReplicaState.IN_SYNC,
        f"{loss.name}: the replica on {victim.name} to be recorded stale",
    )
    _await_writes(collector, 50)
    stall = collector.stall()
    loss.mend(site, victim)
    await_redundant(site, volume_id)
    return stall


def _await_writes(collector: Collector, count: int) -> None:
    goal = collector.acknowledged() + count
    await_that(lambda: collector.acknowledged() >= goal, f"{count} more acknowledged writes")
