"""A node with one disk, on which LVM keeps its books."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from replication.errors import CommandFailed
from replication.kernel.run import NOTHING
from replication.model import GIB
from tests.unit.kernel.fake_lvm import FakeLvm
from tests.unit.kernel.fake_tree import FakeTree

DISK = "/dev/nvme0n1"


class Node(FakeTree):
    """One disk; LVM and blkid as programs."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.lvm = FakeLvm({DISK: GIB})
        self.probes = 0
        self.probing: Callable[[], object] = lambda: None  # while a disk is probed
        self.time = 0.0
        self.add_block_device("nvme0n1", "259:0", GIB)
        self.path("/sys/block").mkdir(parents=True)
        self.add_link("nvme0n1")
        self.lay({f"/sys/block/nvme0n1/{name}": "0" for name in ("ro", "removable")})
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
            return self.lvm(argv, timeout=timeout, stdin=stdin, environment=environment)
        assert argv[0] == "blkid"
        self.probes += 1
        self.probing()
        if any(group.disk == argv[-1] for group in self.lvm.groups.values()):
            return "TYPE=LVM2_member\nUSAGE=raid\n"
        raise CommandFailed(argv, 2, "")

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds
