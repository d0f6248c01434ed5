"""A disk that leaves its pool: empty if it is there, forgotten if it is not, wherever somebody was killed.

And one that is there, and of no use.
"""

from pathlib import Path

import pytest

from replication.agent.storage import Storage
from replication.errors import CommandFailed, FailedPrecondition, TimedOut, TrilithError
from replication.model import GIB, MIB, Disk
from tests.unit.agent.fake_disk import DISK, Node

OTHER = "/dev/nvme1n1"
VOLUME = "v00000000000000aa"


@pytest.fixture
def node(tmp_path: Path) -> Node:
    made = Node(tmp_path, disks=2)
    for name in ("nvme0n1", "nvme1n1"):
        give_serial(made, name, f"serial of {name}")
    made.add_block_device("dm-0", "253:0", GIB)
    return made


@pytest.fixture
def storage(node: Node) -> Storage:
    """Of which everything is wiped."""
    made = Storage(node, node.run, node, node.wholes)
    for group in made.ensure_pool("fast", (DISK, OTHER)):
        made.doubt_free_space(group.name)
        for dirty in made.list_dirty(group.name):
            made.cut(group.name, dirty.name, 0)
    return made


def give_serial(node: Node, name: str, serial: str) -> None:
    node.lay({f"/sys/block/{name}/device/serial": serial})


def pull(node: Node, path: str) -> None:
    """Out of the machine, with what is on it."""
    node.path(f"/sys/block/{path[5:]}").unlink()
    node.lvm.groups = {name: group for name, group in node.lvm.groups.items() if group.disk != path}
    node.lvm.labels -= {path}


def put_in(node: Node, path: str, serial: str) -> None:
    """An empty one."""
    node.path(f"/sys/block/{path[5:]}").symlink_to(node.path(f"/sys/class/block/{path[5:]}"))
    give_serial(node, path[5:], serial)


def read_anew(node: Node) -> Storage:
    return Storage(node, node.run, node, node.wholes)


def group_on(storage: Storage, path: str) -> str:
    return next(group.name for group in storage.list_volume_groups() if group.disk == path)


def disk_at(storage: Storage, path: str) -> Disk:
    return next(disk for disk in storage.list_disks() if disk.path == path)


def test_a_disk_leaves_alone_and_is_known_by_the_name_that_it_had(storage: Storage, node: Node) -> None:
    group = group_on(storage, OTHER)
    kept = storage.ensure_volume(VOLUME, "r0", group_on(storage, DISK), 100 * MIB)
    storage.discard_volume(storage.ensure_volume(VOLUME, "r1", group, 100 * MIB))
    assert disk_at(storage, OTHER).volume_group == group
    for _ in range(2):
        storage.remove_disk(group)
        assert (storage.list_places(), node.lvm.labels) == ((kept,), {DISK})
        found = disk_at(storage, OTHER)
        assert (found.usable, found.why_not, found.volume_group) == (True, "", group)
    assert group_on(read_anew(node), DISK) == group_on(storage, DISK)
    storage.ensure_pool("fast", (DISK, OTHER))
    assert group_on(storage, OTHER) == group


def test_a_disk_with_a_replica_or_a_part_of_one_stays(storage: Storage) -> None:
    first, second = group_on(storage, DISK), group_on(storage, OTHER)
    made = storage.ensure_volume(VOLUME, "r0", first, 100 * MIB)
    with pytest.raises(FailedPrecondition, match=f"disk {DISK} still holds replicas of {VOLUME}"):
        storage.remove_disk(first)
    storage.remove_volume(made)
    storage.ensure_parts(VOLUME, "r1", (first, second), 100 * MIB, striped=False)
    for group in (first, second):
        with pytest.raises(FailedPrecondition, match=VOLUME):
            storage.remove_disk(group)
    assert len(storage.list_volume_groups()) == 2


@pytest.mark.parametrize("killed_at", ["lvremove", "vgremove", "pvremove"])
@pytest.mark.parametrize("done", [False, True], ids=["before it", "after it"])
@pytest.mark.parametrize("restarted", [False, True], ids=["the same agent", "another agent"])
def test_a_removal_that_was_killed_is_ended_by_a_repeat(
    storage: Storage, node: Node, killed_at: str, done: bool, restarted: bool
) -> None:
    group, program = group_on(storage, OTHER), getattr(node.lvm, f"_{killed_at}")
    storage.discard_volume(storage.ensure_volume(VOLUME, "r0", group, 100 * MIB))
    storage.name_discarded(group)

    def kill(words: list[str]) -> str:
        if done:
            program(words)
        raise CommandFailed((killed_at, *words), -9, "killed")

    setattr(node.lvm, f"_{killed_at}", kill)
    with pytest.raises(CommandFailed):
        storage.remove_disk(group)
    setattr(node.lvm, f"_{killed_at}", program)
    later = read_anew(node) if restarted else storage
    later.remove_disk(group)
    assert node.lvm.labels == {DISK}
    assert [found.disk for found in later.list_volume_groups()] == [DISK]
    assert disk_at(later, OTHER).usable


