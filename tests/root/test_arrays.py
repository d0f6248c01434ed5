"""md with external metadata on a real kernel."""

from dataclasses import replace
from threading import Thread

import pytest

from replication.agent.yielding import PAUSE_SPEED
from replication.errors import FailedPrecondition
from replication.kernel import bitmap, md, md_members, md_state
from replication.kernel.direct import write_direct
from replication.kernel.sysfs import Attribute, wait_changed
from replication.layout import DATA_OFFSET_BYTES
from tests.root.stand import CHUNK, CLOCK, DATA, Stand, Write, count, wait

pytestmark = pytest.mark.root


def are_equal(stand: Stand) -> bool:
    first, *others = (stand.data(replica) for replica in stand.replicas)
    return all(other == first for other in others)


def test_an_array_is_read_only_until_it_is_activated(local: Stand) -> None:
    md.assemble(local.tree, local.spec())
    write = Write(local.device, 0, b"x")
    write.join(5)
    assert write.error is not None
    assert local.state().array_state == "readonly"
    md.activate(local.tree, local.name)
    md.assemble(local.tree, local.spec())
    local.write(0, b"y")
    assert [local.read(replica, 0) for replica in local.replicas] == [b"y"] * 3
    assert local.state().writable


def test_the_first_write_waits_and_is_told_by_poll(local: Stand) -> None:
    local.start()
    with Attribute(local.tree, f"{md_state.array_path(local.name)}/array_state") as state:
        assert state.read() == "clean"
        write = Write(local.device, 0, b"x")
        assert wait_changed([state], timeout=10) == (state,)
        wait(lambda: state.read() == "write-pending", "the question")
        CLOCK.sleep(0.5)
        assert count([write]) == 0
        md.acknowledge_writes(local.tree, local.name)
        write.join(10)
    assert count([write]) == 1
    local.write(1, b"x")


def test_another_array_of_the_same_name_is_refused(local: Stand) -> None:
    local.start()
    with pytest.raises(FailedPrecondition, match="runs with"):
        md.assemble(local.tree, local.spec(0, 1))
    assert local.name in md_state.list_arrays(local.tree)


def test_an_open_array_is_not_stopped_and_a_closed_one_is_gone(local: Stand) -> None:
    local.start()
    with local.tree.path(local.device).open("rb"), pytest.raises(FailedPrecondition, match="in use"):
        md.stop(local.tree, local.name)
    for _ in range(2):
        md.stop(local.tree, local.name)
    assert md_state.find_array(local.tree, local.name) is None
    assert local.name not in md_state.list_arrays(local.tree)
    local.start()


def test_writes_with_the_layer_wait_for_the_decision(local: Stand) -> None:
    """Without it md acknowledged 15 of 24 with nobody asked (docs: data plane)."""
    local.start()
    local.write(0, b"1")
    lost = local.replicas[2]
    local.err(lost)
    writes = [Write(local.device, (chunk + 1) * CHUNK, b"2") for chunk in range(24)]
    wait(lambda: local.holds.read(lost.hold).holding, "the layer to hold")
    CLOCK.sleep(2)
    assert count(writes) == 0
    assert all(member.serving for member in local.state().members)
    local.drop(lost)
    wait(lambda: count(writes) == 24, "the writes")
    assert local.state().degraded == 1
    local.heal(lost)


def test_a_blip_that_ends_before_a_decision_costs_nothing(local: Stand) -> None:
    local.start()
    local.write(0, b"1")
    lost = local.replicas[2]
    local.err(lost)
    writes = [Write(local.device, (chunk + 1) * CHUNK, b"2") for chunk in range(8)]
    wait(lambda: local.holds.read(lost.hold).holding, "the layer to hold")
    local.heal(lost)
    local.holds.reinstate(lost.hold, local.holds.read(lost.hold).path)
    wait(lambda: count(writes) == 8, "the writes")
    assert local.state().degraded == 0
    assert [local.read(lost, chunk) for chunk in (1, 8)] == [b"2", b"2"]


def test_a_second_failure_is_not_released_with_the_first(local: Stand) -> None:
    local.start()
    local.write(0, b"1")
    one, two = local.replicas[1:]
    md_members.fail_member(local.tree, local.name, one.member)
    md_members.fail_member(local.tree, local.name, two.member)
    write = Write(local.device, CHUNK, b"2")
    unrecorded = md_members.release_pending(local.tree, local.name, frozenset({two.member}))
    CLOCK.sleep(1)
    assert (unrecorded, write.acknowledged) == ((one.member,), False)
    both = frozenset({one.member, two.member})
    assert md_members.release_pending(local.tree, local.name, both) == ()
    write.join(10)
    assert write.acknowledged


