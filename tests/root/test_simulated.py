"""What the simulated kernel (tests/simulation/kernel.py) takes from md, where no other test shows it."""

from dataclasses import replace

import pytest

from replication.kernel import md, md_members, md_state
from replication.kernel.direct import read_direct, write_direct
from replication.layout import DATA_OFFSET_BYTES
from tests.root.stand import CHUNK, CLOCK, DATA, Stand, Write, count, wait

pytestmark = pytest.mark.root
SLOW = 2 << 20  # bytes per second: the copy is under way for half a minute, and ends when it is let go
DIFFERS = ((7, 7),)  # the chunk in which replicas differ, and that is marked


def make_different(stand: Stand) -> None:
    for replica, letter in zip(stand.replicas, (b"a", b"b", b"c"), strict=True):
        write_direct(replica.disk, DATA_OFFSET_BYTES + 7 * CHUNK, letter * 4096)


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
    make_different(local)
    md.assemble(local.tree, local.spec(resync=True, bits=DIFFERS))
    assert local.state().resync_owed
    assert {read_direct(local.device, 7 * CHUNK, 4096)[:1] for _ in range(32)} == {b"a"}


def test_a_lone_member_forgets_that_a_resync_is_owed_and_keeps_its_bits(local: Stand) -> None:
    """raid1_run. Bits that are set afterwards are taken for one, which ends at once: nobody is copied to."""
    make_different(local)
    md.assemble(local.tree, local.spec(0, resync=True))
    assert not local.state().resync_owed
    md.stop(local.tree, local.name)
    local.start(0, resync=True, bits=DIFFERS)
    local.settle()
    local.write(1, b"1")
    CLOCK.sleep(3)  # three times as long as md's daemon waits
    assert local.bits(local.replicas[0]) == ((1, 1), *DIFFERS)
    local.rejoin(local.replicas[1], use_bitmap=True)
    assert [local.read(local.replicas[1], chunk) for chunk in (1, 7)] == [b"1", b"a"]


@pytest.mark.parametrize(
    ("write_mostly", "kept"), [((1,), b"c"), ((1, 2), b"b")], ids=["one is not write-mostly", "all are"]
)
def test_a_resync_that_has_lost_its_source_goes_on_from_the_lowest_slot(
    local: Stand, write_mostly: tuple[int, ...], kept: bytes
) -> None:
    """Of those that are not write-mostly, if there is one: `disk` and `wonly` in raid1_sync_request.

    What is read meanwhile is the lowest slot's all the same.
    """
    make_different(local)
    spec = local.spec(resync=True, bits=DIFFERS)
    members = tuple(replace(each, write_mostly=each.slot in write_mostly) for each in spec.members)
    md.assemble(local.tree, replace(spec, members=members))
    path = md_state.array_path(local.name)
    local.tree.write(f"{path}/array_state", "active")  # the resync is frozen still
    local.drop(local.replicas[0])
    assert local.state().resync_owed
    assert read_direct(local.device, 7 * CHUNK, 4096)[:1] == b"b"
    local.tree.write(f"{path}/sync_action", "idle")
    local.settle()
    assert [local.read(replica, 7) for replica in local.replicas] == [b"a", kept, kept]


def test_what_waits_for_a_second_failure_is_released_with_the_first(local: Stand) -> None:
    """There is one flag for all that waits, whoever has failed since somebody looked."""
    md.assemble(local.tree, local.spec())
    md.activate(local.tree, local.name, time_base_seconds=60)
    local.write(0, b"1")
    one, two = local.replicas[1:]
    local.err(two)
    write = Write(local.device, 4096, b"2")  # to a chunk that stays marked: its data goes out at once
    wait(lambda: local.holds.read(two.hold).holding, "the write to be held")
    md_members.fail_member(local.tree, local.name, one.member)
    local.holds.release(two.hold)  # md fails it, and waits with that write
    wait(lambda: local.state().members[2].faulty, "the second failure")
    CLOCK.sleep(1)
    assert count([write]) == 0
    local.tree.write(f"{md_state.member_path(local.name, one.member)}/state", "-blocked")
    md.acknowledge_writes(local.tree, local.name)
    write.join(10)
    assert count([write]) == 1
    assert [each.kname for each in local.state().members if each.blocked] == [two.member]


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
