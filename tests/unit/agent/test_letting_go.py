"""The release path while somebody has md's lock and waits for a request to the member that was lost."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from replication.agent import release
from replication.agent.assembled import Assembled
from replication.agent.machine import Machine
from replication.agent.members import Joint, Members, Remote
from replication.agent.watcher import Watcher
from replication.clock import SystemClock, wait_until
from replication.errors import FailedPrecondition, Unavailable
from replication.kernel import md, md_members, md_state
from replication.kernel.dm import DeviceMapper
from replication.kernel.dm_wire import Target
from replication.kernel.hold import HoldLayer
from replication.kernel.md import ArraySpec, MemberSpec
from replication.model import Confirmation
from tests.unit.agent.fake_machine import fake_machine, no_local
from tests.unit.kernel.fake_dm import FakeControl
from tests.unit.kernel.fake_md import FakeMd

MIB = 1 << 20
VOLUME = "v1"


class LockedMd(FakeMd):
    """A member's state is written under md's lock; `unlocked` is cleared while somebody has it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.unlocked = threading.Event()
        self.unlocked.set()

    def write(self, name: str, value: str | int, *, secret: bool = False) -> None:
        if name.endswith("/state"):
            assert self.unlocked.wait(10), "nobody gives the lock back"
        super().write(name, value, secret=secret)


class Control(FakeControl):
    """Whoever waits for requests of `waited_for` gives the lock back when these fail."""

    def __init__(self, tree: LockedMd, waited_for: str) -> None:
        super().__init__()
        self._tree = tree
        self.waited_for = waited_for

    def _message(self, name: str, *words: object) -> tuple[bytes, int]:
        answer = super()._message(name, *words)
        if not self.devices[name].queueing and name == self.waited_for:
            self._tree.unlocked.set()
        return answer


@pytest.fixture
def tree(tmp_path: Path) -> LockedMd:
    fake = LockedMd(tmp_path)
    for minor in range(3):
        fake.add_block_device(f"dm-{minor}", f"253:{minor}", 64 * MIB)
    members = tuple(MemberSpec(f"253:{slot}", slot, write_mostly=False) for slot in range(3))
    md.assemble(fake, ArraySpec(VOLUME, 3, 60 * MIB, 65536, members, resync=False))
    md.activate(fake, VOLUME)
    return fake


@pytest.fixture
def control(tree: LockedMd) -> Iterator[Control]:
    made = Control(tree, "hold-r2")
    mapper = DeviceMapper(made)
    for minor in range(3):
        mapper.create(f"hold-r{minor}", f"uuid-{minor}", (Target(0, 2048, "linear", "259:1 0"),))
    yield made
    made.close()


@pytest.fixture
def machine(tree: LockedMd, control: Control) -> Machine:
    return fake_machine(tree, HoldLayer(DeviceMapper(control), tree))


@pytest.fixture
def array() -> Assembled:
    joints = [Joint(f"r{number}", f"hold-r{number}", f"dm-{number}", "", None) for number in range(3)]
    return Assembled(VOLUME, 1, {joint.replica_id: joint for joint in joints})


def word(*in_sync: str) -> Confirmation:
    return Confirmation(VOLUME, 1, 5, in_sync, (), 9)


def is_faulty(tree: LockedMd, kname: str) -> bool:
    return any(each.kname == kname and each.faulty for each in md_state.read_members(tree, VOLUME))


def goes_on(machine: Machine, array: Assembled, tree: LockedMd) -> bool:
    """After one more attempt: each is bounded, and repeated while writes wait."""
    release.let_go(machine, array)
    return not md_state.read_array(tree, VOLUME).write_pending


def test_what_waits_for_a_lost_member_under_mds_lock_is_let_go(
    machine: Machine, array: Assembled, tree: LockedMd
) -> None:
    """As md does when it writes its bitmap: it will not be told of the loss before the member has failed."""
    tree.unlocked.clear()
    release.obey(machine, array, word("r0", "r1"))
    assert array.released() == {"dm-2"}
    wait_until(lambda: is_faulty(tree, "dm-2"), "the mark", timeout=30, clock=SystemClock())
    wait_until(lambda: goes_on(machine, array, tree), "the array to go on", timeout=30, clock=SystemClock())


