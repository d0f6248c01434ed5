"""One volume's disks, exports and arrays, as the data-plane facts say that kernels really treat them. Pure.

One bitmap chunk of the volume is followed. What a disk holds there is a number, a new one for every write,
so that two disks are equal when their numbers are. `allowed` are the numbers that a replica in sync may hold:
the newest acknowledged write, and those issued since and not acknowledged.

What kernels do, and not what one would wish, is listed in shown.py, each with the test that shows it.
"""

from collections.abc import Iterable
from typing import NamedTuple

NOTHING = 0  # what all disks hold in the beginning
FREE = -1  # where a slot has no member


class Ways(NamedTuple):
    """What the machines have: the assumptions that the argument rests on."""

    hold: bool = True
    drain: bool = True
    orderly: bool = True  # a connection comes back only when what the old one had brought is done
    prompt: bool = True  # a confirmation does not outlive the agent that it was sent to
    volatile: bool = False  # disks forget at a power cut what was not flushed


class Link(NamedTuple):
    """What makes an export's name, and so which one a member is connected to."""

    epoch: int
    version: int
    boot: int
    name: str


class Disk(NamedTuple):
    """A replica on its disk, and what its node serves of it."""

    value: int = NOTHING
    durable: int = NOTHING
    bit: bool = False
    epoch: int = 0  # the header's
    exports: tuple[Link, ...] = ()
    queued: tuple[Link, int] | None = None  # a write that the target has accepted and not done yet
    suspect: bool = False  # it refused a write, and its node's kernel knows
    unmarked: bool = False  # its header does not say so yet


class Member(NamedTuple):
    """A member of an array. `link` is None when it is local."""

    link: Link | None
    in_sync: bool = True  # md's word
    full: bool = False  # while it is not: copied without the bitmap
    joined: bool = False  # came by a rejoin, and nobody has said yet that the record counts it
    released: bool = False
    faulty: bool = False  # by md's own word: an error passed its hold layer
    suspected_in: int = 0
    covered: bool = False
    fresh: bool = True  # its newest flush is younger than a bit
    attempt: int = 0  # version of the record by which a local one came back, until the record counts it


class Array(NamedTuple):
    """What a node runs."""

    node: int
    epoch: int
    version: int  # of the newest record that its agent was told
    members: tuple[Member | None, ...]  # by replica
    slots: tuple[int, ...]  # replicas, lowest slot first; FREE: nobody has it
    source: int | None  # of a resync that is owed
    bit: bool
    sequence: int = 1
    told: bool = False  # somebody knows of it, and may write
    held: int = NOTHING  # a write that is not acknowledged yet
    sent: bool = False  # its data has gone out, not only its bit
    pending: frozenset[int] = frozenset()  # members that have not answered it
    done_before: bool = False  # it was on all that a newer array started with: only its answer is late
    looked: bool = False  # all that had failed was dropped: the agent is about to let go what waits


class Site(NamedTuple):
    """Power and cables. A cut is a pair of nodes, the control plane is CONTROL."""

    up: tuple[bool, ...]
    boots: tuple[int, ...]
    cuts: frozenset[tuple[int, int]] = frozenset()
    dead: frozenset[int] = frozenset()  # disks


CONTROL = -1


class Plant(NamedTuple):
    """All of it, and what must be true of it."""

    ways: Ways
    site: Site
    disks: tuple[Disk, ...]
    arrays: tuple[Array, ...]
    allowed: frozenset[int] = frozenset({NOTHING})
    seen: int | None = None  # what was read while a resync was owed
    wanted: int = 0  # members of a complete array
    wrong: str = ""  # what nobody may ever see has been seen


def new_plant(replicas: int, ways: Ways) -> Plant:
    site = Site((True,) * replicas, (0,) * replicas)
    return Plant(ways, site, (Disk(),) * replicas, (), wanted=replicas)


def is_cut(site: Site, one: int, other: int) -> bool:
    return (min(one, other), max(one, other)) in site.cuts


def hears(site: Site, node: int) -> bool:
    """Whether the control plane can talk to it."""
    return site.up[node] and (CONTROL, node) not in site.cuts


def reaches(plant: Plant, array: Array, replica: int, member: Member) -> bool:
    """Whether a request of `array` to a member is answered."""
    site = plant.site
    if replica in site.dead or not site.up[replica] or member.faulty:
        return False
    if member.link is None:
        return True
    served = any(link.name == member.link.name for link in plant.disks[replica].exports)
    return served and not is_cut(site, array.node, replica)


def present(array: Array) -> list[int]:
    """Replicas whose members have not been dropped."""
    return [i for i, m in enumerate(array.members) if m is not None and not m.released]


def taking(array: Array) -> list[int]:
    """Replicas whose members are written to."""
    return [i for i, m in enumerate(array.members) if m is not None and not (m.released or m.faulty)]


def serving(array: Array) -> list[int]:
    """Replicas whose members could keep the array going alone."""
    return [i for i in taking(array) if (m := array.members[i]) is not None and m.in_sync]


