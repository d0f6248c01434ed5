from pathlib import Path

import pytest

from replication.errors import (
    AlreadyExists,
    CommandFailed,
    FailedPrecondition,
    InvalidRequest,
    KernelError,
    NotFound,
    OutOfSpace,
)
from replication.kernel.lvm import Lvm, format_config, format_create, format_remove, format_script, round_up
from replication.kernel.lvm_report import parse_logical_volumes, parse_volume_groups
from tests.unit.kernel.data import read_captured
from tests.unit.kernel.fake_lvm import FakeLvm

GIB = 1 << 30
MIB = 1 << 20
TAGS = frozenset({"trilith", "cluster=9f3c"})


@pytest.fixture
def program() -> FakeLvm:
    return FakeLvm({"/dev/nvme0n1": GIB, "/dev/nvme1n1": GIB, "/dev/sda": GIB})


@pytest.fixture
def lvm(program: FakeLvm, tmp_path: Path) -> Lvm:
    return Lvm(program, ("/dev/nvme0n1", "/dev/nvme1n1"), tmp_path / "lvm")


@pytest.fixture
def group(lvm: Lvm) -> str:
    return lvm.ensure_volume_group("p0", "/dev/nvme0n1", TAGS).name


def test_only_exactly_our_disks_are_seen() -> None:
    config = format_config(("/dev/nvme0n1", "/dev/nvme10n1"))
    assert 'global_filter=["a|^/dev/nvme0n1$|","a|^/dev/nvme10n1$|","r|.*|"]' in config
    assert 'global_filter=["r|.*|"]' in format_config(())


def test_a_name_that_is_a_pattern_is_refused() -> None:
    for device in ("/dev/.*", "/dev/a|b", "nvme0n1", '/dev/a"'):
        with pytest.raises(InvalidRequest):
            format_config((device,))


def test_what_etc_says_is_not_read_and_what_we_say_is_written_once(
    lvm: Lvm, group: str, tmp_path: Path
) -> None:
    (config,) = (tmp_path / "lvm").rglob("lvm.conf*")
    assert config.read_text() == format_config(("/dev/nvme0n1", "/dev/nvme1n1"))
    config.unlink()
    assert lvm.get_volume_group(group).name == group
    assert config.exists()


def test_several_changes_are_one_run_that_ends_with_the_first_error(
    lvm: Lvm, group: str, program: FakeLvm
) -> None:
    before = program.starts
    creates = [format_create(group, name, 4 * MIB, TAGS) for name in ("r1", "r2", "r3")]
    remove = format_remove(group, "unknown")
    with pytest.raises(CommandFailed, match="unknown"):
        lvm.change((*creates[:2], remove, creates[2]))
    assert program.starts == before + 1
    assert sorted(program.groups[group].volumes) == ["r1", "r2"]
    lvm.change(())
    assert program.starts == before + 1


@pytest.mark.parametrize("word", ["a b", "", 'a"', "a'", "a\nlvremove", "#", "$x", "\\", "x" * 251])
def test_a_word_that_a_script_would_read_otherwise_is_refused(word: str) -> None:
    with pytest.raises(InvalidRequest, match="no line for LVM"):
        format_script((("vgs", word),))


def test_captured_volume_groups_are_understood() -> None:
    first, second = parse_volume_groups(read_captured("lvm-2.03.16-vgs.json"))
    assert (first.name, first.disks, first.logical_volumes) == ("p-nvme0", ("/dev/nvme0n1",), 2)
    assert (first.size_bytes, first.free_bytes, first.extent_bytes) == (1069547520, 801112064, 4 * MIB)
    assert (first.tags, second.tags) == (TAGS, frozenset({"trilith"}))
    assert parse_volume_groups(read_captured("lvm-2.03.16-vgs-none.json")) == ()


def test_captured_logical_volumes_are_understood() -> None:
    first, second = parse_logical_volumes(read_captured("lvm-2.03.16-lvs.json"))
    assert (first.group, first.name, first.size_bytes, first.number) == ("p-nvme0", "r1", 128 * MIB, "254:0")
    assert (first.active, first.path) == (True, "/dev/p-nvme0/r1")
    assert (second.active, second.number, second.tags) == (False, "", frozenset())


def test_words_that_are_no_report_are_an_error() -> None:
    for text in ("", "{}", '{"report": 3}'):
        with pytest.raises(KernelError, match="not understood"):
            parse_volume_groups(text)


