"""Arrays whose size or slots change: nothing is written meanwhile, and what is new is marked before it is."""

from pathlib import Path

import pytest

from replication.errors import FailedPrecondition, TimedOut
from replication.kernel import md, md_state
from tests.unit.kernel.fake_md import FakeMd
from tests.unit.kernel.test_md import BASE, SIZE, spec, with_devices

CHUNK = 65536
ALL = str((1 << 63) - 1)


@pytest.fixture
def tree(tmp_path: Path) -> FakeMd:
    return with_devices(FakeMd(tmp_path))


def test_growing_sets_every_member_before_the_array(tree: FakeMd) -> None:
    md.assemble(tree, spec())
    with pytest.raises(FailedPrecondition, match="dm-0 has 67108864 bytes, too few"):
        md.grow(tree, "v1", 2 * SIZE, tree.write_in_time)
    for kname in ("dm-0", "dm-1", "dm-2"):
        tree.put(f"/sys/class/block/{kname}/size", str(4 * SIZE // 512))
    for _ in range(2):
        md.grow(tree, "v1", 2 * SIZE, tree.write_in_time)
    state = md_state.read_array(tree, "v1")
    assert {each.size_bytes for each in state.members} == {2 * SIZE} == {state.component_size_bytes}


def test_what_has_grown_is_marked_on_the_disks_before_it_is_written_to_or_resynced(tree: FakeMd) -> None:
    """md marks it in memory alone."""
    start(tree)
    md.grow(tree, "v1", 2 * SIZE, tree.write_in_time)
    assert tree.set_bits == [f"{SIZE // CHUNK}-{2 * SIZE // CHUNK - 1}"]
    writes = [(name.removeprefix(f"{BASE}/"), value) for name, value in tree.written]
    assert writes[-6:] == [
        ("sync_action", "frozen"),
        ("suspend_hi", ALL),
        ("component_size", str(2 * SIZE // 1024)),
        ("bitmap_set_bits", tree.set_bits[0]),
        ("suspend_hi", "0"),
        ("sync_action", "idle"),
    ]


def test_growing_again_marks_what_whoever_died_before_left_unmarked(tree: FakeMd) -> None:
    start(tree)
    md.grow(tree, "v1", 2 * SIZE, tree.write_in_time)
    marked = tree.set_bits.pop()
    tree.put(f"{BASE}/sync_action", "frozen")
    md.grow(tree, "v1", 2 * SIZE, tree.write_in_time)
    assert tree.set_bits == [marked]
    assert md_state.read_array(tree, "v1").sync_action == "idle"
    md.grow(tree, "v1", 2 * SIZE, tree.write_in_time)
    assert tree.set_bits == [marked]


def test_an_array_that_did_not_grow_is_not_left_frozen(tree: FakeMd) -> None:
    start(tree)
    tree.busy.add("component_size")
    with pytest.raises(FailedPrecondition, match="resyncing or recovering"):
        md.grow(tree, "v1", 2 * SIZE, tree.write_in_time)
    assert (md_state.read_array(tree, "v1").sync_action, tree.set_bits) == ("idle", [])
    assert tree.read(f"{BASE}/suspend_hi") == "0"


def test_writes_go_on_that_were_kept_waiting_by_who_has_died(tree: FakeMd) -> None:
    """Marked is what has grown: they may go there."""
    start(tree)
    md.grow(tree, "v1", 2 * SIZE, tree.write_in_time)
    marked = tree.set_bits.pop()
    assert not md.are_writes_kept(tree, "v1")
    tree.put(f"{BASE}/suspend_hi", ALL)
    tree.put(f"{BASE}/sync_action", "frozen")
    assert md.are_writes_kept(tree, "v1")
    md.let_writes_go_on(tree, "v1", tree.write_in_time)
    assert tree.written[-2:] == [(f"{BASE}/bitmap_set_bits", marked), (f"{BASE}/suspend_hi", "0")]


def test_a_resync_under_way_is_made_no_longer_by_writes_that_go_on(tree: FakeMd) -> None:
    """Not the size was changed then, but the slots."""
    md.assemble(tree, spec(resync=True))
    md.activate(tree, "v1")
    tree.put(f"{BASE}/suspend_hi", ALL)
    md.let_writes_go_on(tree, "v1", tree.write_in_time)
    assert (tree.set_bits, tree.read(f"{BASE}/suspend_hi")) == ([], "0")


def test_an_array_whose_writes_do_not_end_is_as_it_was(tree: FakeMd) -> None:
    start(tree)
    tree.stuck.add(ALL)
    with pytest.raises(TimedOut, match="not within 4 s"):
        md.grow(tree, "v1", 2 * SIZE, tree.write_in_time)
    with pytest.raises(TimedOut):
        md.set_slots(tree, "v1", 4, tree.write_in_time)
    state = md_state.read_array(tree, "v1")
    assert (state.component_size_bytes, state.raid_disks, state.sync_action) == (SIZE, 3, "idle")
    assert (tree.set_bits, tree.read(f"{BASE}/suspend_hi")) == ([], "0")


def test_an_array_that_grew_and_cannot_let_writes_go_stays_frozen_until_it_can(tree: FakeMd) -> None:
    start(tree)
    tree.stuck.add("0")
    with pytest.raises(TimedOut):
        md.grow(tree, "v1", 2 * SIZE, tree.write_in_time)
    assert md_state.read_array(tree, "v1").sync_action == "frozen"
    assert md.are_writes_kept(tree, "v1")
    tree.stuck.clear()
    md.let_writes_go_on(tree, "v1", tree.write_in_time)
    md.grow(tree, "v1", 2 * SIZE, tree.write_in_time)
    assert (tree.read(f"{BASE}/suspend_hi"), tree.read(f"{BASE}/sync_action")) == ("0", "idle")


def test_other_slots_are_given_while_no_write_is_under_way(tree: FakeMd) -> None:
    start(tree)
    md.set_slots(tree, "v1", 4, tree.write_in_time)
    assert (tree.read(f"{BASE}/raid_disks"), tree.read(f"{BASE}/suspend_hi")) == ("4", "0")


def test_a_recovery_is_not_interrupted_by_growing(tree: FakeMd) -> None:
    start(tree)
    tree.put(f"{BASE}/sync_action", "recover")
    with pytest.raises(FailedPrecondition, match="resyncing or recovering"):
        md.grow(tree, "v1", 2 * SIZE, tree.write_in_time)
    assert md_state.read_array(tree, "v1").sync_action == "recover"


def start(tree: FakeMd) -> None:
    """An array whose members have room to grow."""
    md.assemble(tree, spec())
    md.activate(tree, "v1")
    for kname in ("dm-0", "dm-1", "dm-2"):
        tree.put(f"/sys/class/block/{kname}/size", str(4 * SIZE // 512))


@pytest.mark.parametrize("attribute", ["sync_action", "component_size"])
def test_what_must_wait_for_a_running_resync_says_so(tree: FakeMd, attribute: str) -> None:
    md.assemble(tree, spec())
    tree.busy.add(attribute)
    with pytest.raises(FailedPrecondition, match="resyncing or recovering"):
        md.start_check(tree, "v1") if attribute == "sync_action" else md.grow(
            tree, "v1", SIZE - 65536, tree.write_in_time
        )
