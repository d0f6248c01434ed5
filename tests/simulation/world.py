"""Everything that is true, whether anybody knows it or not: a plant, the record, what is on its way.

The record is changed by the product's own steps alone. `swap` checks what a record can break by itself; what
machines can break is seen by the plant and by `violations`.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import NamedTuple

from replication.control import insync
from replication.control.store import memory
from replication.model import (
    ArrayReport,
    Attachment,
    Confirmation,
    CopyMode,
    NodeFacts,
    Phase,
    Prepared,
    Replica,
    ReplicaFacts,
    ReplicaState,
    Target,
    Versioned,
    Volume,
)
from tests.simulation import kernel
from tests.simulation.agent import VOLUME, Return, asked_once, number_of, replica_id
from tests.simulation.kernel import Array, Link, Plant, Ways
from tests.simulation.refusing import is_marked

NODES = "abcde"
SIZE = 1
_TARGET = Target("nqn", "10.0.0.1", 4420, "host")


class Ask(NamedTuple):
    """The newest call of a replica's node to make it ready: it may come a second time, or late."""

    epoch: int
    version: int
    export: bool
    renewed: bool = False  # only the first time: a header that knows this version takes no such word again


class Rejoin(NamedTuple):
    """The newest call to bring a member back."""

    node: int
    epoch: int
    replica: int
    how: Return


class Answer(NamedTuple):
    """What a replica's node said, to an operation that waits for it. No boot: it did not answer."""

    replica: int
    boot: int | None
    link: Link | None
    suspect: bool = False


class Operation(NamedTuple):
    """A control process between two calls. It holds the volume's lock, and may die."""

    stage: str
    node: int
    epoch: int
    version: int
    todo: tuple[int, ...] = ()
    answers: tuple[Answer, ...] = ()
    copy: CopyMode = CopyMode.FULL


class World(NamedTuple):
    """`faults` and `delays` are how many more may happen; a delay lets others act between two calls."""

    plant: Plant
    record: Volume
    version: int
    faults: int
    delays: int
    operation: Operation | None = None
    mail: tuple[int, ArrayReport] | None = None  # from which node; it may come twice, late or never
    swaps: tuple[Volume, int, int, ArrayReport] | None = None  # after, the version read, node, report
    words: tuple[tuple[int, Confirmation], ...] = ()  # the two newest, to which node
    asks: tuple[Ask | None, ...] = ()
    rejoin: Rejoin | None = None


def new_world(replicas: int, faults: int, delays: int, ways: Ways) -> World:
    """A volume that was just made: all replicas are zeroes."""
    states = tuple(_new_replica(i, ways) for i in range(replicas))
    record = Volume(
        id=VOLUME,
        name="data",
        pool="p",
        size_bytes=SIZE,
        bitmap_chunk_bytes=1 << 16,
        replica_count=replicas,
        phase=Phase.READY,
        replicas=states,
        next_replica=replicas,
    )
    return World(kernel.new_plant(replicas, ways), record, 1, faults, delays, asks=(None,) * replicas)


def _new_replica(number: int, ways: Ways) -> Replica:
    return Replica(
        id=replica_id(number),
        node=NODES[number],
        volume_group="vg",
        state=ReplicaState.IN_SYNC,
        copy=CopyMode.UNLESS_BOOTED,
        boot_id=boot_id(0),
        volatile_cache=ways.volatile,
    )


@cache
def boot_id(boot: int) -> str:
    return f"boot-{boot}"


def node_number(name: str | None) -> int:
    return NODES.index(name or "")


def in_sync(record: Volume) -> list[int]:
    return [i for i, r in enumerate(record.replicas) if r.state is ReplicaState.IN_SYNC]


def current(world: World) -> Array | None:
    """The array whose reports the record accepts."""
    for array in world.plant.arrays:
        if array.epoch == world.record.epoch and NODES[array.node] == world.record.consumer:
            return array
    return None


def swap(world: World, after: Volume) -> World:
    """Record it, and see whether it may be recorded. Nothing changes when it is what is there."""
    if after == world.record:
        return world
    after, broken = _stamped(world.record, after, world.version + 1)
    early = [r.id for r in after.replicas if _came_early(world, r)]
    wrong = [*broken, *(f"I3: {name} is in sync before its recovery has ended" for name in early)]
    seen = None if after.resync_source != world.record.resync_source else world.plant.seen
    if world.record.resync_source in {replica_id(i) for i in in_sync(after)}:
        seen = world.plant.seen  # its source is still there, and is to stay the source
    plant = world.plant._replace(seen=seen, wrong="; ".join(wrong) or world.plant.wrong)
    return world._replace(plant=plant, record=after, version=world.version + 1)


