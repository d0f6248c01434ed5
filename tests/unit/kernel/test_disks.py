from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from replication.errors import CommandFailed, TimedOut
from replication.kernel.disks import FoundDisk, read_disks
from replication.kernel.run import NOTHING
from tests.unit.kernel.data import read_captured
from tests.unit.kernel.fake_tree import FakeTree

GIB = 1 << 30


class FakeMachine(FakeTree):
    """Disks, and blkid."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.lay(
            {"/proc/self/mountinfo": "32 1 0:27 / / rw - overlay root rw", "/proc/swaps": "Filename\tType\n"}
        )
        self.signatures: dict[str, str | Exception] = {}

    def add_disk(self, kname: str, minor: int, **attributes: str) -> None:
        self.add_block_device(kname, f"259:{minor}", GIB)
        base = f"/sys/block/{kname}"
        self.path("/sys/block").mkdir(exist_ok=True)
        self.path(base).symlink_to(self.path(f"/sys/class/block/{kname}"))
        self.path(f"{base}/holders").mkdir()
        self.lay(
            {f"{base}/{key}": value for key, value in {"ro": "0", "removable": "0", **attributes}.items()}
        )

    def blkid(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        stdin: bytes | None = None,
        environment: Mapping[str, str] = NOTHING,
    ) -> str:
        assert tuple(argv[:4]) == ("blkid", "-p", "-o", "export")
        answer = self.signatures.get(argv[4], CommandFailed(argv, 2, ""))
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    fake = FakeMachine(tmp_path)
    attributes = {"device/transport": "pcie", "device/serial": "S1", "device/model": "QEMU NVMe Ctrl"}
    fake.add_disk("nvme0n1", 0, **attributes)
    return fake


def only(machine: FakeMachine) -> FoundDisk:
    (found,) = read_disks(machine, machine.blkid)
    return found


def test_an_empty_disk_is_usable(machine: FakeMachine) -> None:
    assert only(machine) == FoundDisk(
        path="/dev/nvme0n1", kname="nvme0n1", serial="S1", model="QEMU NVMe Ctrl", size_bytes=GIB,
        kind="nvme", volatile_cache=False, usable=True, why_not="",
    )  # fmt: skip


def test_a_disk_behind_native_multipath_is_a_disk(machine: FakeMachine) -> None:
    """Its `device` is the subsystem, which has no transport; its controllers have."""
    machine.add_disk("nvme1n1", 1, **{"device/nvme1/transport": "pcie", "device/serial": "S2"})
    assert [disk.kname for disk in read_disks(machine, machine.blkid)] == ["nvme0n1", "nvme1n1"]


def test_what_is_no_disk_of_this_machine_is_left_out(machine: FakeMachine) -> None:
    machine.add_disk("nvme5n1", 5, **{"device/nvme5/transport": "tcp"})
    machine.add_disk("nvme6n1", 6, **{"device/transport": "rdma"})
    machine.add_disk("nvme7c7n1", 7, hidden="1")
    for minor, kname in enumerate(
        ("dm-0", "md_v1", "md127", "loop0", "ram1", "zram0", "nbd0", "sr0"), start=10
    ):
        machine.add_disk(kname, minor)
    machine.add_disk("sdb", 30)
    machine.put("/sys/block/sdb/size", "0")
    assert [disk.kname for disk in read_disks(machine, machine.blkid)] == ["nvme0n1"]


def test_other_disks_are_listed_as_such(machine: FakeMachine) -> None:
    machine.add_disk("sda", 20, **{"device/model": "Virtual disk"})
    assert [(disk.kname, disk.kind, disk.usable) for disk in read_disks(machine, machine.blkid)] == [
        ("nvme0n1", "nvme", True),
        ("sda", "other", True),
    ]


@pytest.mark.parametrize(
    ("lay", "why_not"),
    [
        ({"/sys/block/nvme0n1/nvme0n1p1/partition": "1"}, "it has the partition nvme0n1p1"),
        ({"/sys/block/nvme0n1/ro": "1"}, "it is read-only"),
        ({"/sys/block/nvme0n1/removable": "1"}, "it is removable"),
        ({"/sys/block/nvme0n1/size": "2048"}, "it is smaller than 64 MiB"),
        ({"/sys/block/nvme0n1/holders/dm-0/x": ""}, "dm-0 stands on it"),
        (
            {"/proc/self/mountinfo": "41 35 259:0 / /data rw - xfs /dev/nvme0n1 rw"},
            "it is mounted at /data",
        ),
        (
            {"/proc/swaps": "Filename\tType\n/dev/nvme0n1  partition 1 0 -2"},
            "it is used for swap",
        ),
    ],
)
def test_a_disk_that_somebody_uses_is_refused(
    machine: FakeMachine, lay: dict[str, str], why_not: str
) -> None:
    machine.lay(lay)
    assert (only(machine).usable, only(machine).why_not) == (False, why_not)


@pytest.mark.parametrize(
    ("answer", "why_not"),
    [
        (read_captured("blkid-2.38.1-lvm.txt"), "it holds LVM2_member"),
        (read_captured("blkid-2.38.1-ext4.txt"), "it holds ext4"),
        ("PTTYPE=gpt\n", "it holds a gpt partition table"),
        (CommandFailed(("blkid",), 8, ""), "it holds several signatures"),
        (TimedOut("blkid"), "it does not answer"),
        (CommandFailed(("blkid",), 1, "I/O error"), "it cannot be read: blkid: exit status 1: I/O error"),
    ],
)
def test_a_disk_with_anything_on_it_is_refused(
    machine: FakeMachine, answer: str | Exception, why_not: str
) -> None:
    machine.signatures["/dev/nvme0n1"] = answer
    assert (only(machine).usable, only(machine).why_not) == (False, why_not)


def test_a_volatile_cache_is_told(machine: FakeMachine) -> None:
    machine.put("/sys/class/block/nvme0n1/queue/write_cache", "write back")
    assert only(machine).volatile_cache
