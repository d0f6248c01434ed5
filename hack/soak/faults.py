"""Which fault comes next: a pure function of a seed's numbers and of what the faults before it did.

Of every volume one replica at least is spared until all is healed: `Placed.left` knows which. It counts what
a fault may cost, not what it does cost, so that a seed draws the same faults on every machine.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from replication.model import MIB

GROWTH_BYTES = 8 * MIB
LARGEST_BYTES = 96 * MIB
TIMES = (0.5, 2.0, 5.0, 8.0)  # seconds: a blip, a loss that is just noticed, and losses that are


class Kind(StrEnum):
    """What can happen, in the words of the list that is printed in the end."""

    POWER_CUT = "power cut"
    TAKEN_OVER = "consumer's power cut and move"
    BLACKOUT = "power cut of all machines"
    CUT = "link cut"
    FLAP = "link that flaps"
    DEGRADED = "link with delay and loss"
    PARTED = "link cut between two machines"
    DISK_ERRORS = "disk that errs"
    FROZEN = "frozen machine"
    CLOCK_SHIFTED = "clock that jumps"
    AGENT_KILLED = "agent killed"
    CONTROL_KILLED = "control plane killed"
    STORE_LOCKED = "store that does not answer"
    SCRUBBED = "scrub"
    MOVED = "detach and attach"
    EXPANDED = "expansion"
    HEALED = "machine healed early"


LASTING = {Kind.POWER_CUT, Kind.TAKEN_OVER, Kind.CUT, Kind.DEGRADED, Kind.PARTED, Kind.DISK_ERRORS}
"""These stay until somebody heals the machine; the others are over when the next fault is drawn."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`node` is who it happens to, `other` the other node in it, `volume` a volume's name."""

    kind: Kind
    node: str = ""
    other: str = ""
    volume: str = ""
    seconds: float = 0.0  # of one that ends by itself

    def __str__(self) -> str:
        texts = {
            Kind.POWER_CUT: "{0.node} loses power",
            Kind.TAKEN_OVER: "{0.node} loses power, and its volumes go to {0.other}",
            Kind.BLACKOUT: "all machines lose power",
            Kind.CUT: "the cable of {0.node} is out",
            Kind.FLAP: "the link of {0.node} flaps, {0.seconds:g} s a time",
            Kind.DEGRADED: "what {0.node} sends is late, and 5 % of it lost",
            Kind.PARTED: "{0.node} and {0.other} do not hear each other",
            Kind.DISK_ERRORS: "the disk of {0.node} errs",
            Kind.FROZEN: "{0.node} is frozen for {0.seconds:g} s",
            Kind.CLOCK_SHIFTED: "the clock of {0.node} is an hour ahead for {0.seconds:g} s",
            Kind.AGENT_KILLED: "the agent of {0.node} is killed, and started again after {0.seconds:g} s",
            Kind.CONTROL_KILLED: "the control plane is killed, and started again after {0.seconds:g} s",
            Kind.STORE_LOCKED: "the store does not answer for {0.seconds:g} s",
            Kind.SCRUBBED: "replicas of {0.volume} are compared by {0.node}",
            Kind.MOVED: "{0.volume} is detached from {0.node} and attached to {0.other}",
            Kind.EXPANDED: "{0.volume} grows on {0.node}",
            Kind.HEALED: "{0.node} is healed",
        }
        return texts[self.kind].format(self)


@dataclass(frozen=True, slots=True)
class Placed:
    """A volume, the nodes of its replicas, and those whose replicas have surely missed nothing so far."""

    name: str
    consumer: str
    size_bytes: int
    replicas: frozenset[str]
    left: frozenset[str]


@dataclass(frozen=True, slots=True)
class World:
    """What faults have made of the machines. `ailing` has a node once for each fault that lasts."""

    nodes: tuple[str, ...]
    volumes: tuple[Placed, ...]
    ailing: tuple[Fault, ...] = ()
    dark: bool = False

    def is_well(self, node: str) -> bool:
        return not self.dark and all(node not in {fault.node, fault.other} for fault in self._felt())

    def _felt(self) -> Iterator[Fault]:
        """Who took volumes over is well."""
        return (replace(f, other="") if f.kind is Kind.TAKEN_OVER else f for f in self.ailing)

    def consumed(self, node: str) -> tuple[Placed, ...]:
        return tuple(volume for volume in self.volumes if volume.consumer == node)


def healed(world: World) -> World:
    """All machines run, and every replica is in sync again."""
    volumes = tuple(replace(volume, left=volume.replicas) for volume in world.volumes)
    return World(world.nodes, volumes)


def choose_fault(numbers: random.Random, world: World) -> Fault | None:
    """None when nothing may happen before all is healed."""
    possible = list_possible(world)
    if not possible:
        return None
    kind = numbers.choice(sorted({fault.kind for fault in possible}))
    fault = numbers.choice([fault for fault in possible if fault.kind is kind])
    return replace(fault, seconds=numbers.choice(TIMES))


