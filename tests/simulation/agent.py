"""The agent over the simulated kernel: its own pure parts, and the order of its steps.

What the agent decides is asked of the product: `judge`, `is_dropped_by`, `bitmap_covers`, `choose_members`,
`choose_slot`, the names of exports, the union of bitmaps. What it does to the kernel is done to a Plant
instead. Acts raise what the real ones raise.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple, TypeVar, cast

from replication.agent import attachment, flush, judge, names, release
from replication.agent.members import Joint, Remote
from replication.agent.rejoin import choose_slot
from replication.errors import FailedPrecondition, KernelError, NotFound, StaleEpoch, TimedOut, Unavailable
from replication.kernel import bitmap
from replication.kernel.md_state import ArrayState, MemberState
from replication.model import ArrayReport, Confirmation, MemberHealth, MemberReport
from tests.simulation import kernel, pending
from tests.simulation.kernel import Array, Link, Member, Plant

VOLUME = "v0"
_REMOTE = Remote("nqn", "nvme0", "10.0.0.1", 4420)
_CHUNK = ((0, 0),)
_LONG_AGO = 1000.0


Decided = TypeVar("Decided", bound=Callable[..., object])
_ASKED: list[Callable[[], None]] = []


def asked_once(decide: Decided) -> Decided:
    """What the product decides of the same values is the same, until `forget`."""
    remembering = cache(decide)
    _ASKED.append(remembering.cache_clear)
    return cast("Decided", remembering)


def forget() -> None:
    """What was asked of the product once may have another answer now: it has been changed on purpose."""
    for clear in _ASKED:
        clear()


def replica_id(replica: int) -> str:
    return f"r{replica}"


def number_of(replica: str) -> int:
    return int(replica[1:])


@asked_once
def make_link(replica: int, epoch: int, version: int, boot: int) -> Link:
    name = names.ExportName(VOLUME, replica_id(replica), epoch, version, f"{boot:08x}")
    return Link(epoch, version, boot, str(name))


def find_array(plant: Plant, node: int) -> Array | None:
    return next((array for array in plant.arrays if array.node == node), None)


def get_array(plant: Plant, node: int, epoch: int) -> Array:
    array = find_array(plant, node)
    if array is None:
        raise NotFound("no array")
    if array.epoch != epoch:
        raise StaleEpoch("the array is of another epoch")
    return array


# The target side


def prepare(
    plant: Plant, replica: int, epoch: int, version: int, *, export: bool, renewed: bool = False
) -> tuple[Plant, Link]:
    """End what older epochs left, raise the header, export. An array of ours on that disk goes first.

    The header says from now on that its disk refused a write, unless it is `renewed`: all of it is about to
    be copied.
    """
    array = find_array(plant, replica)
    if array is None or array.epoch < epoch:
        plant = abandon(plant, replica, epoch - 1)
    if epoch < plant.disks[replica].epoch:
        raise StaleEpoch("the header has seen a later epoch")
    if any(each.epoch == epoch and each.version > version for each in plant.disks[replica].exports):
        raise StaleEpoch("it is exported for a later version of the record")
    link = make_link(replica, epoch, version, plant.site.boots[replica])
    kept = tuple(each for each in plant.disks[replica].exports if export and each.name == link.name)
    if not kept:
        plant = _fence(plant, replica)
    exports = (link,) if export else ()
    disk = plant.disks[replica]
    suspect = disk.suspect and not renewed
    return kernel.with_disk(
        plant, replica, disk._replace(epoch=epoch, exports=exports, suspect=suspect, unmarked=False)
    ), link


def _fence(plant: Plant, replica: int) -> Plant:
    """With the drain, what the target had accepted is done before the fence returns."""
    if plant.ways.drain:
        plant = kernel.catch_up(plant, replica)
    return kernel.with_disk(plant, replica, plant.disks[replica]._replace(exports=()))


def release_export(plant: Plant, replica: int, epoch: int) -> Plant:
    if any(link.epoch <= epoch for link in plant.disks[replica].exports):
        return _fence(plant, replica)
    return plant


# The consumer's side


def attach(
    plant: Plant, node: int, epoch: int, version: int, links: dict[int, Link | None], *, resync: bool
) -> Plant:
    """`links`: who starts, in the order that the record asks for; None for the local one.

    That has been made ready since the last boot (`require_ready`).
    """
    there = find_array(plant, node)
    if there is not None and there.epoch == epoch:
        return plant
    if there is not None and there.epoch > epoch:
        raise StaleEpoch("a later array is there")
    plant = abandon(plant, node, epoch)
    slots, source = _choose_slots(links, resync=resync)
    bits = [_CHUNK if plant.disks[i].bit else () for i in slots]
    members = tuple(Member(links[i]) if i in links else None for i in range(len(plant.disks)))
    made = Array(node, epoch, version, members, slots, source, bit=bool(bitmap.unite(bits)))
    _require_reached(plant, made, epoch)
    return kernel.start(plant, made)


def require_ready(plant: Plant, node: int, boot: int | None) -> None:
    """Its replica has been made ready in this boot, or is none of those that start."""
    if boot not in {None, plant.site.boots[node]}:
        raise Unavailable("the local replica was made ready before the boot")


def _choose_slots(links: dict[int, Link | None], *, resync: bool) -> tuple[tuple[int, ...], int | None]:
    order = list(links) if resync else sorted(links, key=lambda i: links[i] is not None)
    specs = attachment.choose_members([_joint(i, Member(links[i])) for i in order], resync=resync)
    by_slot = sorted(zip(specs, order, strict=True), key=lambda pair: pair[0].slot)
    slots = tuple(i for _, i in by_slot)
    if not resync or len(slots) == 1:  # md forgets that a resync is owed when one member starts alone
        return slots, None
    return slots, next(i for spec, i in by_slot if not spec.write_mostly)


def _require_reached(plant: Plant, array: Array, epoch: int) -> None:
    starting = [i for i, m in enumerate(array.members) if m is not None]
    if any(plant.disks[i].epoch > epoch for i in starting if array.members[i] == Member(None)):
        raise StaleEpoch("the local replica has seen a later epoch")
    if len(kernel.reached(plant, array, starting)) < len(starting):
        raise Unavailable("a member is not reached")


def _attempt(member: Member) -> int:
    return member.attempt if member.link is None else member.link.version


def _joint(replica: int, member: Member) -> Joint:
    return Joint(
        replica_id=replica_id(replica),
        hold="",
        kname=str(replica),
        below="",
        remote=None if member.link is None else _REMOTE,
        joined=member.joined,
        released=member.released,
        suspected="lost" if member.suspected_in else "",
        suspected_in=member.suspected_in,
        version=_attempt(member),
    )


def look(plant: Plant, array: Array) -> tuple[Plant, ArrayReport]:
    """Observe every member and report them; one that does not answer is suspected from now on.

    What waits for dropped members only is let go first: an agent that was to do so may have died.
    """
    if array.held and not array.pending.issubset(kernel.taking(array)) and _may_go(array):
        plant = let_go(plant, array)
        array = get_array(plant, array.node, array.epoch)
    after = array
    reports = []
    for replica, member in enumerate(array.members):
        if member is None:
            continue
        answers = kernel.reaches(plant, array, replica, member)
        health = _judge(member.joined, member.in_sync, member.released, member.faulty, not answers)
        if health is MemberHealth.LOST and not member.suspected_in:
            member = member._replace(suspected_in=array.sequence, covered=_covers(member.fresh))  # noqa: PLW2901
            after = kernel.with_member(after, replica, member)
        if member.suspected_in and health is not MemberHealth.DROPPED:
            health = MemberHealth.LOST
        covers = member.covered and health is MemberHealth.LOST
        attempt = 0 if health is MemberHealth.LOST else _attempt(member)
        reports.append(MemberReport(replica_id(replica), health, "", covers, attempt))
    report = ArrayReport(
        volume_id=VOLUME,
        epoch=array.epoch,
        record_version=array.version,
        members=tuple(reports),
        resync_done=array.source is None,
        device="md",
        sequence=array.sequence,
    )
    after = after._replace(sequence=array.sequence + 1)
    return kernel.with_array(plant, array, after), report


@asked_once
def _judge(joined: bool, in_sync: bool, released: bool, faulty: bool, failed: bool) -> MemberHealth:
    seen = judge.Observation(
        joined=joined, faulty=faulty, in_sync=in_sync, path_failed=failed, released=released
    )
    return judge.judge(seen)[0]


@asked_once
def _covers(fresh: bool) -> bool:
    joint = _joint(0, Member(None))
    joint.flushed = _LONG_AGO if fresh else 0.0
    return flush.bitmap_covers(joint, _LONG_AGO)


def confirm(plant: Plant, node: int, word: Confirmation) -> tuple[Plant, ArrayReport | None]:
    """Drop, let go, look again. No report when md would have to fail its last member: that is an error."""
    plant, refused = obey(plant, node, word)
    if refused:
        return plant, None
    array = get_array(plant, node, word.epoch)
    if array.looked:
        plant = let_go(plant, array)
    return look(plant, get_array(plant, node, word.epoch))


def obey(plant: Plant, node: int, word: Confirmation) -> tuple[Plant, bool]:
    """Drop, and look at what has failed: `let_go` is next. Whether md refused: then nobody has looked.

    Whoever obeys another word meanwhile waits until that is done.
    """
    array = get_array(plant, node, word.epoch)
    if array.looked:
        plant = let_go(plant, array)
        array = get_array(plant, node, word.epoch)
    if word.record_version < array.version:
        return plant, False
    told = array._replace(version=word.record_version)
    return _drop(kernel.with_array(plant, array, told), told, word)


def _drop(plant: Plant, array: Array, word: Confirmation) -> tuple[Plant, bool]:
    after = array
    for replica, member in enumerate(array.members):
        if member is None:
            continue
        if release.is_dropped_by(_joint(replica, member), word):
            if not member.faulty and not set(kernel.serving(after)) - {replica}:
                return kernel.with_array(plant, array, after), True
            after = kernel.with_member(after, replica, member._replace(released=True, suspected_in=0))
        elif replica_id(replica) in word.in_sync:
            after = kernel.with_member(
                after, replica, member._replace(suspected_in=0, joined=False, attempt=0)
            )
    if _may_go(after):
        return kernel.with_array(plant, array, after._replace(looked=True)), False
    return kernel.go_on(kernel.with_array(plant, array, after), after), False


def _may_go(array: Array) -> bool:
    there = [(str(i), m) for i, m in enumerate(array.members) if m is not None]
    failed = frozenset(name for name, m in there if m.faulty or m.released)
    dropped = frozenset(name for name, m in there if m.released)
    return _lets_go(frozenset(name for name, _ in there), failed, dropped)


_lets_go = asked_once(pending.lets_go)


def let_go(plant: Plant, array: Array) -> Plant:
    """md has one flag for all that waits, also for what has failed since somebody looked."""
    after = array._replace(looked=False, pending=array.pending & set(kernel.taking(array)))
    return kernel.go_on(kernel.with_array(plant, array, after), after)


class Return(NamedTuple):
    """How a member comes back. `every_bit`: a full copy, for which the bitmap is filled first."""

    link: Link | None
    full: bool
    every_bit: bool = False
    version: int = 0  # of the record that says so


def rejoin(plant: Plant, node: int, epoch: int, replica: int, how: Return) -> Plant:
    """Bring a member back. Its own bits count too."""
    array = get_array(plant, node, epoch)
    if how.version < array.version:
        raise StaleEpoch("a newer word is known")
    there = array.members[replica]
    if there is not None and not there.released and there.link == how.link:
        return plant
    _require_room(plant, array, replica)
    full, attempt = how.full and not how.every_bit, how.version if how.link is None else 0
    joined = Member(how.link, in_sync=False, joined=True, full=full, attempt=attempt)
    if how.link is None and plant.disks[replica].epoch > epoch:
        raise StaleEpoch("the local replica has seen a later epoch")
    if not kernel.reaches(plant, array, replica, joined):
        raise Unavailable("the member is not reached")
    after = kernel.with_member(array, replica, joined)
    slots = _choose_slots_with(_cleared(array), replica, plant.wanted)
    if how.every_bit or (not how.full and plant.disks[replica].bit):
        plant = _mark_all(plant, array)
        after = after._replace(bit=True)
    version = max(array.version, how.version)
    return kernel.with_array(plant, array, after._replace(slots=slots, version=version))


def _choose_slots_with(slots: tuple[int, ...], replica: int, raid_disks: int) -> tuple[int, ...]:
    slot = _choose_slot(slots, max(raid_disks, len(slots)))
    padded = (*slots, kernel.FREE) if slot == len(slots) else slots
    if padded[slot] != kernel.FREE:
        raise KernelError("md does not put two members into one slot")
    return (*padded[:slot], replica, *padded[slot + 1 :])


@asked_once
def _choose_slot(slots: tuple[int, ...], raid_disks: int) -> int:
    taken = [n for n, replica in enumerate(slots) if replica != kernel.FREE]
    members = tuple(MemberState(f"dm-{n}", frozenset(), n, 0, 0) for n in taken)
    state = ArrayState(VOLUME, "active", raid_disks, 0, "idle", None, 0, None, 0, 0, 0, members)
    return choose_slot(state)


def _require_room(plant: Plant, array: Array, replica: int) -> None:
    there = array.members[replica]
    if there is not None and not there.released:
        raise FailedPrecondition("it is a member by another attempt")
    if array.source is not None:
        raise FailedPrecondition("a resync is owed")
    if len(kernel.present(array)) >= plant.wanted:
        raise FailedPrecondition("the array has all of its members")


def _mark_all(plant: Plant, array: Array) -> Plant:
    """md's lock is kept until every member has answered, or was let go; whoever called does not wait."""
    members = kernel.taking(array)
    if len(kernel.reached(plant, array, members)) < len(members):
        raise TimedOut("bits are being set")
    return kernel.mark(plant, members)


