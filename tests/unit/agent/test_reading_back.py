"""What a new agent finds assembled."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from replication.agent.members import Members
from replication.agent.names import HoldName
from replication.agent.node import read_back_arrays
from replication.kernel import md, md_members
from replication.kernel.dm import DeviceMapper
from replication.kernel.hold import HoldLayer
from replication.kernel.md import ArraySpec, MemberSpec
from replication.kernel.md_state import array_path, read_array
from replication.kernel.nvme import NvmeHost
from tests.unit.agent.fake_machine import fake_machine, no_local
from tests.unit.kernel.fake_dm import FakeControl
from tests.unit.kernel.fake_md import FakeMd

MIB = 1 << 20
VOLUME = "v00000000000000aa"
ACTIVE = (f"{array_path(VOLUME)}/array_state", "active")


@pytest.fixture
def members(tree: FakeMd) -> Iterator[Members]:
    """Of an array that is not active yet."""
    control = FakeControl()
    holds = HoldLayer(DeviceMapper(control), tree)
    for number in range(3):
        holds.ensure(str(HoldName(VOLUME, f"r{number}", 4)), f"259:{number}", 64 * MIB)
    specs = tuple(MemberSpec(f"253:{slot}", slot) for slot in range(3))
    md.assemble(tree, ArraySpec(VOLUME, 3, 60 * MIB, 65536, specs, resync=False))
    machine = replace(fake_machine(tree, holds), host=NvmeHost(tree))
    yield Members(machine, no_local)
    control.close()


def test_what_waits_since_an_agent_died_that_had_kept_it_waiting_is_woken(
    members: Members, tree: FakeMd
) -> None:
    md.activate(tree, VOLUME)
    tree.put(f"{array_path(VOLUME)}/suspend_hi", "9223372036854775807")
    (array,) = read_back_arrays(members._machine, members)
    assert (array.epoch, sorted(array.members), array.writes_kept) == (4, ["r0", "r1", "r2"], True)
    assert tree.written[-1] == ACTIVE


def test_a_write_that_waits_for_the_record_goes_on_waiting(members: Members, tree: FakeMd) -> None:
    md.activate(tree, VOLUME)
    md_members.fail_member(tree, VOLUME, "dm-2")
    read_back_arrays(members._machine, members)
    assert read_array(tree, VOLUME).write_pending


def test_an_array_that_was_not_active_yet_is_not_made_so(members: Members, tree: FakeMd) -> None:
    read_back_arrays(members._machine, members)
    assert ACTIVE not in tree.written
