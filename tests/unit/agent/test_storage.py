from collections.abc import Sequence
from pathlib import Path

import pytest

from replication.agent.storage import Storage
from replication.errors import AlreadyExists, CommandFailed, NotFound, OutOfSpace
from tests.unit.kernel.fake_lvm import FakeLvm
from tests.unit.kernel.fake_tree import FakeTree

GIB, MIB = 1 << 30, 1 << 20
DISK = "/dev/nvme0n1"
VOLUME, REPLICA = "v00000000000000aa", "r0"


class Node(FakeTree):
    """One disk; LVM and blkid as programs."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.lvm = FakeLvm({DISK: GIB})
        self.probes = 0
        self.time = 0.0
        self.add_block_device("nvme0n1", "259:0", GIB)
        self.path("/sys/block").mkdir(parents=True)
        self.add_link("nvme0n1")
        self.lay({f"/sys/block/nvme0n1/{name}": "0" for name in ("ro", "removable")})
        self.lay({"/proc/self/mountinfo": "32 1 0:27 / / rw - overlay root rw", "/proc/swaps": "Filename"})

    def add_link(self, kname: str) -> None:
        self.path(f"/sys/block/{kname}").symlink_to(self.path(f"/sys/class/block/{kname}"))
        self.path(f"/sys/block/{kname}/holders").mkdir()

    def run(self, argv: Sequence[str], *, timeout: float, stdin: bytes | None = None) -> str:
        if argv[0] == "lvm":
            return self.lvm(argv, timeout=timeout, stdin=stdin)
        assert argv[0] == "blkid"
        self.probes += 1
        if any(group.disk == argv[-1] for group in self.lvm.groups.values()):
            return "TYPE=LVM2_member\nUSAGE=raid\n"
        raise CommandFailed(argv, 2, "")

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@pytest.fixture
def storage(node: Node) -> Storage:
    made = Storage(node, node.run, node)
    made.ensure_pool("fast", (DISK,))
    node.lvm.calls.clear()
    return made


def group_of(storage: Storage) -> str:
    (group,) = storage.list_volume_groups()
    return group.name


def commands(node: Node) -> list[str]:
    return [call[1] for call in node.lvm.calls]


def test_a_replica_costs_one_command_a_repeat_none_and_its_removal_one(storage: Storage, node: Node) -> None:
    made = storage.ensure_volume(VOLUME, REPLICA, group_of(storage), 100 * MIB)
    assert storage.ensure_volume(VOLUME, REPLICA, group_of(storage), 100 * MIB) == made
    assert storage.find_place(VOLUME, REPLICA) == made
    storage.remove_volume(made)
    assert storage.find_place(VOLUME, REPLICA) is None
    assert commands(node) == ["lvcreate", "lvremove"]


def test_what_it_knows_after_changes_is_what_another_agent_reads(storage: Storage, node: Node) -> None:
    group = group_of(storage)
    for number in range(3):
        storage.ensure_volume(VOLUME, f"r{number}", group, 100 * MIB)
    storage.extend_volume(storage.get_place(VOLUME, "r1"), 150 * MIB)
    storage.remove_volume(storage.get_place(VOLUME, "r2"))
    later = Storage(node, node.run, node)
    assert storage.list_volume_groups() == later.list_volume_groups()
    assert set(storage.list_places()) == set(later.list_places())


def test_another_size_is_refused(storage: Storage) -> None:
    storage.ensure_volume(VOLUME, REPLICA, group_of(storage), 100 * MIB)
    with pytest.raises(AlreadyExists, match="104857600 bytes"):
        storage.ensure_volume(VOLUME, REPLICA, group_of(storage), 200 * MIB)


def test_what_does_not_fit_and_where_nothing_is_are_refused(storage: Storage) -> None:
    with pytest.raises(OutOfSpace):
        storage.ensure_volume(VOLUME, REPLICA, group_of(storage), 2 * GIB)
    with pytest.raises(NotFound, match="no volume group elsewhere"):
        storage.ensure_volume(VOLUME, REPLICA, "elsewhere", 100 * MIB)


def test_a_volume_whose_making_seemed_to_fail_is_found(storage: Storage, node: Node) -> None:
    """The command was killed at its deadline, after it had done its work."""
    group = group_of(storage)
    made = storage.ensure_volume(VOLUME, REPLICA, group, 100 * MIB)
    storage.remove_volume(made)
    create = node.lvm._lvcreate

    def late(words: list[str]) -> str:
        create(words)
        raise CommandFailed(("lvm",), 5, "late")

    node.lvm._lvcreate = late  # type: ignore[method-assign]
    with pytest.raises(CommandFailed):
        storage.ensure_volume(VOLUME, REPLICA, group, 100 * MIB)
    assert storage.ensure_volume(VOLUME, REPLICA, group, 100 * MIB) == made


def test_free_space_is_what_is_left(storage: Storage) -> None:
    (before,) = storage.list_volume_groups()
    storage.ensure_volume(VOLUME, REPLICA, before.name, 100 * MIB)
    (after,) = storage.list_volume_groups()
    assert before.free_bytes - after.free_bytes == 100 * MIB


def test_disks_are_probed_when_disks_came_or_went_and_for_nothing_else(storage: Storage, node: Node) -> None:
    storage.list_disks()
    probed = node.probes
    node.add_block_device("dm-0", "254:0", MIB)
    node.add_link("dm-0")
    storage.list_disks()
    assert node.probes == probed
    node.add_block_device("nvme1n1", "259:1", GIB)
    node.add_link("nvme1n1")
    assert len(storage.list_disks()) == 2
    assert node.probes == probed + 2
