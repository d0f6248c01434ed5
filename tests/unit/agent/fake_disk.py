"""A node with disks, one as a rule, on which LVM keeps its books."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from replication.errors import CommandFailed
from replication.kernel.dm import DeviceMapper
from replication.kernel.run import NOTHING
from replication.kernel.wholes import Wholes
from replication.model import GIB
from tests.unit.kernel.fake_dm import FakeControl
from tests.unit.kernel.fake_lvm import FakeLvm
from tests.unit.kernel.fake_tree import FakeTree

DISK = "/dev/nvme0n1"


class Node(FakeTree):
    """Disks of 1 GiB; LVM and blkid as programs, device-mapper as it answers."""

    def __init__(self, root: Path, disks: int = 1) -> None:
        super().__init__(root)
        names = [f"nvme{number}n1" for number in range(disks)]
        self.lvm = FakeLvm({f"/dev/{name}": GIB for name in names})
        self.mapped = FakeControl()
        self.wholes = Wholes(DeviceMapper(self.mapped), self)
        self.probes = 0
        self.probing: Callable[[], object] = lambda: None  # while a disk is probed
        self.time = 0.0
        self.path("/sys/block").mkdir(parents=True)
        for number, name in enumerate(names):
            self.add_block_device(name, f"259:{number}", GIB)
            self.add_link(name)
            self.lay({f"/sys/block/{name}/{each}": "0" for each in ("ro", "removable")})
        self.use_disk(0)
        self.lay({"/proc/self/mountinfo": "32 1 0:27 / / rw - overlay root rw", "/proc/swaps": "Filename"})

    def use_disk(self, writes: int) -> None:
        """So many have ended since the boot."""
        self.put("/sys/class/block/nvme0n1/stat", f"0 0 0 0 {writes} 0 0 0 0 0 0")

    def add_link(self, kname: str) -> None:
        self.path(f"/sys/block/{kname}").symlink_to(self.path(f"/sys/class/block/{kname}"))
        self.path(f"/sys/block/{kname}/holders").mkdir()

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        stdin: bytes | None = None,
        environment: Mapping[str, str] = NOTHING,
    ) -> str:
        if argv[0] == "lvm":
            try:
                return self.lvm(argv, timeout=timeout, stdin=stdin, environment=environment)
            finally:
                self._show_volumes()
        assert argv[0] == "blkid"
        self.probes += 1
        self.probing()
        if argv[-1] in self.lvm.labels:
            return "TYPE=LVM2_member\nUSAGE=raid\n"
        raise CommandFailed(argv, 2, "")

    def _show_volumes(self) -> None:
        """As devices, while they are active."""
        for group, name, minor, size in self.lvm.list_active():
            kname, number = f"lv{minor}", f"252:{minor}"
            if f"/dev/{kname}" not in self.numbers:
                self.add_block_device(kname, number, size)
            self.numbers[f"/dev/{group}/{name}"] = number
            self.put(f"/sys/class/block/{kname}/size", str(size // 512))

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds
