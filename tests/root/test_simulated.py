"""What the simulated kernel (tests/simulation/kernel.py) takes from md, where no other test shows it."""

import pytest

from replication.kernel import md, md_members, md_state
from replication.kernel.direct import read_direct, write_direct
from replication.layout import DATA_OFFSET_BYTES
from tests.root.stand import CHUNK, CLOCK, DATA, Stand, Write, count, wait

pytestmark = pytest.mark.root
SLOW = 2 << 20  # bytes per second: the copy is under way for half a minute, and ends when it is let go


def test_data_goes_out_when_all_members_have_the_bit(local: Stand) -> None:
    local.start()
    local.write(0, b"1")
    mute = local.replicas[2]
    local.err(mute)
    write = Write(local.device, 9 * CHUNK, b"2")
    wait(lambda: local.holds.read(mute.hold).holding, "the bitmap's write to be held")
    CLOCK.sleep(1)
    assert count([write]) == 0
    assert [local.read(replica, 9) for replica in local.replicas] == [b"\0"] * 3
    local.heal(mute)
    local.holds.reinstate(mute.hold, local.holds.read(mute.hold).path)
    write.join(10)
    assert count([write]) == 1
    assert [local.read(replica, 9) for replica in local.replicas] == [b"2"] * 3


def test_reads_come_from_the_lowest_slot_while_a_resync_is_owed(local: Stand) -> None:
    for replica, letter in zip(local.replicas, (b"a", b"b", b"c"), strict=True):
        write_direct(replica.disk, DATA_OFFSET_BYTES + 7 * CHUNK, letter * 4096)
    md.assemble(local.tree, local.spec(resync=True, bits=((7, 7),)))
    assert local.state().resync_owed
    assert {read_direct(local.device, 7 * CHUNK, 4096)[:1] for _ in range(32)} == {b"a"}


def test_a_recovering_member_gets_new_writes(local: Stand) -> None:
    local.start()
    lost = local.replicas[2]
    local.drop(lost)
    local.connect(lost)
    local.holds.hold(lost.hold)
    md_members.re_add_member(local.tree, local.name, local.spec(2).members[0], bitmap=False)
    local.tree.write(f"{md_state.array_path(local.name)}/sync_speed_min", 1)
    md.limit_sync_speed(local.tree, local.name, SLOW)
    md_members.start_recovery(local.tree, local.name)
    last = DATA // CHUNK - 1
    local.write(last, b"n")
    assert local.state().sync_action == "recover"
    assert local.read(lost, last) == b"n"
    md.limit_sync_speed(local.tree, local.name, None)
    local.settle()
