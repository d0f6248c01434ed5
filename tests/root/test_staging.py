"""Staging and publishing on a real array: what mounts, devices and groups are afterwards."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from replication.agent.assembled import Arrays, Assembled
from replication.agent.staging import Staging
from replication.agent.usage import read_usage
from replication.errors import AlreadyExists, DataLoss, FailedPrecondition
from replication.kernel.direct import read_direct, write_direct
from replication.kernel.run import run
from replication.model import AccessType, PublishSpec, StageSpec
from tests.root.stand import DATA, Stand

pytestmark = pytest.mark.root
MOUNT, BLOCK = AccessType.MOUNT, AccessType.BLOCK


@pytest.fixture
def array(local: Stand) -> Stand:
    local.start()
    local.write(0, b"\0")
    return local


@pytest.fixture
def staging(array: Stand) -> Staging:
    return Staging(array.tree, run, Arrays([Assembled(array.name, 1, {})]))


@pytest.fixture
def stage(array: Stand, staging: Staging, tmp_path: Path) -> Iterator[str]:
    """A path to stage at, under which nothing is left."""
    path = str(tmp_path / "stage")
    yield path
    for target in ("a", "b"):
        staging.unpublish(array.name, str(tmp_path / target))
    staging.unstage(array.name, path)
    assert list(tmp_path.iterdir()) == []


def write_block(path: str, offset: int = 0) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.pwrite(descriptor, b"x" * 4096, offset)
    finally:
        os.close(descriptor)


def test_a_mounted_volume_twice_all_the_way(
    array: Stand, staging: Staging, stage: str, tmp_path: Path
) -> None:
    spec = StageSpec(array.name, stage, MOUNT, mount_flags=("noatime",), mount_group="1234")
    pod = tmp_path / "a"
    publish = PublishSpec(array.name, stage, str(pod), MOUNT, exclusive=True)
    for _ in range(2):
        staging.stage(spec)
        staging.publish(publish)
    assert pod.stat().st_gid == 1234
    (pod / "device").write_text("a user's")
    assert 0 < read_usage(str(pod)).total_bytes <= DATA
    with pytest.raises(AlreadyExists, match="other flags"):
        staging.stage(StageSpec(array.name, stage, MOUNT))
    with pytest.raises(FailedPrecondition, match="one path only"):
        staging.publish(PublishSpec(array.name, stage, str(tmp_path / "b"), MOUNT, exclusive=True))
    staging.unpublish(array.name, str(pod))
    staging.unstage(array.name, stage)
    staging.stage(spec)
    assert Path(stage, "device").read_text() == "a user's"


def test_a_volume_that_is_attached_read_only_is_not_written(
    array: Stand, staging: Staging, stage: str, tmp_path: Path
) -> None:
    staging.protect(array.name)
    with pytest.raises(FailedPrecondition, match="attached read-only"):
        staging.stage(StageSpec(array.name, stage, MOUNT))
    staging.stage(StageSpec(array.name, stage, MOUNT, readonly=True))
    staging.publish(PublishSpec(array.name, stage, str(tmp_path / "a"), MOUNT))
    with pytest.raises(OSError, match="Read-only"):
        (tmp_path / "a" / "file").touch()
    with pytest.raises(PermissionError):
        write_block(array.device)


def test_a_block_volume_is_read_only_as_long_as_it_is_published_so(
    array: Stand, staging: Staging, stage: str, tmp_path: Path
) -> None:
    staging.stage(StageSpec(array.name, stage, BLOCK, ""))
    first, second = str(tmp_path / "a"), str(tmp_path / "b")
    staging.publish(PublishSpec(array.name, stage, first, BLOCK, readonly=True))
    with pytest.raises(PermissionError):
        write_block(first)
    with pytest.raises(FailedPrecondition, match="published read-only"):
        staging.publish(PublishSpec(array.name, stage, second, BLOCK))
    staging.unpublish(array.name, first)
    staging.publish(PublishSpec(array.name, stage, second, BLOCK))
    write_block(second)


def test_a_damaged_file_system_is_left_to_an_administrator(
    array: Stand, staging: Staging, stage: str
) -> None:
    spec = StageSpec(array.name, stage, MOUNT)
    staging.stage(spec)
    staging.unstage(array.name, stage)
    superblock = read_direct(array.device, 0, 4096)[:2048]
    write_direct(array.device, 0, superblock + os.urandom((1 << 20) - len(superblock)))
    with pytest.raises(DataLoss, match=f"run `e2fsck -f {array.device}` on this node"):
        staging.stage(spec)
