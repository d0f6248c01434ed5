"""A member comes back into a running array: once, never while a resync is owed, and with its own bits."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from replication.agent.assembled import Arrays, Assembled
from replication.agent.machine import Machine
from replication.agent.members import Joint, Members, Remote
from replication.agent.names import HoldName
from replication.agent.node import Agent
from replication.agent.rejoin import rejoin
from replication.agent.reports import Reports
from replication.agent.watcher import Watcher
from replication.errors import FailedPrecondition, StaleEpoch
from replication.kernel import bitmap, md
from replication.kernel.direct import read_direct
from replication.kernel.dm import DeviceMapper
from replication.kernel.hold import HoldLayer
from replication.kernel.md import ArraySpec, MemberSpec
from replication.layout import BITMAP_OFFSET_BYTES, BITMAP_SPACE_BYTES
from replication.model import CopyMode, Member, MemberHealth, RejoinSpec, Target
from tests.unit.agent.fake_machine import fake_machine
from tests.unit.kernel.fake_dm import FakeControl
from tests.unit.kernel.fake_md import FakeMd

MIB = 1 << 20
VOLUME = "v1"
CHUNK = 65536


class Returning(Members):
    """The only member that can be joined is dm-2."""

    def __init__(self) -> None:
        pass

    def join(self, name: HoldName, member: Member, *, joined: bool) -> Joint:
        return Joint(member.replica_id, str(name), "dm-2", "", None, joined=joined)

    def remove(self, hold: str, nqn: str) -> None:
        pass


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeMd:
    """Devices lie in the tree; the one function that opens them by their absolute path looks there too."""
    fake = FakeMd(tmp_path)
    for minor in range(3):
        fake.add_block_device(f"dm-{minor}", f"253:{minor}", 64 * MIB)
        mark(fake, minor, b"")
    monkeypatch.setattr(bitmap, "read_direct", lambda path, *where: read_direct(str(fake.path(path)), *where))
    return fake


def mark(tree: FakeMd, minor: int, bits: bytes) -> None:
    area = bytes(BITMAP_OFFSET_BYTES) + bits.ljust(BITMAP_SPACE_BYTES, b"\0")
    tree.path(f"/dev/dm-{minor}").write_bytes(area)


def assemble(tree: FakeMd, *, resync: bool = False) -> Assembled:
    members = (MemberSpec("253:0", 0), MemberSpec("253:1", 1))
    md.assemble(tree, ArraySpec(VOLUME, 3, 60 * MIB, CHUNK, members, resync=resync))
    md.activate(tree, VOLUME)
    joints = {f"r{number}": Joint(f"r{number}", "", f"dm-{number}", "", None) for number in range(2)}
    return Assembled(VOLUME, 1, joints, write_mostly_settled=True)


def bring_back(tree: FakeMd, array: Assembled, copy: CopyMode, *, resumable: bool = False) -> None:
    spec = RejoinSpec(VOLUME, 1, 7, Member("r2", None), copy, resumable)
    control = FakeControl()
    holds = HoldLayer(DeviceMapper(control), tree)
    holds.ensure(str(HoldName(VOLUME, "r2", 1)), "259:0", 64 * MIB)
    try:
        rejoin(fake_machine(tree, holds), Returning(), array, spec)
        assert holds.read(str(HoldName(VOLUME, "r2", 1))).queueing
    finally:
        control.close()


def test_its_own_bits_are_added_to_the_arrays(tree: FakeMd) -> None:
    """A write of a consumer that was fenced may have reached it alone, and marked nobody else's bitmap."""
    array = assemble(tree)
    mark(tree, 0, b"\x01")
    mark(tree, 2, b"\x08")
    bring_back(tree, array, CopyMode.BITMAP)
    assert tree.set_bits == ["3"]
    assert array.recovery_bytes == 2 * CHUNK
    assert tree.read("/sys/block/md_v1/md/sync_action") == "recover"
    assert array.members["r2"].joined


def test_a_full_copy_asks_no_bitmap(tree: FakeMd) -> None:
    array = assemble(tree)
    mark(tree, 2, b"\x08")
    bring_back(tree, array, CopyMode.FULL)
    assert tree.set_bits == []
    assert array.recovery_bytes == 60 * MIB


def test_a_full_copy_that_is_to_be_resumed_marks_everything_first(tree: FakeMd) -> None:
    bring_back(tree, assemble(tree), CopyMode.FULL, resumable=True)
    assert tree.set_bits == [f"0-{60 * MIB // CHUNK - 1}"]
    states = [value for name, value in tree.written if name.endswith("dev-dm-2/state")]
    assert "insync" in states


def test_nobody_returns_while_a_resync_is_owed(tree: FakeMd) -> None:
    array = assemble(tree, resync=True)
    with pytest.raises(FailedPrecondition, match="owes a resync"):
        bring_back(tree, array, CopyMode.BITMAP)
    assert "r2" not in array.members


