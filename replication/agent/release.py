"""The release path: what happens after the record has changed, while writes wait.

Nothing here starts a program, imports, logs or reads a file system: writes that this process could need
wait for it.
"""

from collections.abc import Iterable
from contextlib import suppress
from functools import partial

from replication.agent.assembled import Assembled
from replication.agent.machine import Machine
from replication.agent.members import Joint, Members, Remote
from replication.clock import wait_until
from replication.errors import FailedPrecondition, NotFound, TimedOut, TrilithError
from replication.kernel.blockdev import requests_in_flight
from replication.kernel.md_members import (
    check_not_last,
    fail_if_there,
    fail_member,
    release_pending,
    remove_member,
)
from replication.kernel.sockets import break_connections
from replication.model import Confirmation

LOCK_TIMEOUT = 0.3  # seconds for what needs md's own lock
ANSWERED_WITHIN = 2.0  # seconds, for what is under way to one that is dropped though nobody suspects it


def obey(machine: Machine, array: Assembled, word: Confirmation) -> None:
    """Drop the members that the record counts no more, and let writes go.

    The array's release lock is held.

    In this order: md sends it nothing more; its hold layer fails what it holds; its connection is broken,
    unless it answers, because nvme-tcp would keep requests that the peer has not answered; then, when every
    failed member is one that the record does not count, the array goes on.

    None of it waits long for md's lock. Whoever has that may wait for a request to the very member that is to
    go (md writes its bitmap under it), or to one that the next word will be about.
    """
    for joint in tuple(array.members.values()):
        if is_dropped_by(joint, word):
            _fail(machine, array.volume_id, joint)
        elif joint.replica_id in word.in_sync:
            _give_another_chance(machine, joint)
    let_go(machine, array)


def let_go(machine: Machine, array: Assembled) -> None:
    """Let writes go, when every failed member is one that was dropped. To be repeated while any waits."""
    act = partial(release_pending, machine.tree, array.volume_id, array.released())
    with suppress(TimedOut):
        machine.blocking.call(f"let go {array.volume_id}", act, timeout=LOCK_TIMEOUT)


def _give_another_chance(machine: Machine, joint: Joint) -> None:
    """The record counts it, so writes wait: send it again what is held. Still lost, it is suspected again."""
    if joint.suspected:
        _reinstate(machine, joint)
    joint.suspected, joint.joined = "", False


def retry_path(machine: Machine, array: Assembled, joint: Joint) -> None:
    """Use a path again unless the member has just been dropped. Never waits."""
    if array.release_lock.acquire(blocking=False):
        try:
            if not joint.released:
                _reinstate(machine, joint)
        finally:
            array.release_lock.release()


def _reinstate(machine: Machine, joint: Joint) -> None:
    """A path that failed stays failed until somebody says otherwise, however well its device is by now."""
    with suppress(TrilithError):
        machine.holds.reinstate(joint.hold, machine.holds.read(joint.hold).path)


def is_dropped_by(joint: Joint, word: Confirmation) -> bool:
    if joint.released or joint.replica_id in word.in_sync:
        return False
    if joint.suspected:
        return joint.suspected_in <= word.report
    return joint.replica_id not in word.rebuilding or _is_older(joint, word)


def _is_older(joint: Joint, word: Confirmation) -> bool:
    """Whether it came by an attempt before the one that the record has: that may copy less."""
    attempts = dict(zip(word.rebuilding, word.attempts, strict=False))  # older controllers tell none
    return 0 < joint.version < attempts.get(joint.replica_id, 0)


def _fail(machine: Machine, volume_id: str, joint: Joint) -> None:
    with suppress(NotFound):  # removed from the array already
        _mark_faulty(machine, volume_id, joint)
    machine.holds.release(joint.hold)
    answers = joint.flushed > 0 and not joint.suspected  # nobody has yet, to an agent that has just begun
    joint.suspected, joint.released = "", True
    if not answers:
        break_off(machine, joint)


