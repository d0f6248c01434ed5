"""An array's size and its slots, which md changes between two writes only.

So it waits for all that are under way, and until these have ended nothing new begins, reads neither. A member
that is lost may keep a write for long: nobody waits for that, with the array's lock above all.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from replication.agent.assembled import Assembled
from replication.agent.machine import Machine
from replication.agent.members import Members
from replication.agent.release import let_go, list_lost, require_no_loss
from replication.errors import TimedOut
from replication.kernel import md
from replication.kernel.md_state import read_array


def grow(machine: Machine, members: Members, array: Assembled, size_bytes: int) -> None:
    """See rpc/contract.py. The array's lock is held.

    FailedPrecondition while a member is lost; TimedOut while one keeps a write that is not known to be.
    """
    require_no_loss(machine, members, array)
    for joint in array.members.values():
        members.resize(joint, size_bytes)
    if read_array(machine.tree, array.volume_id).component_size_bytes <= size_bytes:
        with _told_what_is_kept(machine, array):
            md.grow(machine.tree, array.volume_id, size_bytes, machine.apart.write)


def fit_slots(machine: Machine, members: Members, array: Assembled, count: int) -> None:
    """To `count` members, unless there are more, or one is lost: a repeat does it then.

    The array's lock is held. TimedOut while a member keeps a write that is not known to be lost.
    """
    state = read_array(machine.tree, array.volume_id)
    if state.raid_disks == count or len(state.members) > count or list_lost(machine, members, array):
        return
    with _told_what_is_kept(machine, array):
        md.set_slots(machine.tree, array.volume_id, count, machine.apart.write)


def let_writes_go_on(machine: Machine, array: Assembled) -> None:
    """That were kept waiting for one of the above. Its lock is held. TimedOut: a repeat does it then."""
    with _told_what_is_kept(machine, array):
        md.let_writes_go_on(machine.tree, array.volume_id, machine.apart.write)


@contextmanager
def _told_what_is_kept(machine: Machine, array: Assembled) -> Iterator[None]:
    """Writes that could not be let go in time are let go by whoever looks at the array.

    What came while md waited goes on only when it is woken, and who gives that wait up wakes nobody
    (mddev_suspend in md.c).
    """
    try:
        yield
    except TimedOut:
        let_go(machine, array)
        raise
    finally:
        array.writes_kept = md.are_writes_kept(machine.tree, array.volume_id)
        array.restless = True  # until a look has come to its end