@asked_once
def _stamped(before: Volume, after: Volume, version: int) -> tuple[Volume, tuple[str, ...]]:
    """As Records does, and what it breaks. What nobody asks for is left out: such worlds are one."""
    stamped = insync.stamp(before, after, 0.0, version)
    rebuilding = ReplicaState.REBUILDING
    kept = tuple(r if r.state is rebuilding or not r.as_of else replace(r, as_of=0) for r in stamped.replicas)
    recorded = replace(stamped, replicas=kept)
    return recorded, insync.check(recorded)


def _came_early(world: World, replica: Replica) -> bool:
    before = insync.get_replica(world.record, replica.id)
    if replica.state is not ReplicaState.IN_SYNC or before.state is ReplicaState.IN_SYNC:
        return False
    array = current(world)  # gone by now: only what its disk holds can tell
    return array is not None and number_of(replica.id) not in kernel.serving(array)


def try_swap(record: Volume, version: int, after: Volume, expected: int) -> Versioned:
    """What the product's store says to it: Conflict when somebody was first."""
    store = memory.MemoryStore()
    store._volumes[record.id] = Versioned(record, version)
    return store.swap_volume(after, expected)


def violations(world: World) -> list[str]:
    """What must never be true, of this moment."""
    broken = [world.plant.wrong] if world.plant.wrong else []
    broken += [
        f"I1: r{i} is in sync and does not hold what was acknowledged"
        for i in in_sync(world.record)
        if not (_is_doubtful(world, i) or world.plant.disks[i].suspect) and _is_wrong(world.plant, i)
    ]
    array = current(world)
    return broken if array is None else broken + _wrong_members(world.plant, array)


def _is_doubtful(world: World, replica: int) -> bool:
    """It may have forgotten, and everybody will know before it is used."""
    site = world.plant.site
    booted = boot_id(site.boots[replica]) != world.record.replicas[replica].boot_id or not site.up[replica]
    clean = world.record.attachment is Attachment.DETACHED and world.record.resync_source is None
    return world.plant.ways.volatile and booted and not clean


def _wrong_members(plant: Plant, array: Array) -> list[str]:
    """Those that md reads from. All are equal when nothing is on its way."""
    members = [i for i in kernel.serving(array) if i in kernel.reached(plant, array, (i,))]
    broken = [f"I1: r{i} is read from and is wrong" for i in members if _is_wrong(plant, i)]
    if array.source is None and not array.held and len({plant.disks[i].value for i in members}) > 1:
        broken.append(f"two members differ: {members}")
    return broken


def _is_wrong(plant: Plant, replica: int) -> bool:
    return plant.disks[replica].value not in plant.allowed


def forgive(world: World) -> World:
    """All replicas in sync have lost power: what their caches forgot, one disk would have forgotten too.

    One that has refused a write does not have it either.
    """
    forgetful = [i for i in in_sync(world.record) if _is_doubtful(world, i)]
    disks = world.plant.disks
    if not forgetful or any(not disks[i].suspect for i in set(in_sync(world.record)).difference(forgetful)):
        return world
    left = {disks[i].value for i in forgetful}
    return world._replace(plant=world.plant._replace(allowed=world.plant.allowed | left))


# What nodes answer


@cache
def replica_facts(replica: int, epoch: int, volatile: bool, suspect: bool) -> ReplicaFacts:
    return ReplicaFacts(
        volume_id=VOLUME,
        replica_id=replica_id(replica),
        volume_group="vg",
        size_bytes=SIZE,
        epoch=epoch,
        record_version=0,
        suspect=suspect,
        volatile_cache=volatile,
    )


def prepared(world: World, answer: Answer) -> Prepared:
    volatile = world.plant.ways.volatile
    facts = replica_facts(answer.replica, world.record.epoch, volatile, answer.suspect)
    return Prepared(facts, boot_id(answer.boot or 0), None if answer.link is None else _TARGET)


def node_facts(world: World) -> Mapping[str, NodeFacts]:
    """Of every node that answers."""
    site = world.plant.site
    nodes = range(len(world.plant.disks))
    return {NODES[i]: _facts_of(world, i) for i in nodes if kernel.hears(site, i)}


def _facts_of(world: World, node: int) -> NodeFacts:
    site, disk = world.plant.site, world.plant.disks[node]
    found = replica_facts(node, disk.epoch, world.plant.ways.volatile, is_marked(disk))
    arrays = (a for a in world.plant.arrays if a.node == node)
    return NodeFacts(
        node=NODES[node],
        cluster="cluster",
        boot_id=boot_id(site.boots[node]),
        kernel="",
        authentication=True,
        disks=(),
        volume_groups=(),
        replicas=() if node in site.dead else (found,),
        arrays=tuple(ArrayReport(VOLUME, a.epoch, a.version, (), resync_done=True) for a in arrays),
    )
