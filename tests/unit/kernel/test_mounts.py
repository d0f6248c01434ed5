from pathlib import Path

import pytest

from replication.errors import AlreadyExists, DataLoss, FailedPrecondition, KernelError
from replication.kernel.mounts import Mounts, parse_mountinfo
from tests.unit.kernel.data import read_captured
from tests.unit.kernel.fake_mounts import INFO, FakeMounts


@pytest.fixture
def kernel(tmp_path: Path) -> FakeMounts:
    return FakeMounts(tmp_path)


@pytest.fixture
def mounts(kernel: FakeMounts) -> Mounts:
    return Mounts(kernel.run, kernel)


def test_captured_mounts_are_understood() -> None:
    *_, modules, disk = parse_mountinfo(read_captured("mountinfo-6.12.95.txt"))
    assert (modules.root, modules.path) == ("/opt/kernel/lib/modules", "/usr/lib/modules")
    assert (disk.path, disk.number, disk.kind, disk.source) == ("/run/a b", "259:5", "xfs", "/dev/nvme2n1")
    assert not disk.readonly


def test_optional_fields_are_passed_over() -> None:
    line = "36 35 98:0 /mnt1 /mnt2 ro,noatime master:1 shared:7 - ext3 /dev/root rw,errors=continue"
    (mount,) = parse_mountinfo(line)
    assert (mount.kind, mount.source, mount.readonly) == ("ext3", "/dev/root", True)


def test_mounting_is_repeatable(mounts: Mounts, kernel: FakeMounts) -> None:
    for _ in range(2):
        mounts.ensure_mounted("/dev/md_v1", "/stage/v1", "ext4", ("noatime",))
    assert kernel.calls == [("mount", "-t", "ext4", "-o", "noatime", "/dev/md_v1", "/stage/v1")]
    assert mounts.is_mount_point("/stage/v1")
    assert [mount.path for mount in mounts.list_of_device("9:127")] == ["/stage/v1"]


def test_a_path_where_something_else_is_mounted_is_refused(mounts: Mounts) -> None:
    mounts.ensure_mounted("/dev/md_v1", "/stage/v1", "ext4")
    with pytest.raises(AlreadyExists, match=r"has /dev/md_v1 mounted \(9:127\), not 9:126"):
        mounts.ensure_mounted("/dev/md_v2", "/stage/v1", "ext4")
    with pytest.raises(AlreadyExists, match="mounted writable"):
        mounts.ensure_mounted("/dev/md_v1", "/stage/v1", "ext4", ("ro",))
    with pytest.raises(AlreadyExists, match="other flags"):
        mounts.ensure_mounted("/dev/md_v1", "/stage/v1", "ext4", ("noatime",))


def test_what_mount_says_is_told_without_the_flags(mounts: Mounts, kernel: FakeMounts) -> None:
    kernel.refusal = "mount: /stage: unknown option 'password'; bad option hunter2."
    with pytest.raises(KernelError, match="exit status 32: mount: /stage: unknown") as caught:
        mounts.ensure_mounted("/dev/md_v1", "/stage", "ext4", ("password=1", "hunter2"))
    assert "password" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_damaged_file_system_is_refused_with_the_command_to_run(mounts: Mounts, kernel: FakeMounts) -> None:
    kernel.refusal = "mount: /stage: mount(2) system call failed: Structure needs cleaning."
    with pytest.raises(DataLoss, match=r"run `xfs_repair /dev/md_v1` on this node"):
        mounts.ensure_mounted("/dev/md_v1", "/stage", "xfs")


def test_a_mount_of_a_device_that_is_gone_gives_way(mounts: Mounts, kernel: FakeMounts) -> None:
    mounts.ensure_mounted("/dev/md_v1", "/stage", "ext4")
    kernel.numbers["/dev/md_v1"] = "9:125"
    mounts.ensure_mounted("/dev/md_v1", "/stage", "ext4")
    assert [mount.number for mount in mounts.list_mounts() if mount.path == "/stage"] == ["9:125"]