def test_setting_bits_keeps_mds_lock_until_every_member_answers_or_is_let_go(local: Stand) -> None:
    """Why whoever lets a lost member go must not wait for that lock first."""
    local.start()
    local.write(0, b"1")
    lost = local.replicas[2]
    local.err(lost)
    setting = Thread(target=md_members.add_bits, args=(local.tree, local.name, ("7-7",)), daemon=True)
    setting.start()
    wait(lambda: local.holds.read(lost.hold).holding, "the bitmap's write to be held")
    marking = Thread(target=md_members.fail_member, args=(local.tree, local.name, lost.member), daemon=True)
    marking.start()
    CLOCK.sleep(1)
    assert (setting.is_alive(), marking.is_alive()) == (True, True)
    local.holds.release(lost.hold)
    setting.join(10)
    marking.join(10)
    assert (setting.is_alive(), marking.is_alive()) == (False, False)
    assert md_members.release_pending(local.tree, local.name, frozenset({lost.member})) == ()
    md_members.start_recovery(local.tree, local.name)
    local.write(1, b"2")


def test_the_last_member_is_refused_and_the_array_goes_on(local: Stand) -> None:
    local.start()
    local.write(0, b"1")
    for replica in local.replicas[1:]:
        local.drop(replica)
    with pytest.raises(FailedPrecondition, match="last member"):
        md_members.fail_member(local.tree, local.name, local.replicas[0].member)
    local.write(1, b"2")


@pytest.mark.parametrize("use_bitmap", [True, False])
def test_a_member_comes_back_with_what_the_bitmap_marks_or_with_everything(
    local: Stand, use_bitmap: bool
) -> None:
    local.start()
    local.write(0, b"1")
    lost = local.replicas[2]
    local.drop(lost)
    md_members.remove_member(local.tree, local.name, lost.member)
    local.write(5, b"2")
    assert (5, 5) in local.bits(local.replicas[0])
    write_direct(lost.disk, DATA_OFFSET_BYTES + 300 * CHUNK, b"?" * 4096)  # only a full copy finds it
    local.rejoin(lost, use_bitmap=use_bitmap)
    assert local.state().degraded == 0
    assert (local.read(lost, 5), local.read(lost, 300)) == (b"2", b"?" if use_bitmap else b"\0")
    wait(lambda: local.bits(local.replicas[0]) == (), "the bits to be cleared")


@pytest.mark.parametrize("written", [(), ("insync",)], ids=["spare", "called in sync"])
@pytest.mark.parametrize("others", [1, 2])
def test_a_member_whose_return_was_cut_short_is_taken_away(
    local: Stand, written: tuple[str, ...], others: int
) -> None:
    """It has no slot yet. The array goes on, also with one other, and it comes back as any does."""
    local.start()
    local.write(0, b"1")
    lost = local.replicas[2]
    for replica in local.replicas[others:]:
        local.drop(replica)
        md_members.remove_member(local.tree, local.name, replica.member)
    local.write(5, b"2")
    local.connect(lost)
    local.holds.hold(lost.hold)
    local.tree.write(f"{md_state.array_path(local.name)}/sync_action", "frozen")
    path = md.introduce_member(local.tree, local.name, local.spec(2).members[0], DATA)
    for word in written:
        local.tree.write(f"{path}/state", word)
    md_members.fail_if_there(local.tree, local.name, lost.member)
    md_members.remove_member(local.tree, local.name, lost.member)
    assert [member.kname for member in local.state().members] == [
        replica.member for replica in local.replicas[:others]
    ]
    local.write(6, b"3")
    local.rejoin(lost, use_bitmap=True)
    assert (local.read(lost, 5), local.read(lost, 6)) == (b"2", b"3")


