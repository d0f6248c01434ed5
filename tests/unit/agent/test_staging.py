"""Staging and publishing over a mountinfo of its own; what real kernels do is in tests/root and tests/lab."""

import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from replication.agent.assembled import Arrays, Assembled
from replication.agent.staging import Staging
from replication.errors import (
    AlreadyExists,
    CommandFailed,
    DataLoss,
    FailedPrecondition,
    NotFound,
    OutOfRange,
)
from replication.kernel.run import NOTHING
from replication.model import AccessType, PublishSpec, StageSpec
from tests.unit.kernel.fake_mounts import FakeMounts

GIB = 1 << 30
STAGE = StageSpec("v1", "/stage", AccessType.MOUNT)
PUBLISH = PublishSpec("v1", "/stage", "/pod/a", AccessType.MOUNT)
BLOCK = StageSpec("v1", "/stage", AccessType.BLOCK, "")
BLOCK_PUBLISH = PublishSpec("v1", "/stage", "/pod/a", AccessType.BLOCK)


class Node(FakeMounts):
    """A device `/dev/md_v1` that knows what was made on it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.holds = ""
        self.fsck = 0
        self.written_while_readonly: list[str] = []

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        stdin: bytes | None = None,
        environment: Mapping[str, str] = NOTHING,
    ) -> str:
        if argv[0] in {"mount", "umount", "blockdev"}:
            return super().run(argv, timeout=timeout, stdin=stdin)
        self.calls.append(tuple(argv))
        if argv[0] == "blkid":
            return self._probe(argv)
        if self.readonly():
            self.written_while_readonly.append(argv[0])
        if argv[0].startswith("mkfs."):
            self.holds = argv[0].removeprefix("mkfs.")
            self.put_superblock(GIB)
        elif argv[0] == "resize2fs":
            self.put_superblock(int(self.read("/sys/class/block/md_v1/size")) * 512)
        elif self.fsck:
            raise CommandFailed(argv, self.fsck, "UNEXPECTED INCONSISTENCY")
        return ""

    def _probe(self, argv: Sequence[str]) -> str:
        if not self.holds:
            raise CommandFailed(argv, 2, "")
        return f"TYPE={self.holds}\n"

    def readonly(self) -> bool:
        return self.read("/sys/class/block/md_v1/ro") == "1"

    def put_superblock(self, size_bytes: int) -> None:
        block = bytearray(4096)
        struct.pack_into("<I", block, 1024 + 4, size_bytes // 4096)
        struct.pack_into("<I", block, 1024 + 24, 2)
        self.path("/dev/md_v1").write_bytes(block)

    def reboot(self) -> None:
        self.put("/proc/self/mountinfo", "\n".join(self.read("/proc/self/mountinfo").splitlines()[:2]))

    def ran(self, program: str) -> int:
        return sum(call[0] == program for call in self.calls)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@pytest.fixture
def staging(node: Node) -> Staging:
    return Staging(node, node.run, Arrays([Assembled("v1", 1, {})]))


def test_a_file_system_is_made_once_and_checked_before_its_next_mount(staging: Staging, node: Node) -> None:
    for _ in range(2):
        staging.stage(STAGE)
    assert (node.ran("mkfs.ext4"), node.ran("e2fsck"), node.ran("mount")) == (1, 0, 1)
    staging.unstage("v1", "/stage")
    staging.stage(STAGE)
    assert (node.ran("mkfs.ext4"), node.ran("e2fsck")) == (1, 1)


def test_all_the_way_and_back_again_twice(staging: Staging, node: Node) -> None:
    for _ in range(2):
        staging.stage(STAGE)
        staging.publish(PUBLISH)
    for _ in range(2):
        staging.unpublish("v1", "/pod/a")
        staging.unstage("v1", "/stage")
    assert not node.path("/pod/a").exists()
    assert not node.path("/stage").exists()


def test_what_is_not_attached_here_is_not_found(staging: Staging) -> None:
    for act in (
        lambda: staging.stage(StageSpec("v9", "/stage", AccessType.MOUNT)),
        lambda: staging.publish(PublishSpec("v9", "/stage", "/pod", AccessType.MOUNT)),
        lambda: staging.get_use("v9", "/pod"),
    ):
        with pytest.raises(NotFound):
            act()


def test_a_damaged_file_system_is_neither_mounted_nor_made_anew(staging: Staging, node: Node) -> None:
    node.holds, node.fsck = "ext4", 4
    with pytest.raises(DataLoss, match="run `e2fsck -f /dev/md_v1` on this node"):
        staging.stage(STAGE)
    assert (node.ran("mkfs.ext4"), node.ran("mount")) == (0, 0)


def test_another_file_system_is_left_alone(staging: Staging, node: Node) -> None:
    node.holds = "xfs"
    with pytest.raises(AlreadyExists, match="holds xfs"):
        staging.stage(STAGE)


@pytest.mark.parametrize(
    "other",
    [
        StageSpec("v1", "/stage", AccessType.MOUNT, readonly=True),
        StageSpec("v1", "/stage", AccessType.MOUNT, mount_flags=("noatime",)),
        StageSpec("v2", "/stage", AccessType.MOUNT),
    ],
)
def test_a_path_that_is_staged_differently_is_refused(node: Node, other: StageSpec) -> None:
    staging = Staging(node, node.run, Arrays([Assembled("v1", 1, {}), Assembled("v2", 1, {})]))
    staging.stage(STAGE)
    with pytest.raises(AlreadyExists, match="/stage"):
        staging.stage(other)


def test_after_a_reboot_everything_is_undone_and_done_again(staging: Staging, node: Node) -> None:
    staging.stage(STAGE)
    staging.publish(PUBLISH)
    node.reboot()
    staging.unpublish("v1", "/pod/a")
    staging.unstage("v1", "/stage")
    staging.stage(STAGE)
    staging.publish(PUBLISH)
    assert node.ran("mkfs.ext4") == 1


def test_a_file_that_is_called_as_ours_is_not_removed_from_a_file_system(
    staging: Staging, node: Node
) -> None:
    staging.stage(STAGE)
    node.path("/stage/device").touch()
    with pytest.raises(FailedPrecondition, match="not empty"):
        staging.unstage("v1", "/stage")
    assert node.path("/stage/device").exists()


def test_read_only_is_enforced_below_the_file_system(staging: Staging, node: Node) -> None:
    staging.protect("v1")
    with pytest.raises(FailedPrecondition, match="attached read-only"):
        staging.stage(STAGE)
    staging.stage(StageSpec("v1", "/stage", AccessType.MOUNT, readonly=True))
    staging.publish(PUBLISH)
    assert node.readonly()
    assert node.written_while_readonly == []
    assert " /pod/a ro " in node.read("/proc/self/mountinfo")


def test_a_block_volume_is_its_device(staging: Staging, node: Node) -> None:
    for _ in range(2):
        staging.stage(BLOCK)
        staging.publish(BLOCK_PUBLISH)
    assert staging.get_use("v1", "/pod/a") is AccessType.BLOCK
    assert (node.ran("mkfs.ext4"), node.readonly()) == (0, False)
    for _ in range(2):
        staging.unpublish("v1", "/pod/a")
        staging.unstage("v1", "/stage")
    assert not node.path("/stage").exists()


def test_a_block_volume_that_is_published_read_only_cannot_be_written(staging: Staging, node: Node) -> None:
    staging.stage(BLOCK)
    readonly = PublishSpec("v1", "/stage", "/pod/a", AccessType.BLOCK, readonly=True)
    staging.publish(readonly)
    assert node.readonly()
    with pytest.raises(FailedPrecondition, match="published read-only at /pod/a"):
        staging.publish(PublishSpec("v1", "/stage", "/pod/b", AccessType.BLOCK))
    with pytest.raises(AlreadyExists, match="bound read-only"):
        staging.publish(BLOCK_PUBLISH)
    staging.stage(BLOCK)
    assert node.readonly()
    staging.unpublish("v1", "/pod/a")
    assert not node.readonly()
    staging.publish(BLOCK_PUBLISH)
    with pytest.raises(FailedPrecondition, match="published writable at /pod/a"):
        staging.publish(PublishSpec("v1", "/stage", "/pod/b", AccessType.BLOCK, readonly=True))


def test_a_block_volume_that_is_staged_read_only_is_published_so(staging: Staging, node: Node) -> None:
    staging.stage(StageSpec("v1", "/stage", AccessType.BLOCK, "", readonly=True))
    assert node.readonly()
    with pytest.raises(FailedPrecondition, match="staged read-only"):
        staging.publish(BLOCK_PUBLISH)


@pytest.mark.parametrize("access", list(AccessType))
def test_a_single_writer_has_one_path(staging: Staging, access: AccessType) -> None:
    staging.stage(StageSpec("v1", "/stage", access))
    first = PublishSpec("v1", "/stage", "/pod/a", access, exclusive=True)
    second = PublishSpec("v1", "/stage", "/pod/b", access, exclusive=True)
    staging.publish(first)
    staging.publish(first)
    with pytest.raises(FailedPrecondition, match="published at /pod/a already"):
        staging.publish(second)
    staging.unpublish("v1", "/pod/a")
    staging.publish(second)


@pytest.mark.parametrize("access", list(AccessType))
def test_several_writers_of_one_node_have_several(staging: Staging, access: AccessType) -> None:
    staging.stage(StageSpec("v1", "/stage", access))
    for path in ("/pod/a", "/pod/b"):
        staging.publish(PublishSpec("v1", "/stage", path, access))


def test_what_is_not_staged_is_not_published(staging: Staging) -> None:
    for spec in (PUBLISH, BLOCK_PUBLISH):
        with pytest.raises(FailedPrecondition, match="not staged at /stage"):
            staging.publish(spec)


def test_the_use_of_a_path_is_known(staging: Staging) -> None:
    staging.stage(STAGE)
    staging.publish(PUBLISH)
    assert staging.get_use("v1", "/stage") is AccessType.MOUNT
    assert staging.get_use("v1", "/pod/a") is AccessType.MOUNT
    with pytest.raises(NotFound, match="nor published at /pod/b"):
        staging.get_use("v1", "/pod/b")


def test_a_file_system_fills_a_device_that_has_grown(staging: Staging, node: Node) -> None:
    staging.stage(STAGE)
    node.put("/sys/class/block/md_v1/size", str(2 * GIB // 512))
    with pytest.raises(OutOfRange, match="its array has to grow first"):
        staging.expand("v1", "/stage", 3 * GIB)
    for _ in range(2):
        assert staging.expand("v1", "/stage", 2 * GIB) == 2 * GIB
    assert node.ran("resize2fs") == 1


def test_a_read_only_file_system_grows_later(staging: Staging, node: Node) -> None:
    staging.stage(StageSpec("v1", "/stage", AccessType.MOUNT, readonly=True))
    node.put("/sys/class/block/md_v1/size", str(2 * GIB // 512))
    staging.grow("v1")
    assert node.ran("resize2fs") == 0


def test_a_group_is_given_what_is_staged_and_published(staging: Staging, node: Node) -> None:
    group = str(os.getgid())
    staging.stage(StageSpec("v1", "/stage", AccessType.MOUNT, mount_group=group))
    assert node.path("/stage").stat().st_mode & 0o2070 == 0o2070
