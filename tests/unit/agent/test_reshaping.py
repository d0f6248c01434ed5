"""An array that grows, or gets other slots, while a member keeps writes: nobody waits for it for long."""

from dataclasses import dataclass

import pytest

from replication.agent.assembled import Assembled
from replication.agent.machine import Machine
from replication.agent.members import Joint, Members
from replication.agent.reshaping import fit_slots, grow, let_writes_go_on
from replication.agent.tuning import tune
from replication.errors import FailedPrecondition, TimedOut
from replication.kernel import md, md_members, md_state
from replication.kernel.md import ArraySpec, MemberSpec
from replication.kernel.md_state import array_path
from replication.layout import DATA_OFFSET_BYTES
from replication.tuning import Tuning
from tests.unit.agent.fake_machine import fake_machine, no_local
from tests.unit.kernel.fake_md import FakeMd

MIB = 1 << 20
SIZE, LARGER = 32 * MIB, 48 * MIB
KEEP, LET_GO = str((1 << 63) - 1), "0"


@dataclass
class Stand:
    tree: FakeMd
    machine: Machine
    members: Members
    array: Assembled

    def grow(self, size_bytes: int) -> None:
        grow(self.machine, self.members, self.array, size_bytes)

    def fit_slots(self, count: int) -> None:
        fit_slots(self.machine, self.members, self.array, count)

    def state(self) -> md_state.ArrayState:
        return md_state.read_array(self.tree, "v1")


@pytest.fixture
def stand(tree: FakeMd) -> Stand:
    specs = tuple(MemberSpec(f"253:{minor}", minor) for minor in range(3))
    md.assemble(tree, ArraySpec("v1", 3, SIZE, 65536, specs, resync=False))
    md.activate(tree, "v1")
    for minor in range(3):
        tree.add_block_device(f"sd{minor}", f"8:{minor}", DATA_OFFSET_BYTES + LARGER)
    joints = [Joint(f"r{minor}", f"hold-r{minor}", f"dm-{minor}", f"sd{minor}", None) for minor in range(3)]
    machine = fake_machine(tree)
    array = Assembled("v1", 1, {joint.replica_id: joint for joint in joints})
    return Stand(tree, machine, Members(machine, no_local), array)


def test_it_grows_and_never_shrinks(stand: Stand) -> None:
    for size_bytes in (LARGER, SIZE):
        stand.grow(size_bytes)
        assert (stand.state().component_size_bytes, stand.state().sync_action) == (LARGER, "idle")
    assert not stand.array.writes_kept


def test_growth_that_would_wait_for_a_member_of_which_nobody_knows_is_given_up(stand: Stand) -> None:
    """It is silent, and was heard less than three seconds ago."""
    stand.tree.stuck.add(KEEP)
    with pytest.raises(TimedOut):
        stand.grow(LARGER)
    assert (stand.state().component_size_bytes, stand.state().sync_action) == (SIZE, "idle")
    assert not stand.array.writes_kept
    stand.tree.stuck.clear()
    stand.grow(LARGER)
    assert stand.state().component_size_bytes == LARGER


def test_what_came_while_md_waited_is_woken_when_that_is_given_up(stand: Stand) -> None:
    stand.tree.stuck.add(KEEP)
    with pytest.raises(TimedOut):
        stand.fit_slots(4)
    assert stand.tree.written[-1] == (f"{array_path('v1')}/array_state", "active")


def test_nobody_is_woken_whose_write_is_missing_on_a_member_that_the_record_counts(stand: Stand) -> None:
    md_members.fail_member(stand.tree, "v1", "dm-2")
    stand.tree.stuck.add(KEEP)
    with pytest.raises(TimedOut):
        stand.fit_slots(4)
    assert stand.state().write_pending


def test_writes_that_could_not_be_let_go_in_time_are_let_go_later(stand: Stand) -> None:
    stand.tree.stuck.add(LET_GO)
    with pytest.raises(TimedOut):
        stand.grow(LARGER)
    with pytest.raises(TimedOut):
        let_writes_go_on(stand.machine, stand.array)
    assert (stand.array.writes_kept, stand.array.restless) == (True, True)
    stand.tree.stuck.clear()
    let_writes_go_on(stand.machine, stand.array)
    assert not stand.array.writes_kept
    stand.grow(LARGER)
    assert (stand.state().sync_action, stand.tree.read(f"{array_path('v1')}/suspend_hi")) == ("idle", "0")


def test_an_array_does_not_grow_while_a_member_is_lost(stand: Stand) -> None:
    stand.array.members["r2"].suspected = "silent"
    with pytest.raises(FailedPrecondition, match="what becomes of r2"):
        stand.grow(LARGER)
    assert stand.state().component_size_bytes == SIZE


def test_slots_stay_as_they_are_while_a_member_is_lost(stand: Stand) -> None:
    """Another may return meanwhile, for which there is room: it tunes first."""
    stand.array.members["r2"].suspected = "silent"
    tune(stand.machine, stand.members, stand.array, Tuning(4))
    assert stand.state().raid_disks == 3
    stand.array.members["r2"].suspected = ""
    tune(stand.machine, stand.members, stand.array, Tuning(4))
    assert stand.state().raid_disks == 4


def test_slots_that_would_wait_for_a_member_of_which_nobody_knows_stay_as_they_are(stand: Stand) -> None:
    stand.tree.stuck.add(KEEP)
    with pytest.raises(TimedOut):
        stand.fit_slots(4)
    assert stand.state().raid_disks == 3
    stand.fit_slots(3)
    assert not stand.array.writes_kept