def is_blocked(array: Array) -> bool:
    """No write begins until somebody has seen which member failed, and lets md go on."""
    return any(m is not None and m.faulty and not m.released for m in array.members)


def reached(plant: Plant, array: Array, replicas: Iterable[int]) -> frozenset[int]:
    return frozenset(
        i for i in replicas if (m := array.members[i]) is not None and reaches(plant, array, i, m)
    )


def is_newest(plant: Plant, array: Array) -> bool:
    return all(other.epoch <= array.epoch for other in plant.arrays)


def with_array(plant: Plant, old: Array, new: Array | None) -> Plant:
    kept = tuple(new if a is old and new is not None else a for a in plant.arrays if a is not old or new)
    return plant._replace(arrays=kept)


def with_disk(plant: Plant, replica: int, disk: Disk) -> Plant:
    return plant._replace(disks=(*plant.disks[:replica], disk, *plant.disks[replica + 1 :]))


def with_member(array: Array, replica: int, member: Member | None) -> Array:
    return array._replace(members=(*array.members[:replica], member, *array.members[replica + 1 :]))


# Writes


def write(plant: Plant, array: Array, slow: int | None = None) -> Plant:
    """A new write. The target of replica `slow` takes its time with it."""
    plant, begun = begin(plant, array)
    if slow is not None and array.bit and not is_blocked(array):
        return _queue(plant, begun, slow)
    return go_on(plant, begun)


def begin(plant: Plant, array: Array) -> tuple[Plant, Array]:
    token = _unused(plant)
    allowed = plant.allowed | {token} if is_newest(plant, array) else plant.allowed
    begun = array._replace(held=token, sent=False, pending=frozenset(taking(array)))
    return with_array(plant, array, begun)._replace(allowed=allowed, seen=None), begun


def _unused(plant: Plant) -> int:
    used = {NOTHING, *plant.allowed, *(a.held for a in plant.arrays)}
    for disk in plant.disks:
        used |= {disk.value, disk.durable, disk.queued[1] if disk.queued else NOTHING}
    return next(n for n in range(1, len(used) + 1) if n not in used)


def _queue(plant: Plant, array: Array, slow: int) -> Plant:
    """All others answer; this one's target has accepted the write and not done it."""
    member = array.members[slow]
    if member is None or member.link is None or not reaches(plant, array, slow, member):
        return go_on(plant, array)
    others = reached(plant, array, array.pending - {slow})
    plant = _land(plant, others, array.held)
    disk = plant.disks[slow]._replace(queued=(member.link, array.held))
    left = array._replace(sent=True, pending=array.pending - others)
    return with_array(with_disk(plant, slow, disk), array, left)


def catch_up(plant: Plant, replica: int) -> Plant:
    """The target does what it had accepted, whatever became of the connection."""
    queued = plant.disks[replica].queued
    if queued is None:
        return plant
    plant = _land(plant, (replica,), queued[1])
    plant = with_disk(plant, replica, plant.disks[replica]._replace(queued=None))
    for array in plant.arrays:
        waits = array.held == queued[1] and replica in array.pending
        if waits and replica in reached(plant, array, (replica,)):
            left = array._replace(pending=array.pending - {replica})
            plant = _end_if_done(with_array(plant, array, left), left)
    return plant


def go_on(plant: Plant, array: Array) -> Plant:
    """What an array waits for is sent again, as far as it gets."""
    if not array.held or (is_blocked(array) and not array.sent):
        return plant
    if not array.sent:
        plant, array = _send_bit(plant, array)
    if array.sent:
        there = reached(plant, array, array.pending) - _accepted(plant, array)
        plant = _land(plant, there, array.held)
        left = array._replace(pending=array.pending - there)
        plant, array = with_array(plant, array, left), left
    if not plant.ways.hold:
        plant, array = _fail_unasked(plant, array)
    return _end_if_done(plant, array)


def _accepted(plant: Plant, array: Array) -> set[int]:
    """Replicas whose targets have it already, and will answer."""
    if not plant.ways.orderly:
        return set()
    return {i for i, d in enumerate(plant.disks) if d.queued is not None and d.queued[1] == array.held}


def _send_bit(plant: Plant, array: Array) -> tuple[Plant, Array]:
    """Data follows when every member has the bit."""
    if not array.bit:
        there = reached(plant, array, array.pending)
        plant = mark(plant, there)
        waiting = array.pending - there
        if waiting:
            after = array._replace(pending=waiting)
            return with_array(plant, array, after), after
    after = array._replace(bit=True, sent=True, pending=frozenset(taking(array)))
    return with_array(plant, array, after), after


def _fail_unasked(plant: Plant, array: Array) -> tuple[Plant, Array]:
    """Without a hold layer: md marks a member and acknowledges what fails on it from then on."""
    after = array
    for replica in array.pending - reached(plant, array, array.pending):
        member, left = after.members[replica], set(serving(after)) - {replica}
        if member is not None and left:
            after = with_member(after, replica, member._replace(released=True))
            after = after._replace(pending=after.pending - {replica})
    return with_array(plant, array, after), after


