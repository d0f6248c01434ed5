"""What is changed on an array while it runs: room for members, how fast it copies, and scrubs."""

from replication.agent.assembled import Assembled
from replication.agent.machine import Machine
from replication.agent.members import Members
from replication.agent.reshaping import fit_slots
from replication.errors import FailedPrecondition
from replication.kernel import md
from replication.kernel.md_state import read_array
from replication.kernel.sysfs import Tree
from replication.tuning import Tuning

UNBOUNDED = 1 << 40  # bytes a second: md's own default would stop at 200 MB/s


def tune(machine: Machine, members: Members, array: Assembled, tuning: Tuning) -> None:
    """See rpc/contract.py. The array's lock is held."""
    md.limit_sync_speed(machine.tree, array.volume_id, find_bound(tuning))
    array.tuning = tuning
    fit_slots(machine, members, array, tuning.slots)


def find_bound(tuning: Tuning | None) -> int:
    """Of copies, in bytes a second. None: nobody has said yet what is wanted."""
    return (tuning.rebuild_bandwidth if tuning else 0) or UNBOUNDED


def scrub(tree: Tree, array: Assembled, *, repair: bool) -> None:
    """See rpc/contract.py. The array's lock is held."""
    state = read_array(tree, array.volume_id)
    if state.resync_owed:
        raise FailedPrecondition(f"volume {array.volume_id} owes a resync: it can be scrubbed after it")
    if repair:
        md.start_repair(tree, array.volume_id)
    else:
        md.start_check(tree, array.volume_id)