def restart(plant: Plant, array: Array) -> Plant:
    """A new agent reads the array back from the kernel. What the old one knew besides is forgotten."""
    known = tuple(
        m and m._replace(joined=True, suspected_in=0, covered=False, fresh=False, attempt=0)
        for m in array.members
    )
    return kernel.with_array(plant, array, array._replace(members=known, version=0, looked=False))


def tidy(plant: Plant, array: Array) -> Plant:
    """Dropped members leave the array."""
    kept = tuple(None if m is not None and m.released else m for m in array.members)
    return kernel.with_array(plant, array, array._replace(members=kept, slots=_cleared(array)))


def _cleared(array: Array) -> tuple[int, ...]:
    """Its slots without dropped members. Nothing is said of those above the last that is taken."""
    present = kernel.present(array)
    slots = tuple(i if i in present else kernel.FREE for i in array.slots)
    last = max(n for n, i in enumerate(slots) if i != kernel.FREE)
    return slots[: last + 1]


def detach(plant: Plant, node: int, epoch: int) -> Plant:
    """Flush, then stop. FailedPrecondition while a write waits."""
    array = find_array(plant, node)
    if array is None or array.epoch > epoch:
        return plant
    if array.held:
        raise FailedPrecondition("a write waits")
    members = kernel.taking(array)
    if len(kernel.reached(plant, array, members)) < len(members):
        raise TimedOut("a member cannot be flushed")
    plant = kernel.flush(plant, array)
    return abandon(plant, node, epoch)


def abandon(plant: Plant, node: int, epoch: int) -> Plant:
    """Whatever waits is failed; nobody is there to see it."""
    kept = tuple(a for a in plant.arrays if a.node != node or a.epoch > epoch)
    return plant._replace(arrays=kept)