def _mark_faulty(machine: Machine, volume_id: str, joint: Joint) -> None:
    """In time, or as soon as md's lock is free: what held it up fails when the hold layer is released."""
    check_not_last(machine.tree, volume_id, joint.kname)
    act = partial(fail_member, machine.tree, volume_id, joint.kname)
    with suppress(TimedOut):
        machine.blocking.call(f"fail {joint.hold}", act, timeout=LOCK_TIMEOUT)


def break_off(machine: Machine, joint: Joint) -> None:
    """Make what a remote member's connection keeps come back as errors. Its hold layer has been released.

    In every state of the controller: a live one keeps sent requests until their time-out, and the deletion of
    one that is connecting waits for the attempt under way. The kernel does not tell whose each connection is:
    of one that does not answer all connections to its node are broken.
    """
    remote, joint.broken = joint.remote, True
    if remote is None:
        return
    with suppress(TrilithError):  # each step is tried, whatever became of the one before
        machine.host.stop_holding(remote.controller)
    alone = not joint.unheard and _break_alone(machine, remote)
    if not alone:
        _break_all(remote)
    try:
        machine.host.delete_controller(remote.controller, timeout=0.01)
    except TimedOut:  # it continues in a thread of its own
        if not alone:
            _break_all(remote)
    except TrilithError:  # gone by itself
        return


def _break_alone(machine: Machine, remote: Remote) -> bool:
    """Whether its own connection could be found, and was broken."""
    with suppress(TrilithError):
        return machine.host.break_own(remote.controller, remote.address, remote.port)
    return False


def _break_all(remote: Remote) -> None:
    with suppress(TrilithError):
        break_connections(remote.address, remote.port)


def finish_dropping(machine: Machine, joints: Iterable[Joint]) -> None:
    """An agent before us may have died before it broke their connections: writes would wait for the peer."""
    for joint in joints:
        if joint.released:
            break_off(machine, joint)


def clear_away(machine: Machine, members: Members, array: Assembled) -> None:
    """Remove what is left of dropped members, as far as the kernel lets it go. The array's lock is held.

    An agent may have died before md had heard that one is dropped. Of one that nobody suspected what is under
    way is answered, and its connection ends when it is removed; where it does not answer after all it is
    broken off then. Not before: that breaks all connections to its node, and makes lost whatever else is
    being written to there.
    """
    for joint in tuple(array.members.values()):
        if joint.released:
            try:
                fail_if_there(machine.tree, array.volume_id, joint.kname)
                _let_fail(machine, joint)
                _await_answers(machine, joint)
                remove_member(machine.tree, array.volume_id, joint.kname)
                members.remove(joint.hold, joint.remote.nqn if joint.remote else "")
            except TrilithError:  # requests to end; tried again at the next round
                if not joint.broken:
                    break_off(machine, joint)
                continue
            del array.members[joint.replica_id]


def _let_fail(machine: Machine, joint: Joint) -> None:
    """Again: it grew as it was dropped, perhaps, and has a new table since then, which holds."""
    with suppress(NotFound):
        machine.holds.release(joint.hold)


def _await_answers(machine: Machine, joint: Joint) -> None:
    """TimedOut where there are none: md would wait as long as nvme-tcp does, and keep all waiting."""
    if not joint.broken:
        wait_until(
            lambda: not requests_in_flight(machine.tree, joint.kname),
            f"{joint.replica_id} to answer",
            timeout=ANSWERED_WITHIN,
            clock=machine.clock,
        )


def require_no_loss(machine: Machine, members: Members, array: Assembled) -> None:
    """FailedPrecondition while a member is lost, or a dropped one is there still. The array's lock is held.

    What waits for all writes under way would wait for a lost one's, and nobody could return meanwhile.
    """
    gone = list_lost(machine, members, array)
    if gone:
        raise FailedPrecondition(f"volume {array.volume_id} waits for what becomes of {', '.join(gone)}")


def list_lost(machine: Machine, members: Members, array: Assembled) -> tuple[str, ...]:
    """Members that are lost, or dropped and there still. The array's lock is held.

    While one is lost, none is taken away: that waits for all writes under way, too.
    """
    if not any(joint.suspected for joint in array.members.values()):
        clear_away(machine, members, array)
    return tuple(each.replica_id for each in array.members.values() if each.released or each.suspected)