@pytest.mark.parametrize("members", [(0,), (0, 1)])
def test_what_disks_mark_is_marked_still_when_an_array_is_stopped_before_it_knows(
    local: Stand, members: tuple[int, ...]
) -> None:
    """It takes that for done (md_bitmap_load), and clears it when it stops (md_bitmap_flush)."""
    local.start(0, 1)
    local.write(5, b"1")
    md.stop(local.tree, local.name)
    marked = [local.bits(local.replicas[number]) for number in members]
    assert ((5, 5),) in marked
    md.assemble(local.tree, local.spec(*members))
    md.stop(local.tree, local.name)
    assert [local.bits(local.replicas[number]) for number in members] == marked


def recover_slowly(local: Stand, bytes_per_second: int) -> None:
    """In full, of one member; it has begun when this returns."""
    local.start()
    lost = local.replicas[2]
    local.drop(lost)
    local.connect(lost)
    local.holds.hold(lost.hold)
    md_members.re_add_member(local.tree, local.name, local.spec(2).members[0], bitmap=False)
    local.tree.write(f"{md_state.array_path(local.name)}/sync_speed_min", 1)
    md.limit_sync_speed(local.tree, local.name, bytes_per_second)
    md_members.start_recovery(local.tree, local.name)
    wait(lambda: (local.state().progress or _nothing).done_bytes > 0, "progress")


def test_a_recovery_reports_its_progress_and_obeys_its_bound(local: Stand) -> None:
    recover_slowly(local, 2 << 20)
    state = local.state()
    assert state.progress is not None
    assert (state.sync_action, state.progress.total_bytes) == ("recover", DATA)
    with pytest.raises(FailedPrecondition):
        md.start_check(local.tree, local.name)
    md.limit_sync_speed(local.tree, local.name, None)
    local.settle()
    assert are_equal(local)


def test_a_recovery_stands_still_and_goes_on_as_it_is_told(local: Stand) -> None:
    """See replication/agent/yielding.py."""
    recover_slowly(local, 8 << 20)
    md.limit_sync_speed(local.tree, local.name, PAUSE_SPEED)
    assert md.read_sync_limit(local.tree, local.name) == PAUSE_SPEED
    CLOCK.sleep(1.0)  # md looks again every half second
    stands = local.state().progress
    assert stands is not None
    CLOCK.sleep(2.0)
    assert local.state().progress == stands
    md.limit_sync_speed(local.tree, local.name, None)
    local.settle()
    assert are_equal(local)


_nothing = md_state.Progress(0, 0)


def test_the_bitmap_is_not_forgotten_when_it_is_carried_over(local: Stand) -> None:
    """Two stale members, two moves, one survivor: md alone forgets the bits (docs: data plane)."""
    _, one, two = local.replicas
    local.start()
    local.write(0, b"1")
    local.drop(two)
    local.write(10, b"2")
    local.drop(one)
    local.write(20, b"3")
    for chunk in (30, 40):
        bits = bitmap.unite(local.bits(replica) for replica in local.replicas)
        md.stop(local.tree, local.name)
        local.start(0, bits=bits)
        assert not local.state().resync_owed
        local.write(chunk, b"4")
        CLOCK.sleep(3)
    for replica in (one, two):
        local.rejoin(replica, use_bitmap=True)
    assert [local.read(two, chunk) for chunk in (0, 10, 20, 30, 40)] == [b"1", b"2", b"3", b"4", b"4"]
    assert are_equal(local)


def test_bits_set_at_assembly_stay_until_everybody_has_the_data(local: Stand) -> None:
    bits = ((3, 5), (9, 9))
    local.start(0, 1, bits=bits)
    local.write(100, b"x")
    CLOCK.sleep(5)
    assert bitmap.unite([local.bits(local.replicas[0]), bits]) == local.bits(local.replicas[0])
    local.rejoin(local.replicas[2], use_bitmap=True)
    wait(lambda: local.bits(local.replicas[0]) == (), "the bits to be cleared")


def test_a_resync_copies_from_the_lowest_slot_what_the_bits_mark(local: Stand) -> None:
    for replica, letter in zip(local.replicas, (b"a", b"b", b"c"), strict=True):
        for chunk in (7, 8):
            write_direct(replica.disk, DATA_OFFSET_BYTES + chunk * CHUNK, letter * 4096)
    local.start(resync=True, bits=((7, 7),))
    assert local.state().resync_owed or local.state().sync_action == "idle"
    local.settle()
    assert [local.read(replica, 7) for replica in local.replicas] == [b"a"] * 3
    assert [local.read(replica, 8) for replica in local.replicas] == [b"a", b"b", b"c"]
    md.start_check(local.tree, local.name)
    local.settle()
    assert local.state().mismatches > 0