def _end_if_done(plant: Plant, array: Array) -> Plant:
    if not array.held or array.pending:
        return plant
    if not array.sent:
        return go_on(plant, array)
    done = with_array(plant, array, array._replace(held=NOTHING, sent=False, done_before=False))
    if is_newest(plant, array):
        return done._replace(allowed=frozenset({array.held}))
    if array.done_before:
        return done
    return done._replace(wrong="I2: a write was acknowledged in an epoch that a newer array had ended")


def start(plant: Plant, array: Array) -> Plant:
    """A newer array. What older ones wait for has taken effect if it is on all that start, else it never may.

    An answer that is on its way cannot be called back; it is of a write that was before all newer ones.
    """
    begun = [i for i, m in enumerate(array.members) if m is not None]
    older = tuple(
        a._replace(done_before=all(plant.disks[i].value == a.held for i in begun)) if a.held else a
        for a in plant.arrays
    )
    return plant._replace(arrays=(*older, array))


def _land(plant: Plant, replicas: Iterable[int], token: int) -> Plant:
    for replica in replicas:
        disk = plant.disks[replica]
        durable = disk.durable if plant.ways.volatile else token
        plant = with_disk(plant, replica, disk._replace(value=token, durable=durable))
    return plant


def mark(plant: Plant, replicas: Iterable[int]) -> Plant:
    for replica in replicas:
        plant = with_disk(plant, replica, plant.disks[replica]._replace(bit=True))
    return plant


# What md and the agent's flusher do by themselves


def read(plant: Plant, array: Array, replica: int) -> Plant:
    """A read that `replica` answers. While a resync is owed, md asks slot 0 whatever it holds."""
    value = plant.disks[replica].value
    if value not in plant.allowed:
        return plant._replace(wrong=f"I1: a read of r{replica} gave what no replica in sync may hold")
    if array.held:
        return plant
    if plant.seen not in {None, value}:
        return plant._replace(wrong="a block changed under its reader without a write")
    if array.source is None:
        return plant._replace(allowed=frozenset({value}), seen=None)
    return plant._replace(seen=value)


def readers(plant: Plant, array: Array) -> list[int]:
    """Replicas that md would read from."""
    members = in_slots(array)[: 1 if array.source is not None else None]
    return [i for i in members if i in reached(plant, array, (i,))]


def in_slots(array: Array) -> list[int]:
    """Members that serve, lowest slot first."""
    members = serving(array)
    return [i for i in array.slots if i in members]


def choose_source(array: Array) -> int:
    """md's choice: the lowest that is not write-mostly, else the lowest (raid1_sync_request, `wonly`)."""
    members = in_slots(array)
    if array.source is not None and array.source in members:
        return array.source
    return array.node if array.node in members else members[0]


def end_resync(plant: Plant, array: Array) -> Plant | None:
    """What is marked is equal now. None while a member does not answer."""
    members = serving(array)
    if array.source is None or array.held or len(reached(plant, array, members)) < len(members):
        return None
    if array.bit:
        plant = _land(plant, members, plant.disks[choose_source(array)].value)
    return with_array(plant, array, array._replace(source=None))


def end_recovery(plant: Plant, array: Array, replica: int) -> Plant | None:
    """None while it cannot end."""
    member = array.members[replica]
    sources = [i for i in serving(array) if i in reached(plant, array, (i,))]
    if member is None or member.in_sync or member.released or array.held or not sources:
        return None
    if not reaches(plant, array, replica, member):
        return None
    if member.full or array.bit:
        plant = _land(plant, (replica,), plant.disks[sources[0]].value)
    plant = with_disk(plant, replica, plant.disks[replica]._replace(bit=array.bit))
    done = with_member(array, replica, member._replace(in_sync=True, full=False))
    return with_array(plant, array, done)


def clear_bits(plant: Plant, array: Array) -> Plant | None:
    """md's daemon, on a complete array at rest: what was not flushed by now was not flushed lately."""
    everybody = serving(array)
    complete = len(everybody) == plant.wanted == len(taking(array)) and array.source is None
    if not array.bit or array.held or not complete or len(reached(plant, array, everybody)) < len(everybody):
        return None
    after = array._replace(bit=False)
    for replica in everybody:
        disk, member = plant.disks[replica], after.members[replica]
        if member is not None and disk.value != disk.durable:
            after = with_member(after, replica, member._replace(fresh=False))
        plant = with_disk(plant, replica, disk._replace(bit=False))
    return with_array(plant, array, after)


def flush(plant: Plant, array: Array) -> Plant:
    """Every member that answers is flushed."""
    after = array
    for replica in reached(plant, array, taking(array)):
        disk, member = plant.disks[replica], after.members[replica]
        if member is not None:
            plant = with_disk(plant, replica, disk._replace(durable=disk.value))
            after = with_member(after, replica, member._replace(fresh=True))
    return with_array(plant, array, after)
