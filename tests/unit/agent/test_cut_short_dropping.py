"""An agent is killed between two steps of dropping a member, or of taking away what is left of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from replication.agent.assembled import Arrays, Assembled
from replication.agent.members import Members
from replication.agent.names import HoldName
from replication.agent.node import read_back_arrays
from replication.agent.release import clear_away, obey
from replication.agent.reports import Reports
from replication.kernel import md, md_members
from replication.kernel.dm import DeviceMapper
from replication.kernel.hold import HoldLayer
from replication.kernel.md import ArraySpec, MemberSpec
from replication.kernel.md_state import read_array
from replication.kernel.nvme import NvmeHost
from replication.model import ArrayReport, Confirmation, MemberHealth
from tests.unit.agent.fake_machine import fake_machine, no_local
from tests.unit.agent.mortal_kernel import MortalControl, MortalMd
from tests.unit.agent.test_rejoining import Looking

MIB = 1 << 20
VOLUME = "v00000000000000aa"
LOST = str(HoldName(VOLUME, "r2", 4))
STEPS = range(8)


@dataclass
class Stand:
    """The path of r2 has failed; the record counts r0 and r1."""

    tree: MortalMd
    members: Members
    control: MortalControl

    def start(self) -> Assembled:
        (array,) = read_back_arrays(self.members._machine, self.members)
        return array

    def look(self, array: Assembled) -> ArrayReport:
        watcher = Looking(self.members._machine, Arrays([array]), Reports())
        watcher._members = self.members
        return watcher.look(array)

    def obey(self, array: Assembled) -> None:
        """The record's answer to what is seen now."""
        word = Confirmation(VOLUME, 4, 9, ("r0", "r1"), (), self.look(array).sequence)
        obey(self.members._machine, array, word)

    def clear(self, array: Assembled) -> None:
        clear_away(self.members._machine, self.members, array)

    def kill(self, act: Callable[[Assembled], None], steps: int) -> None:
        array = self.start()
        self.tree.life.cut_short(lambda: act(array), steps)

    def check_gone(self) -> None:
        state = read_array(self.tree, VOLUME)
        assert [member.kname for member in state.members] == ["dm-0", "dm-1"]
        assert (state.write_pending, LOST in self.control.devices) == (False, False)


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    tree = MortalMd(tmp_path)
    control = MortalControl(tree.life)
    holds = HoldLayer(DeviceMapper(control), tree)
    for number in range(3):
        tree.add_block_device(f"dm-{number}", f"253:{number}", 64 * MIB)
        tree.add_block_device(f"sd{number}", f"8:{number}", 64 * MIB)
        holds.ensure(str(HoldName(VOLUME, f"r{number}", 4)), f"8:{number}", 64 * MIB)
    specs = tuple(MemberSpec(f"253:{slot}", slot) for slot in range(3))
    md.assemble(tree, ArraySpec(VOLUME, 3, 60 * MIB, 65536, specs, resync=False))
    md.activate(tree, VOLUME)
    control.set_path(LOST, active=False)
    machine = replace(fake_machine(tree, holds), host=NvmeHost(tree))
    yield Stand(tree, Members(machine, no_local), control)
    control.close()


@pytest.mark.parametrize("steps", STEPS)
def test_a_member_dropped_by_half_is_lost_until_the_record_says_so_again(stand: Stand, steps: int) -> None:
    """Or dropped: then its layer fails what it held, which is done after md was told."""
    stand.kill(stand.obey, steps)
    array = stand.start()
    health = {member.replica_id: member.health for member in stand.look(array).members}
    assert {health["r0"], health["r1"]} == {MemberHealth.RECOVERED}
    assert health["r2"] in {MemberHealth.LOST, MemberHealth.DROPPED}
    if health["r2"] is MemberHealth.LOST:
        stand.obey(array)
    stand.clear(array)
    stand.check_gone()


@pytest.mark.parametrize("steps", STEPS)
def test_what_is_left_of_a_member_is_taken_away_though_it_was_begun(stand: Stand, steps: int) -> None:
    stand.obey(stand.start())
    stand.kill(stand.clear, steps)
    array = stand.start()
    stand.look(array)
    stand.clear(array)
    stand.check_gone()


@pytest.mark.parametrize("steps", STEPS)
def test_writes_wait_for_the_record_when_a_second_member_fails_meanwhile(stand: Stand, steps: int) -> None:
    stand.kill(stand.obey, steps)
    md_members.fail_member(stand.tree, VOLUME, "dm-1")
    array = stand.start()
    stand.look(array)
    assert read_array(stand.tree, VOLUME).write_pending
    stand.obey(array)
    assert read_array(stand.tree, VOLUME).write_pending