def list_possible(world: World) -> list[Fault]:
    """Everything that leaves every volume a replica, and can be done now."""
    if world.dark:
        return []
    return [fault for draw in _DRAWS for fault in draw(world) if _spares(strike(world, fault))]


def strike(world: World, fault: Fault) -> World:
    """What is known afterwards."""
    if fault.kind is Kind.BLACKOUT:
        return replace(world, dark=True)
    if fault.kind is Kind.HEALED:
        return replace(world, ailing=tuple(f for f in world.ailing if f.node != fault.node))
    volumes = tuple(_strike_volume(volume, fault) for volume in world.volumes)
    ailing = (*world.ailing, fault) if fault.kind in LASTING else world.ailing
    return replace(world, volumes=volumes, ailing=ailing)


def _strike_volume(volume: Placed, fault: Fault) -> Placed:
    if fault.kind is Kind.MOVED and volume.name == fault.volume:
        return replace(volume, consumer=fault.other)
    if fault.kind is Kind.EXPANDED and volume.name == fault.volume:
        return replace(volume, size_bytes=volume.size_bytes + GROWTH_BYTES)
    left = volume.left - _cost(volume, fault)
    taken = fault.kind is Kind.TAKEN_OVER and volume.consumer == fault.node
    return replace(volume, left=left, consumer=fault.other if taken else volume.consumer)


def _cost(volume: Placed, fault: Fault) -> frozenset[str]:
    """The replicas that may be stale for it. A consumer that hears nobody has its own one only."""
    if fault.kind is Kind.PARTED:
        pair = {fault.node, fault.other}
        return frozenset(pair - {volume.consumer} if volume.consumer in pair else ())
    if fault.kind in {Kind.CUT, Kind.FLAP, Kind.DEGRADED, Kind.FROZEN} and volume.consumer == fault.node:
        return volume.left - {fault.node}
    if fault.kind in LASTING or fault.kind in {Kind.FLAP, Kind.FROZEN}:
        return frozenset({fault.node})
    return frozenset()


def _spares(world: World) -> bool:
    return all(volume.left for volume in world.volumes)


_ONE_MACHINE = (
    Kind.CUT,
    Kind.FLAP,
    Kind.DEGRADED,
    Kind.DISK_ERRORS,
    Kind.FROZEN,
    Kind.CLOCK_SHIFTED,
    Kind.AGENT_KILLED,
)


def _draw_machines(world: World) -> Iterator[Fault]:
    """What can happen to any machine that nothing is wrong with yet."""
    for node in filter(world.is_well, world.nodes):
        yield from (Fault(kind, node) for kind in _ONE_MACHINE)


def _draw_power(world: World) -> Iterator[Fault]:
    for node in filter(world.is_well, world.nodes):
        yield Fault(Kind.POWER_CUT, node)
        if world.consumed(node):
            others = (other for other in world.nodes if other != node and world.is_well(other))
            yield from (Fault(Kind.TAKEN_OVER, node, other) for other in others)


def _draw_blackout(world: World) -> Iterator[Fault]:
    """Where all are in sync: who was left behind before could be the one that starts."""
    if not world.ailing and all(volume.left == volume.replicas for volume in world.volumes):
        yield Fault(Kind.BLACKOUT)


def _draw_parted(world: World) -> Iterator[Fault]:
    """One of them consumes something, or nobody would notice."""
    for node in filter(world.is_well, world.nodes):
        others = (other for other in world.nodes if other != node and world.is_well(other))
        yield from (Fault(Kind.PARTED, node, other) for other in others if world.consumed(node))


def _draw_operations(world: World) -> Iterator[Fault]:
    """What people do, where the consumer answers."""
    yield Fault(Kind.CONTROL_KILLED)
    yield Fault(Kind.STORE_LOCKED)
    for volume in world.volumes:
        if world.is_well(volume.consumer):
            yield Fault(Kind.SCRUBBED, volume.consumer, volume=volume.name)
            targets = filter(world.is_well, world.nodes)
            yield from (Fault(Kind.MOVED, volume.consumer, node, volume.name) for node in targets)
            if volume.size_bytes + GROWTH_BYTES <= LARGEST_BYTES:
                yield Fault(Kind.EXPANDED, volume.consumer, volume=volume.name)


def _draw_healing(world: World) -> Iterator[Fault]:
    """The next fault comes during its recovery."""
    yield from (Fault(Kind.HEALED, node) for node in sorted({fault.node for fault in world.ailing}))


_DRAWS: tuple[Callable[[World], Iterator[Fault]], ...] = (
    _draw_machines,
    _draw_power,
    _draw_blackout,
    _draw_parted,
    _draw_operations,
    _draw_healing,
)