def test_bits_of_a_returning_member_are_added_to_a_running_array(local: Stand) -> None:
    """A write of the fenced consumer may have reached it alone, marking only its own bitmap."""
    local.start(0, 1)
    local.write(0, b"1")
    alone = local.replicas[2]
    write_direct(alone.disk, DATA_OFFSET_BYTES + 50 * CHUNK, b"!" * 4096)
    md_members.add_bits(local.tree, local.name, bitmap.format_set_bits(((0, 0), (50, 50))))
    assert not local.state().resync_owed
    local.rejoin(alone, use_bitmap=True)
    assert (local.read(alone, 0), local.read(alone, 50)) == (b"1", b"\0")
    assert are_equal(local)


def test_a_half_built_array_is_built_anew(local: Stand) -> None:
    local.tree.write("/sys/module/md_mod/parameters/new_array", f"md_{local.name}")
    local.tree.write(f"{md_state.array_path(local.name)}/metadata_version", "external:trilith")
    local.start()
    local.write(0, b"1")


def test_a_member_is_replaced_in_a_full_array_without_ever_lacking_a_copy(local: Stand) -> None:
    """Room for one more, a full copy to it, and only then the old one goes, with its room."""
    old, kept, new = local.replicas
    md.assemble(local.tree, replace(local.spec(0, 1), raid_disks=2))
    md.activate(local.tree, local.name)
    local.write(0, b"1")
    md.set_slots(local.tree, local.name, 3, local.write_in_time)
    assert (local.state().raid_disks, local.state().degraded) == (3, 1)
    local.rejoin(new, use_bitmap=False)
    assert local.state().degraded == 0
    local.drop(old)
    md_members.remove_member(local.tree, local.name, old.member)
    local.write(1, b"2")
    md.set_slots(local.tree, local.name, 2, local.write_in_time)
    local.settle()
    state = local.state()
    assert (state.raid_disks, state.degraded, len(state.members)) == (2, 0, 2)
    local.write(2, b"3")
    assert local.data(kept) == local.data(new)
    assert [local.read(new, chunk) for chunk in range(3)] == [b"1", b"2", b"3"]


def test_room_is_not_taken_from_members_that_are_there(local: Stand) -> None:
    local.start()
    local.write(0, b"1")
    with pytest.raises(FailedPrecondition):
        md.set_slots(local.tree, local.name, 2, local.write_in_time)
    assert local.state().raid_disks == 3


def test_a_repair_makes_members_equal_to_the_first(local: Stand) -> None:
    local.start()
    local.write(7, b"a")
    write_direct(local.replicas[1].disk, DATA_OFFSET_BYTES + 7 * CHUNK, b"?" * 4096)
    md.start_check(local.tree, local.name)
    local.settle()
    assert local.state().mismatches > 0
    md.start_repair(local.tree, local.name)
    local.settle()
    md.start_check(local.tree, local.name)
    local.settle()
    assert local.state().mismatches == 0
    assert [local.read(replica, 7) for replica in local.replicas] == [b"a"] * 3


def test_bits_are_cleared_as_a_copy_goes_and_the_rest_stays_when_it_is_stopped(local: Stand) -> None:
    """A full copy by the bitmap, all bits set before it, is resumed from what is left of them."""
    local.start(0, 1)
    local.write(0, b"1")
    new = local.replicas[2]
    local.connect(new)
    local.holds.hold(new.hold)
    everything = DATA // CHUNK
    md_members.add_bits(local.tree, local.name, bitmap.format_set_bits(((0, everything - 1),)))
    local.tree.write(f"{md_state.array_path(local.name)}/sync_speed_min", 1)
    md.limit_sync_speed(local.tree, local.name, 2 << 20)
    md_members.re_add_member(local.tree, local.name, local.spec(2).members[0], bitmap=True)
    md_members.start_recovery(local.tree, local.name)
    wait(lambda: _count(local) < everything, "the first bits to be cleared", timeout=30)
    md.stop(local.tree, local.name)
    left = local.bits(local.replicas[0])
    assert 0 < bitmap.count_chunks(left) < everything
    local.start(0, 1, bits=left)
    local.rejoin(new, use_bitmap=True)
    assert are_equal(local)


def _count(stand: Stand) -> int:
    return bitmap.count_chunks(stand.bits(stand.replicas[0]))
