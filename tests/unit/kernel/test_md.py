from dataclasses import replace
from pathlib import Path

import pytest

from replication.errors import FailedPrecondition, KernelError, NotFound
from replication.kernel import md, md_members, md_state
from replication.kernel.md import ArraySpec, MemberSpec
from replication.kernel.md_state import Progress
from tests.unit.kernel.fake_md import FakeMd

SIZE = 60 << 20
BASE = "/sys/block/md_v1/md"


class QuickClock:
    """Time passes only by sleeping."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


@pytest.fixture
def tree(tmp_path: Path) -> FakeMd:
    return with_devices(FakeMd(tmp_path))


def with_devices(fake: FakeMd) -> FakeMd:
    for index in range(4):
        fake.add_block_device(f"dm-{index}", f"253:{index}", SIZE + (4 << 20))
    return fake


def spec(*slots: int, resync: bool = False) -> ArraySpec:
    members = tuple(MemberSpec(f"253:{slot}", slot, write_mostly=slot > 0) for slot in slots or (0, 1, 2))
    return ArraySpec("v1", 3, SIZE, 65536, members, resync=resync)


def test_an_array_starts_read_only_and_frozen(tree: FakeMd) -> None:
    assert md.assemble(tree, spec()) == "/dev/md_v1"
    state = md_state.read_array(tree, "v1")
    assert (state.array_state, state.sync_action, state.degraded) == ("readonly", "frozen", 0)
    assert [(each.kname, each.slot, each.write_mostly) for each in state.members] == [
        ("dm-0", 0, False),
        ("dm-1", 1, True),
        ("dm-2", 2, True),
    ]
    assert (state.component_size_bytes, state.bitmap_chunk_bytes) == (SIZE, 65536)


def test_nothing_can_be_written_before_the_bits_are_set(tree: FakeMd) -> None:
    md.assemble(tree, replace(spec(0, 1), set_bits=((3, 5), (9, 9))))
    writes = [(name.removeprefix(f"{BASE}/"), value) for name, value in tree.written]
    start, bits = writes.index(("array_state", "readonly")), writes.index(("bitmap_set_bits", "3-5 9"))
    assert writes.index(("bitmap/time_base", "3600")) < start < bits
    assert ("array_state", "active") not in writes


def test_bits_alone_do_not_make_a_resync_owed(tree: FakeMd) -> None:
    """md takes them for one, and would read from the lowest slot until it is done."""
    md.assemble(tree, replace(spec(0, 1), set_bits=((3, 5),)))
    assert not md_state.read_array(tree, "v1").resync_owed
    assert tree.set_bits == ["3-5"]


def test_a_resync_that_is_owed_stays_owed(tree: FakeMd) -> None:
    md.assemble(tree, replace(spec(resync=True), set_bits=((3, 5),)))
    assert md_state.read_array(tree, "v1").resync_owed


def test_an_active_array_has_its_normal_time_base_and_is_not_frozen(tree: FakeMd) -> None:
    md.assemble(tree, spec())
    for _ in range(2):
        md.activate(tree, "v1")
    assert tree.read(f"{BASE}/bitmap/time_base") == "5"
    assert md_state.read_array(tree, "v1").sync_action == "idle"
    assert md_state.read_array(tree, "v1").writable


def test_assembling_again_changes_nothing(tree: FakeMd) -> None:
    md.assemble(tree, spec())
    before = len(tree.written)
    assert md.assemble(tree, spec()) == "/dev/md_v1"
    assert len(tree.written) == before


def test_another_array_of_the_same_name_is_refused(tree: FakeMd) -> None:
    md.assemble(tree, spec())
    for other in (spec(0, 1), replace(spec(), component_size_bytes=1 << 20), replace(spec(), raid_disks=5)):
        with pytest.raises(FailedPrecondition, match="array v1 runs with"):
            md.assemble(tree, other)


def test_a_half_built_array_is_built_anew(tree: FakeMd) -> None:
    tree.write("/sys/module/md_mod/parameters/new_array", "md_v1")
    tree.write(f"{BASE}/metadata_version", "external:trilith")
    md.assemble(tree, spec())
    assert md_state.read_array(tree, "v1").running


def test_an_array_that_cannot_be_built_leaves_nothing(tree: FakeMd) -> None:
    with pytest.raises(KernelError):
        md.assemble(tree, replace(spec(), bitmap_chunk_bytes=0))
    assert md_state.find_array(tree, "v1") is None


def test_stopping_is_repeatable(tree: FakeMd) -> None:
    md.assemble(tree, spec())
    for _ in range(2):
        md.stop(tree, "v1")
    assert md_state.list_arrays(tree) == ()


def test_an_open_array_is_not_stopped(tree: FakeMd) -> None:
    md.assemble(tree, spec())
    tree.open = True
    with pytest.raises(FailedPrecondition, match="in use"):
        md.stop(tree, "v1")


def test_only_our_arrays_are_listed(tree: FakeMd) -> None:
    md.assemble(tree, spec())
    tree.lay({"/sys/block/md_other/md/metadata_version": "1.2", "/sys/block/md0/md/metadata_version": "1.2"})
    assert md_state.list_arrays(tree) == ("v1",)


def test_an_array_that_is_not_there_is_not_found(tree: FakeMd) -> None:
    assert md_state.find_array(tree, "v1") is None
    with pytest.raises(NotFound):
        md_state.read_array(tree, "v1")


def test_a_member_that_is_too_small_is_refused(tree: FakeMd) -> None:
    """md itself takes any size."""
    with pytest.raises(FailedPrecondition, match="too few for"):
        md.assemble(tree, replace(spec(), component_size_bytes=SIZE + 65536))
    assert md_state.find_array(tree, "v1") is None


def test_sync_speed_is_bounded_in_kibibytes(tree: FakeMd) -> None:
    md.assemble(tree, spec())
    md.limit_sync_speed(tree, "v1", 10 << 20)
    assert tree.read(f"{BASE}/sync_speed_max") == "10240"
    md.limit_sync_speed(tree, "v1", None)
    assert tree.read(f"{BASE}/sync_speed_max") == "system"


@pytest.fixture
def running(tree: FakeMd) -> FakeMd:
    md.assemble(tree, spec())
    md.activate(tree, "v1")
    return tree


def test_a_failed_member_blocks_until_it_is_released(running: FakeMd) -> None:
    for _ in range(2):
        md_members.fail_member(running, "v1", "dm-2")
    state = md_state.read_array(running, "v1")
    assert (state.write_pending, state.degraded) == (True, 1)
    assert md_members.release_pending(running, "v1", frozenset({"dm-2"})) == ()
    state = md_state.read_array(running, "v1")
    assert (state.array_state, state.members[2].blocked) == ("active", False)


def test_a_second_failure_is_not_released_with_the_first(running: FakeMd) -> None:
    """There is one pending flag per array: writes missing on the second would be acknowledged."""
    for kname in ("dm-1", "dm-2"):
        md_members.fail_member(running, "v1", kname)
    assert md_members.release_pending(running, "v1", frozenset({"dm-2"})) == ("dm-1",)
    state = md_state.read_array(running, "v1")
    assert (state.write_pending, state.members[2].blocked) == (True, True)
    assert md_members.release_pending(running, "v1", frozenset({"dm-1", "dm-2"})) == ()


class FailsMeanwhile(FakeMd):
    """Another member fails while the first is being unblocked, for which one may have to wait."""

    def write(self, name: str, value: str | int, *, secret: bool = False) -> None:
        super().write(name, value, secret=secret)
        if value == "-blocked":
            super().write(f"{BASE}/dev-dm-1/state", "faulty")


def test_a_failure_while_another_is_unblocked_is_not_released_with_it(tmp_path: Path) -> None:
    tree = with_devices(FailsMeanwhile(tmp_path))
    md.assemble(tree, spec())
    md.activate(tree, "v1")
    md_members.fail_member(tree, "v1", "dm-2")
    assert md_members.release_pending(tree, "v1", frozenset({"dm-2"})) == ("dm-1",)
    assert md_state.read_array(tree, "v1").write_pending


def test_the_last_member_is_never_failed(running: FakeMd) -> None:
    for kname in ("dm-1", "dm-2"):
        md_members.fail_member(running, "v1", kname)
    with pytest.raises(FailedPrecondition, match="last member"):
        md_members.fail_member(running, "v1", "dm-0")
    assert md_state.read_array(running, "v1").members[0].serving


def drop(tree: FakeMd, kname: str) -> None:
    md_members.fail_member(tree, "v1", kname)
    md_members.release_pending(tree, "v1", frozenset({kname}))


def test_a_member_is_removed_once_its_requests_have_ended(running: FakeMd) -> None:
    drop(running, "dm-2")
    running.busy_removals = 3
    for _ in range(2):
        md_members.remove_member(running, "v1", "dm-2", QuickClock())
    assert [each.kname for each in md_state.read_members(running, "v1")] == ["dm-0", "dm-1"]


def test_a_member_whose_requests_do_not_end_stays(running: FakeMd) -> None:
    drop(running, "dm-2")
    running.busy_removals = 1000
    with pytest.raises(FailedPrecondition, match="under way"):
        md_members.remove_member(running, "v1", "dm-2", QuickClock())


def test_a_member_in_sync_is_not_removed(running: FakeMd) -> None:
    with pytest.raises(FailedPrecondition, match="in sync"):
        md_members.remove_member(running, "v1", "dm-2")


@pytest.mark.parametrize("bitmap", [True, False])
def test_a_member_comes_back_frozen_and_not_in_sync(running: FakeMd, bitmap: bool) -> None:
    drop(running, "dm-2")
    before = len(running.written)
    for _ in range(2):
        md_members.re_add_member(running, "v1", MemberSpec("253:2", 2, write_mostly=True), bitmap=bitmap)
    writes = [(name.removeprefix(f"{BASE}/"), value) for name, value in running.written[before:]]
    assert (("dev-dm-2/state", "insync") in writes) == bitmap
    assert writes[0] == ("sync_action", "frozen")
    member = md_state.read_array(running, "v1").members[2]
    assert (member.slot, member.in_sync, member.write_mostly) == (2, False, True)
    md_members.start_recovery(running, "v1")
    assert md_state.read_array(running, "v1").sync_action == "recover"


def test_no_member_comes_back_while_a_resync_is_owed(tree: FakeMd) -> None:
    md.assemble(tree, spec(0, 1, resync=True))
    md.activate(tree, "v1")
    with pytest.raises(FailedPrecondition, match="owes a resync"):
        md_members.re_add_member(tree, "v1", MemberSpec("253:2", 2), bitmap=True)


def test_a_taken_slot_is_refused(running: FakeMd) -> None:
    with pytest.raises(FailedPrecondition, match="slot 1 of array v1 is taken"):
        md_members.re_add_member(running, "v1", MemberSpec("253:3", 1), bitmap=False)


def test_a_member_that_cannot_come_back_leaves_no_trace(running: FakeMd) -> None:
    drop(running, "dm-2")
    md_members.remove_member(running, "v1", "dm-2")
    running.path("/sys/class/block/dm-2/dev").write_text("253:99\n")
    with pytest.raises(NotFound):
        md_members.re_add_member(running, "v1", MemberSpec("253:2", 2), bitmap=True)
    state = md_state.read_array(running, "v1")
    assert (state.sync_action, state.find_member("dm-2")) == ("idle", None)


def test_bits_can_be_added_to_a_running_array(running: FakeMd) -> None:
    md_members.add_bits(running, "v1", ("1-4", "9"))
    assert running.set_bits == ["1-4", "9"]
    assert not md_state.read_array(running, "v1").resync_owed


def test_progress_and_speed_are_parsed_in_bytes() -> None:
    assert md_state.parse_progress("1024 / 4096") == Progress(524288, 2097152)
    assert md_state.parse_progress("none") is None
    assert md_state.parse_progress("delayed") is None
    assert (md_state.parse_speed("200"), md_state.parse_speed("none")) == (204800, 0)
    assert (md_state.parse_resync_start("none"), md_state.parse_resync_start("128")) == (None, 128)
    assert md_state.parse_flags("in_sync,write_mostly") == {"in_sync", "write_mostly"}
    assert md_state.parse_flags("") == frozenset()