def test_a_word_about_one_member_leaves_room_for_the_next_about_another(
    machine: Machine, array: Assembled, tree: LockedMd, control: Control
) -> None:
    """The lock is held for the sake of r1, and the record has dropped r2 only."""
    control.waited_for = "hold-r1"
    md_members.fail_member(tree, VOLUME, "dm-2")
    tree.unlocked.clear()
    release.obey(machine, array, word("r0", "r1"))
    assert md_state.read_array(tree, VOLUME).write_pending
    release.obey(machine, array, word("r0"))
    assert array.released() == {"dm-1", "dm-2"}
    wait_until(lambda: is_faulty(tree, "dm-1"), "the mark", timeout=30, clock=SystemClock())
    wait_until(lambda: goes_on(machine, array, tree), "the array to go on", timeout=30, clock=SystemClock())


def test_the_last_member_is_not_let_go_however_long_mds_lock_is_held(
    machine: Machine, array: Assembled, tree: LockedMd, control: Control
) -> None:
    release.obey(machine, array, word("r0"))
    tree.unlocked.clear()
    with pytest.raises(FailedPrecondition, match="last member"):
        release.obey(machine, array, word("r7"))
    assert ("hold-r0", "fail_if_no_path") not in control.messages
    tree.unlocked.set()


def test_what_waits_for_all_writes_does_not_begin_while_a_member_is_lost(
    machine: Machine, tree: LockedMd, array: Assembled
) -> None:
    """Its array would be locked until somebody has recorded the loss, and none could return to it."""
    members = Members(machine, find_local=no_local)
    release.require_no_loss(machine, members, array)
    array.members["r2"].suspected = "silent"
    with pytest.raises(FailedPrecondition, match="what becomes of r2"):
        release.require_no_loss(machine, members, array)
    array.members["r1"].released = True
    md_members.fail_member(tree, VOLUME, "dm-1")
    assert release.list_lost(machine, members, array) == ("r1", "r2")
    assert is_faulty(tree, "dm-1"), "to take it away waits for all writes, too"
    array.members["r1"].released = False
    array.members["r2"].suspected, array.members["r2"].released = "", True
    md_members.fail_member(tree, VOLUME, "dm-2")
    tree.busy_removals = 1
    with pytest.raises(FailedPrecondition, match="what becomes of r2"):
        release.require_no_loss(machine, members, array)


class Tidying(Watcher):
    """Does nothing else."""

    def __init__(self, machine: Machine) -> None:
        self._machine, self._members = machine, Members(machine, find_local=no_local)


def test_nothing_is_tidied_while_a_member_is_lost(machine: Machine, tree: LockedMd, array: Assembled) -> None:
    """md suspends the array for all of it, and waits for what the lost one keeps: nobody reads meanwhile."""
    array.members["r1"].released = True
    md_members.fail_member(tree, VOLUME, "dm-1")
    array.members["r2"].suspected = "silent"
    tree.written.clear()
    watcher = Tidying(machine)
    watcher._tidy_now(array, settle=True)
    assert (tree.written, array.write_mostly_settled) == ([], False)
    array.members["r2"].suspected = ""
    watcher._tidy_now(array, settle=True)
    assert [value for _, value in tree.written] == ["remove"]


def test_who_has_returned_since_the_look_is_write_mostly_too(
    machine: Machine, tree: LockedMd, array: Assembled
) -> None:
    """Its rejoin was over, and asked for it, just before the array's lock was free."""
    array.members["r2"].remote = Remote("nqn", "nvme1", "10.0.0.2", 4420)
    watcher = Tidying(machine)
    tree.put(f"/sys/block/md_{VOLUME}/md/resync_start", "0")
    watcher._tidy_now(array, settle=True)
    assert not array.write_mostly_settled, "a resync's source is not write_mostly"
    tree.put(f"/sys/block/md_{VOLUME}/md/resync_start", "none")
    watcher._tidy_now(array, settle=True)
    settled = md_state.read_array(tree, VOLUME).find_member("dm-2")
    assert settled is not None
    assert settled.write_mostly


def test_a_device_that_has_gone_is_no_volume_that_is_not_there(machine: Machine) -> None:
    with pytest.raises(Unavailable, match="r2's device nvme1n1 has gone"):
        Members(machine, find_local=no_local).resize(Joint("r2", "hold-r2", "dm-2", "nvme1n1", None), MIB)