def test_nobody_returns_while_a_lost_member_keeps_a_write(tree: FakeMd) -> None:
    """It may be one that the record cannot do without: md would wait for it, and keep all readers waiting."""
    array = assemble(tree)
    array.members["r1"].suspected = "silent"
    tree.put("/sys/class/block/dm-1/inflight", "0 1")
    with pytest.raises(FailedPrecondition, match="waits for what becomes of r1"):
        bring_back(tree, array, CopyMode.FULL)
    assert "r2" not in array.members
    tree.put("/sys/class/block/dm-1/inflight", "0 0")
    bring_back(tree, array, CopyMode.FULL)
    assert "r2" in array.members


def test_whether_it_is_write_mostly_is_said_by_who_watches_it(tree: FakeMd) -> None:
    """md suspends the array for that: a member that is lost just then has to be known."""
    array = assemble(tree)
    bring_back(tree, array, CopyMode.FULL)
    assert "writemostly" not in [value for _, value in tree.written]
    assert not array.write_mostly_settled


def test_a_repeat_of_the_same_attempt_changes_nothing(tree: FakeMd) -> None:
    array = assemble(tree)
    bring_back(tree, array, CopyMode.FULL)
    there = array.members["r2"]
    bring_back(tree, array, CopyMode.FULL)
    assert array.members["r2"] is there


def test_a_member_by_another_attempt_is_not_taken_for_this_ones(tree: FakeMd) -> None:
    """It is copied without marking what it lacks, and would be recorded as one that the bitmap covers."""
    array = assemble(tree)
    bring_back(tree, array, CopyMode.FULL)
    again = RejoinSpec(VOLUME, 1, 8, Member("r2", None), CopyMode.FULL, resumable=True)
    with pytest.raises(FailedPrecondition, match="a member by another attempt already"):
        rejoin(fake_machine(tree), Returning(), array, again)


def test_what_was_decided_before_the_newest_word_is_over(tree: FakeMd) -> None:
    """Since then others may have been complete without it, and have cleared the bits that it needs."""
    array = assemble(tree)
    array.record_version = 8
    with pytest.raises(StaleEpoch, match="by version 7 of the record, and 8 is known by now"):
        bring_back(tree, array, CopyMode.BITMAP)
    assert "r2" not in array.members


def test_a_remote_member_is_of_the_attempt_whose_export_it_comes_from(tree: FakeMd) -> None:
    array = assemble(tree)
    array.members["r1"].remote = Remote("nqn:1.7", "nvme1", "10.0.0.2", 4420)
    for nqn, is_same in (("nqn:1.7", True), ("nqn:1.8", False)):
        member = Member("r1", Target(nqn, "10.0.0.2", 4420, "host"))
        spec = RejoinSpec(VOLUME, 1, 8, member, CopyMode.FULL)
        if is_same:
            rejoin(fake_machine(tree), Returning(), array, spec)
        else:
            with pytest.raises(FailedPrecondition, match="a member by another attempt already"):
                rejoin(fake_machine(tree), Returning(), array, spec)


class Looking(Watcher):
    """Looks when it is asked to, at members of this node."""

    def __init__(self, machine: Machine, arrays: Arrays, reports: Reports) -> None:
        self._machine, self._arrays, self._reports = machine, arrays, reports
        self._sequence = itertools.count(1)
        self._members = Returning()

    def wake(self) -> None:
        pass


class OneArray(Agent):
    """Of which nobody asks more than to bring a member back."""

    def __init__(self, machine: Machine, array: Assembled) -> None:
        self._machine, self._members = machine, Returning()
        self._arrays, self._reports = Arrays([array]), Reports()
        self._watcher = Looking(machine, self._arrays, self._reports)


@pytest.fixture
def machine(tree: FakeMd) -> Iterator[Machine]:
    control = FakeControl()
    holds = HoldLayer(DeviceMapper(control), tree)
    for name in ("", str(HoldName(VOLUME, "r2", 1))):
        holds.ensure(name, "259:0", 64 * MIB)
    yield fake_machine(tree, holds)
    control.close()


def test_when_it_is_back_the_reports_have_it(tree: FakeMd, machine: Machine) -> None:
    """Whoever does not find it there begins again, and ends the export that it has just connected to."""
    agent = OneArray(machine, assemble(tree))
    agent.rejoin(RejoinSpec(VOLUME, 1, 7, Member("r2", None), CopyMode.FULL))
    (report,) = agent._reports.list_all()
    assert {m.replica_id: m.health for m in report.members}["r2"] is MemberHealth.RECOVERING
    assert report.record_version == 7


def test_a_look_that_was_overtaken_is_repeated(tree: FakeMd, machine: Machine) -> None:
    """It may have seen what the other had not."""
    agent, array = OneArray(machine, assemble(tree)), assemble_twin()
    agent._arrays.put(array)
    newest = agent._watcher.look(array)
    before = array.restless
    agent._watcher._sequence = itertools.count(newest.sequence - 1)
    agent._watcher.look(array)
    assert (before, array.restless) == (False, True)
    assert agent._reports.list_all() == (newest,)


def assemble_twin() -> Assembled:
    """The array that is there, without members that anybody would have to look at."""
    return Assembled(VOLUME, 1, {}, write_mostly_settled=True)