def test_a_disk_that_was_pulled_is_forgotten_with_what_was_on_it(storage: Storage, node: Node) -> None:
    group = group_on(storage, OTHER)
    kept = storage.ensure_volume(VOLUME, "r0", group_on(storage, DISK), 100 * MIB)
    storage.ensure_volume(VOLUME, "r1", group, 100 * MIB)
    pull(node, OTHER)
    storage.refresh()
    assert group_on(storage, OTHER) == group
    storage.remove_disk(group)
    assert [found.disk for found in storage.list_volume_groups()] == [DISK]
    assert storage.list_places() == (kept,)


@pytest.mark.parametrize("first", ["removed", "put in"])
def test_another_disk_in_its_place_is_one_like_any_other(storage: Storage, node: Node, first: str) -> None:
    group = group_on(storage, OTHER)
    pull(node, OTHER)
    if first == "removed":
        storage.remove_disk(group)
    put_in(node, OTHER, "another")
    found = disk_at(storage, OTHER)
    assert (found.usable, found.why_not, found.volume_group != group) == (True, "", True)
    if first == "put in":
        storage.remove_disk(group)
    storage.ensure_pool("fast", (DISK, OTHER))
    assert group_on(storage, OTHER) == found.volume_group


def test_a_disk_that_cannot_be_read_is_in_its_pool_still(storage: Storage, node: Node) -> None:
    def err() -> None:
        raise CommandFailed(("blkid",), 5, "Input/output error")

    node.probing = err
    node.time += 1000.0
    found = disk_at(storage, OTHER)
    assert (found.why_not, found.volume_group) == ("in pool fast already", group_on(storage, OTHER))


def test_another_disks_label_is_left_alone(storage: Storage, node: Node) -> None:
    """Somebody is about to make a volume group of his own there."""
    group = group_on(storage, OTHER)
    pull(node, OTHER)
    put_in(node, OTHER, "another")
    node.lvm.labels.add(OTHER)
    storage.remove_disk(group)
    assert OTHER in node.lvm.labels
    assert disk_at(storage, OTHER).why_not == "it holds LVM2_member"


def test_nothing_is_taken_off_a_disk_that_has_replicas_and_only_seems_to_have_no_group(
    storage: Storage, node: Node
) -> None:
    """LVM cannot read what it has written down there."""
    group = group_on(storage, OTHER)
    storage.ensure_volume(VOLUME, "r0", group, 100 * MIB)
    del node.lvm.groups[group]
    storage.remove_disk(group)
    assert node.lvm.labels == {DISK, OTHER}
    assert storage.list_places() == ()


def test_what_is_not_there_needs_nothing(storage: Storage) -> None:
    storage.remove_disk("trilith_00000000")
    assert len(storage.list_volume_groups()) == 2
    assert sum(group.size_bytes for group in storage.list_volume_groups()) < 2 * GIB


@pytest.mark.parametrize(
    "error", [CommandFailed(("lvchange",), 5, "Permission denied"), TimedOut("lvchange")]
)
def test_a_disk_whose_volumes_cannot_be_activated_leaves_an_agent_that_begins_the_others(
    storage: Storage, node: Node, error: TrilithError
) -> None:
    """After a boot: LVM can read what is on it, and the kernel does not take it, or it hangs."""
    bad, good = (group.name for group in storage.list_volume_groups())
    for group in (bad, good):
        for replica in ("r0", "r1"):
            storage.ensure_volume(f"v{group[-8:]}", replica, group, 100 * MIB)
    for home in node.lvm.groups.values():
        for volume in home.volumes.values():
            volume.active = False
    activate, asked = node.lvm._lvchange, list[str]()

    def activate_good(words: list[str]) -> str:
        asked.append(words[0].partition("/")[0])
        if asked[-1] == bad:
            raise error
        return activate(words)

    node.lvm._lvchange = activate_good  # type: ignore[method-assign]
    later = Storage(node, node.run, node, node.wholes)
    assert sorted(asked, key=[bad, good].index) == [bad, good, good]
    assert set(later.list_places()) == set(storage.list_places())
    assert {group for group, *_ in node.lvm.list_active()} == {good}
