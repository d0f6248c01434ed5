from pathlib import Path

import pytest

from replication.errors import (
    AlreadyExists,
    CommandFailed,
    DataLoss,
    FailedPrecondition,
    KernelError,
    NotFound,
)
from replication.kernel.filesystem import (
    Kind,
    Signature,
    check,
    ensure_filesystem,
    find_signature,
    grow,
    parse_signature,
    shut_down,
)
from tests.unit.kernel.data import read_captured
from tests.unit.kernel.fake_runner import Answer, FakeRunner

DEVICE = "/dev/md_v1"


def blkid(answer: Answer, **others: Answer) -> FakeRunner:
    return FakeRunner(
        {("blkid", "-p", "-o", "export"): answer, **{(key,): value for key, value in others.items()}}
    )


def failed(status: int) -> CommandFailed:
    return CommandFailed(("blkid",), status, "")


@pytest.mark.parametrize(("capture", "kind"), [("ext4", "ext4"), ("xfs", "xfs"), ("lvm", "LVM2_member")])
def test_captured_signatures_are_understood(capture: str, kind: str) -> None:
    assert parse_signature(read_captured(f"blkid-2.38.1-{capture}.txt")) == Signature(kind, "")


def test_a_partition_table_alone_is_a_signature() -> None:
    found = parse_signature("DEVNAME=/dev/sda\nPTUUID=1\nPTTYPE=gpt\n")
    assert str(found) == "a gpt partition table"
    assert parse_signature("DEVNAME=/dev/sda\n") is None


def test_nothing_and_too_much_are_told_apart() -> None:
    assert find_signature(blkid(failed(2)), DEVICE) is None
    with pytest.raises(FailedPrecondition, match="contradict"):
        find_signature(blkid(failed(8)), DEVICE)
    with pytest.raises(CommandFailed):
        find_signature(blkid(failed(4)), DEVICE)


@pytest.mark.parametrize(
    ("kind", "argv"),
    [
        (Kind.EXT4, ("mkfs.ext4", "-q", "-m", "0", "-E", "nodiscard", DEVICE)),
        (Kind.XFS, ("mkfs.xfs", "-q", "-K", DEVICE)),
    ],
)
def test_a_file_system_is_made_on_nothing_without_a_discard(kind: Kind, argv: tuple[str, ...]) -> None:
    runner = blkid(failed(2), **{argv[0]: ""})
    ensure_filesystem(runner, DEVICE, kind)
    assert runner.calls[-1] == argv


def test_a_file_system_of_the_same_kind_is_left_alone() -> None:
    runner = blkid(read_captured("blkid-2.38.1-ext4.txt"))
    ensure_filesystem(runner, DEVICE, Kind.EXT4)
    assert len(runner.calls) == 1


@pytest.mark.parametrize("capture", ["xfs", "lvm"])
def test_nothing_is_made_over_something_else(capture: str) -> None:
    with pytest.raises(AlreadyExists, match=f"{DEVICE} holds"):
        ensure_filesystem(blkid(read_captured(f"blkid-2.38.1-{capture}.txt")), DEVICE, Kind.EXT4)


@pytest.mark.parametrize("status", [1, 2, 3])
def test_what_was_repaired_is_fine(status: int) -> None:
    check(FakeRunner({("e2fsck", "-p"): failed(status)}), DEVICE, Kind.EXT4)


def test_what_could_not_be_repaired_is_data_loss() -> None:
    error = CommandFailed(("e2fsck",), 4, "UNEXPECTED INCONSISTENCY")
    with pytest.raises(DataLoss, match=rf"UNEXPECTED INCONSISTENCY.* run `e2fsck -f {DEVICE}` on this node"):
        check(FakeRunner({("e2fsck", "-p"): error}), DEVICE, Kind.EXT4)


@pytest.mark.parametrize("status", [8, 9, 16, 128])
def test_a_check_that_could_not_be_made_is_no_damage(status: int) -> None:
    with pytest.raises(CommandFailed):
        check(FakeRunner({("e2fsck", "-p"): failed(status)}), DEVICE, Kind.EXT4)


def test_xfs_checks_itself_when_it_is_mounted() -> None:
    check(FakeRunner(), DEVICE, Kind.XFS)


def test_each_kind_grows_by_its_own_tool() -> None:
    runner = FakeRunner({("resize2fs", DEVICE): "", ("xfs_growfs", "/mnt"): ""})
    for kind in Kind:
        grow(runner, DEVICE, "/mnt", kind)
    assert len(runner.calls) == 2


def test_what_is_no_such_file_system_cannot_be_shut_down(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        shut_down(str(tmp_path / "gone"))
    with pytest.raises(KernelError):
        shut_down("/proc")
