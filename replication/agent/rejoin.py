"""Bring a member back into a running array."""

from collections.abc import Iterable

from replication.agent.assembled import Assembled
from replication.agent.machine import Machine
from replication.agent.members import Joint, Members
from replication.agent.names import HoldName
from replication.agent.release import clear_away
from replication.agent.unwatched import unheld
from replication.errors import FailedPrecondition, StaleEpoch
from replication.kernel import bitmap, md, md_members
from replication.kernel.blockdev import requests_in_flight
from replication.kernel.md import MemberSpec
from replication.kernel.md_state import ArrayState, read_array
from replication.model import CopyMode, RejoinSpec


def rejoin(machine: Machine, members: Members, array: Assembled, spec: RejoinSpec) -> None:
    """See rpc/contract.py. The array's lock is held."""
    replica_id = spec.member.replica_id
    _require_news(array, spec)
    there = array.members.get(replica_id)
    if there is not None and not there.released:
        _require_same(there, spec)
        return
    _require_nothing_kept(machine, array)
    clear_away(machine, members, array)
    if replica_id in array.members:
        raise FailedPrecondition(
            f"replica {replica_id} of {spec.volume_id} has not let go of its old requests yet"
        )
    state = read_array(machine.tree, spec.volume_id)
    if state.resync_owed:
        md.thaw(machine.tree, spec.volume_id)
        raise FailedPrecondition(f"volume {spec.volume_id} owes a resync: {replica_id} can return after it")
    joint = members.join(HoldName(spec.volume_id, replica_id, spec.epoch), spec.member, joined=True)
    joint.version = spec.record_version
    try:
        array.recovery_bytes = _add(machine, state, joint, spec)
    except BaseException:
        members.remove(joint.hold, joint.remote.nqn if joint.remote else "")
        raise
    with array.release_lock:
        array.members[replica_id] = joint
        array.write_mostly_settled = False
        array.record_version = max(array.record_version, spec.record_version)


def give_up_unfinished(machine: Machine, state: ArrayState, joints: Iterable[Joint]) -> None:
    """Those that an agent before us was about to bring back: they are dropped, and the record begins again.

    md neither copies to them nor ever will; and it calls one in sync before that has its slot.
    """
    for joint in joints:
        if is_unfinished(state, joint.kname):
            machine.holds.release(joint.hold)
            joint.released = True


def is_unfinished(state: ArrayState, kname: str) -> bool:
    """Not one that has failed: what becomes of that is for the record to say."""
    member = state.find_member(kname)
    if member is None or member.faulty:
        return member is None
    return member.slot is None or (state.sync_action == "frozen" and not member.in_sync)


def _require_news(array: Assembled, spec: RejoinSpec) -> None:
    """What was decided before the newest word that we know may be wrong by now: how to copy, above all."""
    if spec.record_version < array.record_version:
        raise StaleEpoch(
            f"replica {spec.member.replica_id} of {spec.volume_id} was to return by version "
            f"{spec.record_version} of the record, and {array.record_version} is known by now"
        )


def _require_nothing_kept(machine: Machine, array: Assembled) -> None:
    """Md takes a member in when none is under way, and lets nobody read meanwhile.

    One that is lost, and counted all the same, may keep a write for good.
    """
    for joint in array.members.values():
        if joint.suspected and requests_in_flight(machine.tree, joint.kname):
            raise FailedPrecondition(f"volume {array.volume_id} waits for what becomes of {joint.replica_id}")


def _require_same(there: Joint, spec: RejoinSpec) -> None:
    """One by another attempt may be copied in another way than this one asks for, and the record would say.

    Exports are named by the record's version; what lies on this node has no other name at each attempt.
    """
    target = spec.member.target
    same = there.version == spec.record_version if target is None else _nqn(there) == target.nqn
    if not same:
        raise FailedPrecondition(
            f"replica {there.replica_id} of {spec.volume_id} is a member by another attempt already"
        )


def _nqn(joint: Joint) -> str:
    return "" if joint.remote is None else joint.remote.nqn


def _add(machine: Machine, state: ArrayState, joint: Joint, spec: RejoinSpec) -> int:
    """How much is to be copied, in bytes.

    The returning member's own bits count too: a write of a fenced consumer may have reached it alone.

    Whether it is write_mostly the watcher says, once it is a member: md suspends the array for that, and if
    its path is lost then, a write to it would end only with a word about it, which a stranger gets none of.
    """
    by_bitmap = spec.copy is CopyMode.BITMAP or spec.resumable
    with unheld(machine, [joint]):
        own = _bits_to_add(state, joint, spec) if by_bitmap else ()
    if own:
        md_members.add_bits(machine.tree, spec.volume_id, bitmap.format_set_bits(own))
    size_bytes = _count_marked(state, own) if by_bitmap else state.component_size_bytes
    number = machine.tree.read(f"/sys/class/block/{joint.kname}/dev")
    member = MemberSpec(number, choose_slot(state))
    md_members.re_add_member(machine.tree, spec.volume_id, member, bitmap=by_bitmap)
    md_members.start_recovery(machine.tree, spec.volume_id)
    return size_bytes


def _count_marked(state: ArrayState, own: bitmap.Ranges) -> int:
    """In bytes. Before md has the member: from then on nothing but the start of its recovery may fail."""
    source = next(member.kname for member in state.members if member.in_sync and not member.faulty)
    marked = bitmap.unite((own, _read_bits(state, source)))
    return min(bitmap.count_chunks(marked) * state.bitmap_chunk_bytes, state.component_size_bytes)


def _bits_to_add(state: ArrayState, joint: Joint, spec: RejoinSpec) -> bitmap.Ranges:
    """Its own; or all, which md clears as the copy goes: what is left is known after an interruption."""
    if spec.copy is CopyMode.BITMAP:
        return _read_bits(state, joint.kname)
    return ((0, -(-state.component_size_bytes // state.bitmap_chunk_bytes) - 1),)


def _read_bits(state: ArrayState, kname: str) -> bitmap.Ranges:
    return bitmap.read_bits(f"/dev/{kname}", state.component_size_bytes, state.bitmap_chunk_bytes)


def choose_slot(state: ArrayState) -> int:
    """The lowest that no member has. Raises FailedPrecondition when the array is complete."""
    free = md_members.find_slot(state)
    if free is None:
        raise FailedPrecondition(f"array {state.name} has all of its {state.raid_disks} members")
    return free