def test_a_volume_group_is_made_once(lvm: Lvm, program: FakeLvm) -> None:
    made = lvm.ensure_volume_group("p0", "/dev/nvme0n1", TAGS)
    assert lvm.ensure_volume_group("p0", "/dev/nvme0n1", TAGS) == made
    assert [call[1] for call in program.calls].count("vgcreate") == 1
    assert made.disks == ("/dev/nvme0n1",)


def test_a_name_taken_by_another_disk_is_refused(lvm: Lvm, group: str) -> None:
    with pytest.raises(AlreadyExists, match="is on /dev/nvme0n1"):
        lvm.ensure_volume_group(group, "/dev/nvme1n1", TAGS)
    with pytest.raises(AlreadyExists, match="other-cluster"):
        lvm.ensure_volume_group(group, "/dev/nvme0n1", frozenset({"other-cluster"}))


def test_a_disk_that_is_not_ours_is_never_touched(lvm: Lvm, program: FakeLvm) -> None:
    with pytest.raises(CommandFailed, match="No device found"):
        lvm.ensure_volume_group("p0", "/dev/sda", TAGS)
    program.foreign.add("/dev/nvme0n1")
    with pytest.raises(CommandFailed, match="Aborted wiping"):
        lvm.ensure_volume_group("p0", "/dev/nvme0n1", TAGS)
    assert not any("-y" in call for call in program.calls)


def test_only_an_empty_volume_group_is_removed(lvm: Lvm, group: str) -> None:
    lvm.ensure_logical_volume(group, "r1", 100 * MIB, TAGS)
    with pytest.raises(FailedPrecondition, match="1 logical volumes"):
        lvm.remove_volume_group(group)
    lvm.remove_logical_volume(group, "r1")
    for _ in range(2):
        lvm.remove_volume_group(group)
    with pytest.raises(NotFound):
        lvm.get_volume_group(group)


def test_a_logical_volume_is_rounded_up_to_extents(lvm: Lvm, group: str) -> None:
    made = lvm.ensure_logical_volume(group, "r1", 100 * MIB + 1, TAGS)
    assert made.size_bytes == 104 * MIB
    assert (made.active, made.tags) == (True, TAGS)
    assert lvm.ensure_logical_volume(group, "r1", 100 * MIB + 1, TAGS) == made
    assert round_up(8 * MIB, 4 * MIB) == 8 * MIB


def test_a_logical_volume_of_another_size_is_refused(lvm: Lvm, group: str) -> None:
    lvm.ensure_logical_volume(group, "r1", 100 * MIB, TAGS)
    with pytest.raises(AlreadyExists, match="r1 has 104857600 bytes"):
        lvm.ensure_logical_volume(group, "r1", 200 * MIB, TAGS)


def test_what_does_not_fit_says_how_much_there_is(lvm: Lvm, group: str) -> None:
    with pytest.raises(OutOfSpace, match="1069547520 bytes free, 2147483648 are wanted"):
        lvm.ensure_logical_volume(group, "r1", 2 * GIB, TAGS)
    lvm.ensure_logical_volume(group, "r1", 800 * MIB, TAGS)
    with pytest.raises(OutOfSpace):
        lvm.extend(group, "r1", 2 * GIB)


def test_extending_never_shrinks(lvm: Lvm, group: str) -> None:
    lvm.ensure_logical_volume(group, "r1", 100 * MIB, TAGS)
    for _ in range(2):
        assert lvm.extend(group, "r1", 200 * MIB).size_bytes == 200 * MIB
    assert lvm.extend(group, "r1", 100 * MIB).size_bytes == 200 * MIB


def test_an_inactive_volume_is_activated(lvm: Lvm, group: str, program: FakeLvm) -> None:
    lvm.ensure_logical_volume(group, "r1", 100 * MIB, TAGS)
    program.groups[group].volumes["r1"].active = False
    assert lvm.get_logical_volume(group, "r1").number == ""
    assert lvm.ensure_logical_volume(group, "r1", 100 * MIB, TAGS).number == "254:0"


def test_a_volume_in_use_is_not_removed(lvm: Lvm, group: str, program: FakeLvm) -> None:
    lvm.ensure_logical_volume(group, "r1", 100 * MIB, TAGS)
    program.open.add("r1")
    with pytest.raises(FailedPrecondition, match="p0/r1 in use"):
        lvm.remove_logical_volume(group, "r1")
    program.open.clear()
    for _ in range(2):
        lvm.remove_logical_volume(group, "r1")
    with pytest.raises(NotFound):
        lvm.get_logical_volume(group, "r1")
