"""Members of a running array: dropped, released, removed and brought back. Record first, fail second.

The functions of the release path (`fail_member`, `release_pending`) take kernel names that were resolved
before, start no program and write nothing but attributes.
"""

import errno

from replication.clock import Clock, SystemClock, wait_until
from replication.errors import FailedPrecondition, KernelError, TimedOut, TrilithError
from replication.kernel import blockdev
from replication.kernel.md import MemberSpec, introduce_member
from replication.kernel.md_state import (
    ArrayState,
    MemberState,
    array_path,
    find_member,
    member_path,
    read_array,
    read_members,
)
from replication.kernel.sysfs import Tree, errno_of

_REMOVE_TIMEOUT = 2.0


def fail_member(tree: Tree, name: str, kname: str) -> None:
    """Mark it faulty; md sends it nothing more. Repeatable. FailedPrecondition for the last one in sync.

    From now on md acknowledges writes that fail on this member: the record must have been changed before.
    We look first who is left: asking md to fail the last one breaks the array for good (MD_BROKEN).
    Waits for md's lock, which its owner may hold while a request to a member is under way.
    """
    check_not_last(tree, name, kname)
    tree.write(f"{member_path(name, kname)}/state", "faulty")


def fail_if_there(tree: Tree, name: str, kname: str) -> None:
    """As `fail_member`, where md still takes it for a member: it removes none that has not failed.

    One without a slot gets one first, in an array that is frozen. md would give it one when it is to be
    removed (remove_and_add_spares), as a member in sync if it has been called so; and when it fails, take it
    for the last one (raid1_error), where just one other serves.
    """
    state = read_array(tree, name)
    found = state.find_member(kname)
    if found is None or found.faulty:
        return
    if found.slot is None:
        free = find_slot(state)
        if free is None:
            return
        tree.write(f"{array_path(name)}/sync_action", "frozen")
        tree.write(f"{member_path(name, kname)}/slot", free)
    fail_member(tree, name, kname)


def find_slot(state: ArrayState) -> int | None:
    """The lowest that no member has; None when the array is complete."""
    taken = {member.slot for member in state.members}
    return next((slot for slot in range(state.raid_disks) if slot not in taken), None)


def check_not_last(tree: Tree, name: str, kname: str) -> None:
    """FailedPrecondition when no other member is in sync."""
    members = read_members(tree, name)
    if not any(each.serving for each in members if each.kname != kname):
        raise FailedPrecondition(f"{kname} is the last member of array {name}")


def release_pending(tree: Tree, name: str, dropped: frozenset[str]) -> tuple[str, ...]:
    """Let waiting writes go, once all failed members are of `dropped`: those the record no longer counts.

    There is one pending flag for the whole array, so all members are read again right before: to unblock one
    can take as long as somebody has md's lock. Returns the failed members that are not in `dropped`; when
    there is one, nothing has been released.
    """
    members = read_members(tree, name)
    blocked = [member for member in members if member.blocked]
    if blocked and not _list_unrecorded(members, dropped):
        for member in blocked:
            tree.write(f"{member_path(name, member.kname)}/state", "-blocked")
        members = read_members(tree, name)
    unrecorded = _list_unrecorded(members, dropped)
    if not unrecorded:
        tree.write(f"{array_path(name)}/array_state", "active")
    return unrecorded


def _list_unrecorded(members: tuple[MemberState, ...], dropped: frozenset[str]) -> tuple[str, ...]:
    return tuple(each.kname for each in members if each.faulty and each.kname not in dropped)


def remove_member(tree: Tree, name: str, kname: str, clock: Clock | None = None) -> None:
    """Repeatable. FailedPrecondition while it is in sync, or when requests to it do not end in 2 s."""
    path = member_path(name, kname)
    found = find_member(tree, name, kname)
    if found is not None and found.serving:
        raise FailedPrecondition(f"{kname} is in sync in array {name}: fail it first")
    try:
        wait_until(
            lambda: not tree.exists(path) or _is_removed(tree, path),
            f"the last requests of {kname} in array {name} to end",
            timeout=_REMOVE_TIMEOUT,
            clock=clock or SystemClock(),
        )
    except TimedOut as error:
        raise FailedPrecondition(f"{kname} still has requests under way in array {name}") from error


def _is_removed(tree: Tree, path: str) -> bool:
    """Busy while a request is under way, as md's own are for a moment after a failure."""
    try:
        tree.write(f"{path}/state", "remove")
    except KernelError as error:
        if errno_of(error) == errno.EBUSY:
            return False
        raise
    return True


def re_add_member(tree: Tree, name: str, member: MemberSpec, *, bitmap: bool) -> None:
    """Give a member its slot, not in sync, and leave the array frozen: `start_recovery` begins the copying.

    `bitmap`: only what the bitmap marks is copied, else everything. Repeatable until the recovery has
    started. FailedPrecondition while a resync is owed (md would take the slot away again, and read old data
    from it) or when another member has the slot.
    """
    state = read_array(tree, name)
    kname = blockdev.kernel_name(tree, member.device)
    if state.resync_owed:
        raise FailedPrecondition(f"array {name} owes a resync: {kname} can come back when that is done")
    if any(each.slot == member.slot and each.kname != kname for each in state.members):
        raise FailedPrecondition(f"slot {member.slot} of array {name} is taken")
    tree.write(f"{array_path(name)}/sync_action", "frozen")
    there = state.find_member(kname)
    if there is not None and there.slot == member.slot and not there.faulty:
        return
    try:
        _put(tree, name, member, state.component_size_bytes, bitmap=bitmap)
    except TrilithError:
        remove_member(tree, name, kname)
        tree.write(f"{array_path(name)}/sync_action", "idle")
        raise


def _put(tree: Tree, name: str, member: MemberSpec, size_bytes: int, *, bitmap: bool) -> None:
    """`insync` before `slot` makes md trust the bitmap (slot_store, saved_raid_disk)."""
    kname = blockdev.kernel_name(tree, member.device)
    remove_member(tree, name, kname)
    path = introduce_member(tree, name, member, size_bytes)
    if bitmap:
        tree.write(f"{path}/state", "insync")
    _take_slot(tree, name, kname, member)


def _take_slot(tree: Tree, name: str, kname: str, member: MemberSpec) -> None:
    tree.write(f"{member_path(name, kname)}/slot", member.slot)
    if member.write_mostly:
        set_write_mostly(tree, name, kname, on=True)


def start_recovery(tree: Tree, name: str) -> None:
    """Copy to every member that has a slot and is not in sync; also ends the freeze."""
    tree.write(f"{array_path(name)}/sync_action", "recover")


def set_write_mostly(tree: Tree, name: str, kname: str, *, on: bool) -> None:
    """Reads go elsewhere while they can: for every remote member. Setting a slot clears it."""
    tree.write(f"{member_path(name, kname)}/state", "writemostly" if on else "-writemostly")


def add_bits(tree: Tree, name: str, texts: tuple[str, ...]) -> None:
    """Mark chunks in a running array (`bitmap.format_set_bits`): those of a member that comes back.

    md takes this for a resync owed, so the array must be frozen; it is told again that none is.
    """
    base = array_path(name)
    tree.write(f"{base}/sync_action", "frozen")
    for text in texts:
        tree.write(f"{base}/bitmap_set_bits", text)
    if texts:
        tree.write(f"{base}/resync_start", "none")
