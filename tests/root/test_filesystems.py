"""File systems, mounts and limits on a real array."""

import os
import time
from pathlib import Path

import pytest

from replication.errors import AlreadyExists, FailedPrecondition
from replication.kernel import blockdev, cgroup, filesystem
from replication.kernel.cgroup import IoLimits
from replication.kernel.filesystem import Kind
from replication.kernel.mounts import Mounts
from replication.kernel.run import run
from tests.root.stand import DATA, Stand

pytestmark = pytest.mark.root
LARGER = 330 << 20  # mkfs.xfs wants 300 MiB


@pytest.fixture
def array(local: Stand) -> Stand:
    local.start()
    local.write(0, b"\0")
    return local


@pytest.mark.parametrize("kind", list(Kind))
def test_a_file_system_from_its_making_to_its_growth(array: Stand, tmp_path: Path, kind: Kind) -> None:
    if kind is Kind.XFS:
        array.grow(LARGER)
    assert filesystem.find_signature(run, array.device) is None
    for _ in range(2):
        filesystem.ensure_filesystem(run, array.device, kind)
    found = filesystem.find_signature(run, array.device)
    assert found is not None
    assert found.kind == kind
    with pytest.raises(AlreadyExists):
        filesystem.ensure_filesystem(run, array.device, Kind.XFS if kind is Kind.EXT4 else Kind.EXT4)
    filesystem.check(run, array.device, kind)
    mounts, point = Mounts(run, array.tree), tmp_path / "a b"
    for _ in range(2):
        mounts.ensure_mounted(array.device, str(point), kind, ("noatime",))
    (point / "file").write_text("data")
    before = os.statvfs(point).f_blocks
    array.grow((LARGER if kind is Kind.XFS else DATA) + (64 << 20))
    for _ in range(2):
        filesystem.grow(run, array.device, str(point), kind)
    assert os.statvfs(point).f_blocks > before
    assert (point / "file").read_text() == "data"
    mounts.remove(str(point))
    filesystem.check(run, array.device, kind)


def test_a_file_system_that_is_shut_down_takes_no_more_writes(array: Stand, tmp_path: Path) -> None:
    filesystem.ensure_filesystem(run, array.device, Kind.EXT4)
    mounts, point = Mounts(run, array.tree), tmp_path / "stage"
    mounts.ensure_mounted(array.device, str(point), "ext4")
    filesystem.shut_down(str(point))
    with pytest.raises(OSError, match="Input/output error"):
        (point / "file").write_text("data")
    mounts.remove(str(point))


def test_a_mount_is_published_read_only_and_in_use_is_said(array: Stand, tmp_path: Path) -> None:
    filesystem.ensure_filesystem(run, array.device, Kind.EXT4)
    mounts, stage, pod = Mounts(run, array.tree), str(tmp_path / "stage"), str(tmp_path / "pod/volume")
    mounts.ensure_mounted(array.device, stage, "ext4")
    for _ in range(2):
        mounts.ensure_bound(stage, pod, readonly=True)
    with pytest.raises(OSError, match="Read-only"):
        (Path(pod) / "file").touch()
    (Path(stage) / "file").touch()
    number = array.tree.device_number(array.device)
    assert [mount.path for mount in mounts.list_of_device(number)] == [stage, pod]
    with (Path(stage) / "file").open():
        mounts.remove(pod)
        with pytest.raises(FailedPrecondition, match="in use"):
            mounts.remove(stage)
    for _ in range(2):
        mounts.remove(stage)
    assert not Path(pod).exists()


def test_a_device_is_published_as_a_file(array: Stand, tmp_path: Path) -> None:
    mounts, pod = Mounts(run, array.tree), str(tmp_path / "pod/block")
    for _ in range(2):
        mounts.ensure_bound(array.device, pod)
    assert array.tree.device_number(pod) == array.tree.device_number(array.device)
    mounts.remove(pod)
    assert not Path(pod).exists()


@pytest.mark.parametrize("kind", list(Kind))
def test_a_read_only_device_is_not_written_by_anybody(array: Stand, tmp_path: Path, kind: Kind) -> None:
    if kind is Kind.XFS:
        array.grow(LARGER)
    filesystem.ensure_filesystem(run, array.device, kind)
    mounts, stage = Mounts(run, array.tree), str(tmp_path / "stage")
    for _ in range(2):
        blockdev.ensure_readonly(array.tree, run, array.device, readonly=True)
    descriptor = os.open(array.device, os.O_RDWR)
    with pytest.raises(PermissionError):
        os.pwrite(descriptor, b"x" * 4096, 0)
    os.close(descriptor)
    mounts.ensure_mounted(array.device, stage, kind, ("ro",))
    mounts.remove(stage)
    blockdev.ensure_readonly(array.tree, run, array.device, readonly=False)
    mounts.ensure_mounted(array.device, stage, kind)
    (Path(stage) / "file").write_text("data")
    mounts.remove(stage)


def test_a_limit_bounds_what_a_cgroup_writes(array: Stand) -> None:
    root = Path(cgroup.ROOT)
    (root / "cgroup.subtree_control").write_text("+io")
    (root / "pods").mkdir(exist_ok=True)
    number = array.tree.device_number(array.device)
    limits = IoLimits(write_operations=50, read_bytes=4 << 20)
    for _ in range(2):
        cgroup.ensure_limits(array.tree, "pods", number, limits)
    assert cgroup.read_limits(array.tree, "pods", number) == limits
    started = time.monotonic()
    command = (
        f"echo $$ > {root}/pods/cgroup.procs; dd if=/dev/zero of={array.device} bs=4k count=150 oflag=direct"
    )
    run(("sh", "-c", command), timeout=60)
    assert time.monotonic() - started > 2
    cgroup.remove_limits(array.tree, "pods", number)
    assert cgroup.read_limits(array.tree, "pods", number) == IoLimits()
    (root / "pods").rmdir()


def test_a_member_of_an_array_is_claimed(array: Stand) -> None:
    replica = array.replicas[0]
    assert blockdev.is_claimed(array.tree, f"/dev/{replica.member}")
    assert blockdev.holders(array.tree, replica.member) == (f"md_{array.name}",)
    assert not blockdev.is_claimed(array.tree, array.device)
