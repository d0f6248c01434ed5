"""An agent is killed between two steps of letting an array grow, or of other slots."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from replication.agent.assembled import Arrays, Assembled
from replication.agent.members import Members
from replication.agent.names import HoldName
from replication.agent.node import read_back_arrays
from replication.agent.reports import Reports
from replication.agent.reshaping import fit_slots, grow
from replication.kernel import md
from replication.kernel.dm import DeviceMapper
from replication.kernel.dm_wire import Command
from replication.kernel.hold import HoldLayer
from replication.kernel.md import ArraySpec, MemberSpec
from replication.kernel.md_state import array_path, read_array
from replication.kernel.nvme import NvmeHost
from replication.layout import DATA_OFFSET_BYTES
from replication.model import MemberHealth
from tests.unit.agent.fake_machine import fake_machine, no_local
from tests.unit.agent.mortal_kernel import MortalControl, MortalMd
from tests.unit.agent.test_rejoining import Looking

MIB = 1 << 20
VOLUME = "v00000000000000aa"
SIZE, LARGER, CHUNK = 32 * MIB, 48 * MIB, 65536
NEW = f"{SIZE // CHUNK}-{LARGER // CHUNK - 1}"
BASE = array_path(VOLUME)


class GrowingControl(MortalControl):
    """Its devices show the size of the table that is in force."""

    def __init__(self, tree: MortalMd) -> None:
        super().__init__(tree.life)
        self._tree = tree

    def ioctl(self, request: int, buffer: bytearray) -> None:
        super().ioctl(request, buffer)
        if request & 0xFF == Command.SUSPEND.value:
            for device in self.devices.values():
                sectors = str(sum(target.sectors for target in device.targets))
                self._tree.put(f"/sys/class/block/dm-{device.minor}/size", sectors)


@dataclass
class Stand:
    tree: MortalMd
    members: Members
    control: GrowingControl

    def start(self) -> Assembled:
        (array,) = read_back_arrays(self.members._machine, self.members)
        return array

    def kill(self, act: Callable[[Assembled], None], steps: int) -> None:
        array = self.start()
        self.tree.life.cut_short(lambda: act(array), steps)

    def grow(self, array: Assembled) -> None:
        grow(self.members._machine, self.members, array, LARGER)

    def fit_slots(self, array: Assembled) -> None:
        fit_slots(self.members._machine, self.members, array, 5)

    def look(self, array: Assembled) -> tuple[MemberHealth, ...]:
        watcher = Looking(self.members._machine, Arrays([array]), Reports())
        watcher._members = self.members
        return tuple(member.health for member in watcher.look(array).members)

    def is_kept(self) -> bool:
        return self.tree.read(f"{BASE}/suspend_hi") != "0"


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    tree = MortalMd(tmp_path)
    control = GrowingControl(tree)
    holds = HoldLayer(DeviceMapper(control), tree)
    for number in range(2):
        tree.add_block_device(f"dm-{number}", f"253:{number}", 0)
        tree.add_block_device(f"sd{number}", f"8:{number}", DATA_OFFSET_BYTES + LARGER)
    for number in range(2):
        holds.ensure(str(HoldName(VOLUME, f"r{number}", 4)), f"8:{number}", DATA_OFFSET_BYTES + SIZE)
    specs = tuple(MemberSpec(f"253:{slot}", slot) for slot in range(2))
    md.assemble(tree, ArraySpec(VOLUME, 3, SIZE, CHUNK, specs, resync=False))
    md.activate(tree, VOLUME)
    machine = replace(fake_machine(tree, holds), host=NvmeHost(tree))
    yield Stand(tree, Members(machine, no_local), control)
    control.close()


@pytest.mark.parametrize("steps", range(18))
def test_growth_cut_short_keeps_no_writes_and_lets_nobody_write_to_what_is_unmarked(
    stand: Stand, steps: int
) -> None:
    stand.kill(stand.grow, steps)
    array = stand.start()
    stand.look(array)
    assert not stand.is_kept()
    assert not any(device.suspended for device in stand.control.devices.values())
    if read_array(stand.tree, VOLUME).component_size_bytes == LARGER:
        assert NEW in stand.tree.set_bits
    assert MemberHealth.LOST not in stand.look(array)
    assert MemberHealth.DROPPED not in stand.look(array)


@pytest.mark.parametrize("steps", range(18))
def test_growth_cut_short_is_whole_when_it_is_repeated(stand: Stand, steps: int) -> None:
    stand.kill(stand.grow, steps)
    array = stand.start()
    stand.look(array)
    stand.grow(array)
    state = read_array(stand.tree, VOLUME)
    assert (state.component_size_bytes, state.sync_action, stand.is_kept()) == (LARGER, "idle", False)
    assert NEW in stand.tree.set_bits


@pytest.mark.parametrize("steps", range(5))
def test_slots_cut_short_keep_no_writes(stand: Stand, steps: int) -> None:
    stand.kill(stand.fit_slots, steps)
    array = stand.start()
    stand.look(array)
    assert not stand.is_kept()
    stand.fit_slots(array)
    assert read_array(stand.tree, VOLUME).raid_disks == 5
    assert stand.look(array) == (MemberHealth.RECOVERED, MemberHealth.RECOVERED)
