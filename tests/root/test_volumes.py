"""Disks and LVM on a real machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from replication.errors import AlreadyExists, CommandFailed, FailedPrecondition, OutOfSpace
from replication.kernel import blockdev, direct, header
from replication.kernel.disks import read_disks
from replication.kernel.filesystem import find_signature
from replication.kernel.lvm import Lvm
from replication.kernel.run import run
from replication.kernel.sysfs import Tree
from tests.root.conftest import TAGS

pytestmark = pytest.mark.root
MIB = 1 << 20
NAME = "r1"
HEADER = header.Header("9f3c", "v1", "r1", 1, 7, 42, 60 * MIB, 65536)


@pytest.fixture
def path(tree: Tree, lvm: Lvm) -> Iterator[str]:
    """Of a logical volume `test0/r1` of 32 MiB, taken away in the end."""
    volume = lvm.ensure_logical_volume("test0", NAME, 30 * MIB, TAGS)
    yield blockdev.device_path(tree, volume.number)
    lvm.remove_logical_volume("test0", NAME)


@pytest.mark.usefixtures("lvm")
def test_a_disk_of_ours_is_no_longer_usable(tree: Tree, disks: tuple[str, ...]) -> None:
    found = {disk.path: disk for disk in read_disks(tree, run)}
    for disk in disks:
        assert not found[disk].usable
        assert found[disk].signature == "LVM2_member"
        assert found[disk].serial
        assert found[disk].kind == "nvme"


def test_groups_are_repeatable_and_refuse_another_disk(lvm: Lvm, disks: tuple[str, ...]) -> None:
    group = lvm.ensure_volume_group("test0", disks[0], TAGS)
    assert (group.disks, group.tags) == ((disks[0],), TAGS)
    with pytest.raises(AlreadyExists):
        lvm.ensure_volume_group("test0", disks[1], TAGS)
    with pytest.raises(CommandFailed, match="already in volume group"):
        lvm.ensure_volume_group("other", disks[1], TAGS)


def test_a_disk_outside_the_filter_is_not_touched(disks: tuple[str, ...]) -> None:
    with pytest.raises(CommandFailed, match=r"filter|No device found"):
        Lvm(run, disks[:1]).ensure_volume_group("other", disks[1], TAGS)


def test_a_disk_with_a_file_system_is_left_alone(path: str) -> None:
    """Should discovery be passed over, LVM asks by itself, and nobody says yes."""
    run(("mkfs.ext4", "-q", path), timeout=60)
    config = 'devices/scan_lvs=1 devices/global_filter=["a|.*|"]'
    with pytest.raises(CommandFailed, match="Aborted wiping of ext4"):
        run(("lvm", "pvcreate", "--config", config, path), timeout=60)
    run(("wipefs", "-a", path), timeout=60)


def test_a_logical_volume_from_its_beginning_to_its_end(tree: Tree, lvm: Lvm, path: str) -> None:
    made = lvm.ensure_logical_volume("test0", NAME, 30 * MIB, TAGS)
    assert (made.size_bytes, made.active) == (32 * MIB, True)
    assert blockdev.device_path(tree, made.number) == path == blockdev.device_path(tree, made.path)
    assert blockdev.size_bytes(tree, blockdev.kernel_name(tree, made.number)) == 32 * MIB
    assert lvm.extend("test0", NAME, 40 * MIB).size_bytes == 40 * MIB
    assert lvm.extend("test0", NAME, 10 * MIB).size_bytes == 40 * MIB
    with pytest.raises(AlreadyExists):
        lvm.ensure_logical_volume("test0", NAME, 30 * MIB, TAGS)
    with pytest.raises(FailedPrecondition, match=r"still has \d logical volumes"):
        lvm.remove_volume_group("test0")
    for _ in range(2):
        lvm.remove_logical_volume("test0", NAME)
    assert lvm.find_logical_volume("test0", NAME) is None


@pytest.fixture
def spare(tmp_path: Path) -> Iterator[str]:
    """A disk that nobody has."""
    run(("modprobe", "loop"), timeout=20)
    with (tmp_path / "disk").open("wb") as file:
        file.truncate(100 * MIB)
    made = run(("losetup", "--find", "--show", str(tmp_path / "disk")), timeout=20).strip()
    yield made
    run(("losetup", "--detach", made), timeout=20)


def test_a_removal_that_ended_halfway_is_ended_and_a_group_is_left_alone(spare: str) -> None:
    lvm = Lvm(run, (spare,))
    lvm.ensure_volume_group("spare", spare, TAGS)
    lvm.remove_label(spare)
    assert lvm.get_volume_group("spare").disks == (spare,)
    lvm._lvm("vgremove", "spare")
    assert str(find_signature(run, spare)) == "LVM2_member"
    for _ in range(2):
        lvm.remove_label(spare)
        assert find_signature(run, spare) is None


@pytest.mark.usefixtures("path")
def test_an_inactive_volume_is_activated(lvm: Lvm) -> None:
    lvm._lvm("lvchange", "-an", f"test0/{NAME}")
    assert lvm.get_logical_volume("test0", NAME).number == ""
    assert lvm.activate("test0", NAME).number


def test_a_volume_that_is_open_is_not_removed(lvm: Lvm, path: str) -> None:
    with Path(path).open("rb"), pytest.raises(FailedPrecondition, match="in use"):
        lvm.remove_logical_volume("test0", NAME)


def test_more_than_the_disk_has_is_out_of_space(lvm: Lvm) -> None:
    with pytest.raises(OutOfSpace, match="bytes free"):
        lvm.ensure_logical_volume("test0", "big", 1 << 40, TAGS)


def test_a_header_lives_on_a_device(path: str) -> None:
    direct.zero_range(path, 0, 32 * MIB)
    assert header.find_header(path) is None
    stored = header.write_header(path, HEADER)
    assert header.read_header(path) == stored
    direct.write_direct(path, 0, b"\xff" * 4096)
    assert header.read_header(path) == stored


def test_zeroing_leaves_nothing_of_what_was_there(path: str) -> None:
    direct.write_direct(path, 8 * MIB, b"x" * MIB)
    direct.zero_range(path, 0, 32 * MIB)
    assert not any(direct.read_direct(path, 8 * MIB, MIB))


def test_the_cache_of_the_disk_shows_through(tree: Tree, path: str, disks: tuple[str, ...]) -> None:
    below = blockdev.write_cache(tree, blockdev.kernel_name(tree, disks[0]))
    assert blockdev.write_cache(tree, blockdev.kernel_name(tree, path)) == below