def test_a_bind_of_a_device_node_that_is_gone_gives_way(mounts: Mounts, kernel: FakeMounts) -> None:
    mounts.ensure_bound("/dev/md_v1", "/pod")
    kernel.put(INFO, kernel.read(INFO).replace(" /md_v1 ", " /md_v1//deleted "))
    mounts.ensure_bound("/dev/md_v1", "/pod")
    assert [mount.root for mount in mounts.list_mounts() if mount.path == "/pod"] == ["/md_v1"]


@pytest.mark.parametrize("source", ["/dev/md_v1", "/stage"])
def test_a_place_of_the_wrong_kind_is_refused(mounts: Mounts, kernel: FakeMounts, source: str) -> None:
    kernel.path("/stage").mkdir()
    kernel.path("/directory").mkdir()
    kernel.path("/file").touch()
    with pytest.raises(FailedPrecondition, match=r"is a directory|is not a directory"):
        mounts.ensure_bound(source, "/directory" if source.startswith("/dev") else "/file")
    with pytest.raises(FailedPrecondition, match="is not a directory"):
        mounts.ensure_mounted("/dev/md_v1", "/file", "ext4")


def test_nothing_is_removed_that_holds_something(mounts: Mounts, kernel: FakeMounts) -> None:
    kernel.path("/directory").mkdir()
    kernel.path("/directory/precious").write_text("data")
    for path in ("/directory", "/directory/precious"):
        with pytest.raises(FailedPrecondition, match="not"):
            mounts.remove(path)
    assert kernel.path("/directory/precious").read_text() == "data"


def test_paths_are_compared_without_symbolic_links(mounts: Mounts, kernel: FakeMounts) -> None:
    kernel.path("/data/kubelet").mkdir(parents=True)
    kernel.path("/kubelet").symlink_to(kernel.path("/data/kubelet"))
    assert mounts.resolve("/kubelet/volumes/v1") == "/data/kubelet/volumes/v1"


def test_the_last_of_several_mounts_on_a_path_is_the_one_that_is_seen(
    mounts: Mounts, kernel: FakeMounts
) -> None:
    mounts.ensure_mounted("/dev/md_v1", "/stage", "ext4")
    kernel.run(("mount", "-t", "xfs", "/dev/md_v2", "/stage"), timeout=1)
    found = mounts.find("/stage")
    assert found is not None
    assert found.number == "9:126"
    mounts.remove("/stage")
    assert not mounts.is_mount_point("/stage")


def test_a_directory_is_bound_read_only(mounts: Mounts, kernel: FakeMounts) -> None:
    mounts.ensure_mounted("/dev/md_v1", "/stage", "ext4")
    mounts.ensure_bound("/stage", "/pod/volume", readonly=True)
    assert kernel.calls[-1] == ("mount", "--bind", "-o", "ro", "/stage", "/pod/volume")
    assert kernel.path("/pod/volume").is_dir()
    found = mounts.find("/pod/volume")
    assert found is not None
    assert found.readonly
    mounts.ensure_bound("/stage", "/pod/volume", readonly=True)
    with pytest.raises(AlreadyExists, match="bound read-only, asked for is writable"):
        mounts.ensure_bound("/stage", "/pod/volume")


def test_a_device_is_bound_to_a_file(mounts: Mounts, kernel: FakeMounts) -> None:
    mounts.ensure_bound("/dev/md_v1", "/pod/block")
    assert kernel.path("/pod/block").is_file()
    mounts.remove("/pod/block")
    assert not kernel.path("/pod/block").exists()


def test_a_bind_of_something_else_is_refused(mounts: Mounts, kernel: FakeMounts) -> None:
    kernel.path("/other").mkdir()
    kernel.path("/stage").mkdir()
    mounts.ensure_bound("/stage", "/pod")
    with pytest.raises(AlreadyExists, match="not /other"):
        mounts.ensure_bound("/other", "/pod")


def test_a_mount_in_use_stays_unless_asked_for_lazily(mounts: Mounts, kernel: FakeMounts) -> None:
    mounts.ensure_mounted("/dev/md_v1", "/stage", "ext4")
    kernel.busy.add("/stage")
    with pytest.raises(FailedPrecondition, match="/stage is in use"):
        mounts.remove("/stage")
    for _ in range(2):
        mounts.remove("/stage", lazily=True)
    assert not kernel.path("/stage").exists()
