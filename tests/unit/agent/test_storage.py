import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from replication.agent.discovery import KEPT
from replication.agent.storage import Storage
from replication.errors import (
    AlreadyExists,
    CommandFailed,
    KernelError,
    NotFound,
    NotWiped,
    OutOfSpace,
)
from replication.model import GIB, MIB
from tests.unit.agent.fake_disk import DISK, Node

VOLUME, REPLICA = "v00000000000000aa", "r0"


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@pytest.fixture
def storage(node: Node) -> Storage:
    """Of which everything is wiped."""
    made = Storage(node, node.run, node, node.wholes)
    made.ensure_pool("fast", (DISK,))
    made.doubt_free_space(group_of(made))
    wipe(made)
    node.lvm.calls.clear()
    return made


def wipe(storage: Storage) -> None:
    for dirty in storage.list_dirty(group_of(storage)):
        storage.cut(group_of(storage), dirty.name, 0)


def room(storage: Storage) -> tuple[int, int]:
    """Free and reserved."""
    (group,) = storage.list_volume_groups()
    return group.free_bytes, group.reserved_bytes


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
    for number in range(4):
        storage.ensure_volume(VOLUME, f"r{number}", group, 100 * MIB)
    storage.extend_volume(storage.get_place(VOLUME, "r1"), 150 * MIB)
    storage.remove_volume(storage.get_place(VOLUME, "r2"))
    storage.discard_volume(storage.get_place(VOLUME, "r3"))
    storage.name_discarded(group)
    storage.cut(group, storage.list_dirty(group)[0].name, 48 * MIB)
    later = Storage(node, node.run, node, node.wholes)
    assert storage.list_volume_groups() == later.list_volume_groups()
    assert set(storage.list_places()) == set(later.list_places())
    assert storage.list_dirty(group) == later.list_dirty(group)
    assert [dirty.size_bytes for dirty in later.list_dirty(group)] == [48 * MIB]


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


def test_a_slow_disk_keeps_one_question_waiting_and_not_the_next(storage: Storage, node: Node) -> None:
    """What is out of date is told while one looks; before the first look, all wait for it."""
    (before,) = storage.list_disks()
    node.time += KEPT + 1
    entered, leave = threading.Event(), threading.Event()

    def dawdle() -> None:
        entered.set()
        assert leave.wait(30)

    node.probing = dawdle
    probed = node.probes
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(storage.list_disks)
        assert entered.wait(30)
        assert [storage.list_disks() for _ in range(3)] == [(before,)] * 3
        leave.set()
        assert first.result(30) == (before,)
    assert node.probes == probed + 1


def test_a_disk_that_was_taken_is_told_as_ours_at_once(node: Node) -> None:
    made = Storage(node, node.run, node, node.wholes)
    (free,) = made.list_disks()
    made.ensure_pool("fast", (DISK,))
    (ours,) = made.list_disks()
    assert (free.usable, ours.usable, ours.volume_group) == (True, False, group_of(made))


def test_a_name_that_was_no_disk_is_looked_at_again_after_a_while(storage: Storage, node: Node) -> None:
    """One that had no medium, or was reached over a network."""
    node.add_block_device("nvme1n1", "259:1", 0)
    node.add_link("nvme1n1")
    assert len(storage.list_disks()) == 1
    node.put("/sys/class/block/nvme1n1/size", str(GIB // 512))
    assert len(storage.list_disks()) == 1
    node.time += KEPT + 1
    assert len(storage.list_disks()) == 2


def test_a_replica_that_goes_costs_no_command_and_its_room_is_reserved(storage: Storage, node: Node) -> None:
    made = storage.ensure_volume(VOLUME, REPLICA, group_of(storage), 100 * MIB)
    free, _ = room(storage)
    node.lvm.calls.clear()
    storage.discard_volume(made)
    assert commands(node) == []
    assert (storage.find_place(VOLUME, REPLICA), room(storage)) == (None, (free, 100 * MIB))
    for _ in range(2):
        storage.name_discarded(group_of(storage))
    assert commands(node) == ["lvrename"]
    assert (storage.find_place(VOLUME, REPLICA), room(storage)) == (None, (free, 100 * MIB))


def test_a_replica_made_again_before_the_one_that_went_was_named_gets_another_place(
    storage: Storage, node: Node
) -> None:
    made = storage.ensure_volume(VOLUME, REPLICA, group_of(storage), 100 * MIB)
    storage.discard_volume(made)
    assert storage.ensure_volume(VOLUME, REPLICA, group_of(storage), 60 * MIB) == made
    assert [dirty.size_bytes for dirty in storage.list_dirty(group_of(storage))] == [100 * MIB]
    assert commands(node) == ["lvcreate", "lvrename", "lvcreate"]


def test_those_that_went_are_named_some_at_a_time(storage: Storage, node: Node) -> None:
    """Whoever wants a replica made waits for LVM meanwhile."""
    group = group_of(storage)
    for number in range(6):
        storage.discard_volume(storage.ensure_volume(VOLUME, f"r{number}", group, 4 * MIB))
    before, started = room(storage), node.lvm.starts
    named = []
    for _ in range(3):
        storage.name_discarded(group)
        named.append(len(storage.list_dirty(group)))
    assert (named, node.lvm.starts) == ([4, 6, 6], started + 2)
    assert room(storage) == before


def test_what_is_wiped_is_free(storage: Storage) -> None:
    before = room(storage)
    group = group_of(storage)
    storage.discard_volume(storage.ensure_volume(VOLUME, REPLICA, group, 100 * MIB))
    storage.name_discarded(group)
    (dirty,) = storage.list_dirty(group)
    for left in (60 * MIB, 0):
        storage.cut(group, dirty.name, left)
        assert room(storage) == (before[0] - left, left)


def test_nothing_of_a_new_disk_is_free_before_it_is_wiped(node: Node) -> None:
    storage = Storage(node, node.run, node, node.wholes)
    storage.ensure_pool("fast", (DISK,))
    (group,) = storage.list_volume_groups()
    assert room(storage) == (0, group.size_bytes)
    for _ in range(2):
        storage.doubt_free_space(group.name)
    assert room(storage) == (0, group.size_bytes)
    (dirty,) = storage.list_dirty(group.name)
    assert dirty.size_bytes == group.size_bytes
    wipe(storage)
    assert room(storage) == (group.size_bytes, 0)


@pytest.mark.parametrize("killed_at", ["lvcreate", "vgchange"])
def test_a_new_disk_is_not_free_wherever_the_agent_was_killed(node: Node, killed_at: str) -> None:
    storage = Storage(node, node.run, node, node.wholes)
    storage.ensure_pool("fast", (DISK,))
    program = getattr(node.lvm, f"_{killed_at}")

    def kill(_: list[str]) -> str:
        raise CommandFailed((killed_at,), -9, "killed")

    setattr(node.lvm, f"_{killed_at}", kill)
    with pytest.raises(CommandFailed):
        storage.doubt_free_space(group_of(storage))
    setattr(node.lvm, f"_{killed_at}", program)
    later = Storage(node, node.run, node, node.wholes)
    (group,) = later.list_volume_groups()
    assert room(later) == (0, group.size_bytes)
    with pytest.raises(NotWiped):
        later.ensure_volume(VOLUME, REPLICA, group.name, 100 * MIB)
    later.doubt_free_space(group.name)
    assert room(later) == (0, group.size_bytes)


def test_the_free_space_of_an_older_agents_disk_is_wiped_and_its_replicas_stay(node: Node) -> None:
    before = Storage(node, node.run, node, node.wholes)
    before.ensure_pool("fast", (DISK,))
    lvm = before._lvm
    lvm.ensure_logical_volume(group_of(before), f"{VOLUME}_{REPLICA}", 100 * MIB, frozenset({"trilith"}))
    storage = Storage(node, node.run, node, node.wholes)
    storage.doubt_free_space(group_of(storage))
    (group,) = storage.list_volume_groups()
    assert room(storage) == (0, group.size_bytes - 100 * MIB)
    assert storage.find_place(VOLUME, REPLICA)


def test_too_little_wiped_space_says_what_it_waits_for_and_how_much(storage: Storage) -> None:
    free, _ = room(storage)
    group = group_of(storage)
    storage.discard_volume(storage.ensure_volume(VOLUME, REPLICA, group, free - 40 * MIB))
    grown = storage.ensure_volume(VOLUME, "r1", group, 8 * MIB)
    says = rf"of {DISK}, {32 * MIB} are free; {free - 40 * MIB} are still to be wiped"
    with pytest.raises(NotWiped, match=says) as raised:
        storage.ensure_volume(VOLUME, "r2", group, 100 * MIB)
    assert raised.value.wanted_bytes == 100 * MIB
    with pytest.raises(NotWiped, match=f"{92 * MIB} bytes are wanted"):
        storage.extend_volume(grown, 100 * MIB)
    with pytest.raises(OutOfSpace, match=f"{free - 40 * MIB} will be once they are wiped"):
        storage.ensure_volume(VOLUME, "r2", group, free)


def test_a_pool_goes_with_what_was_not_wiped(storage: Storage, node: Node) -> None:
    storage.discard_volume(storage.ensure_volume(VOLUME, REPLICA, group_of(storage), 100 * MIB))
    storage.remove_pool("fast")
    assert node.lvm.groups == {}
    assert storage.list_volume_groups() == ()


def test_what_could_not_be_named_yet_is_no_replica_and_is_named_later(storage: Storage, node: Node) -> None:
    made = storage.ensure_volume(VOLUME, REPLICA, group_of(storage), 100 * MIB)

    def kill(words: list[str]) -> str:
        raise CommandFailed(("lvrename", *words), -9, "killed")

    rename, node.lvm._lvrename = node.lvm._lvrename, kill  # type: ignore[method-assign]
    storage.discard_volume(made)
    before = room(storage)
    with pytest.raises(CommandFailed):
        storage.name_discarded(group_of(storage))
    assert (storage.find_place(VOLUME, REPLICA), room(storage)) == (None, before)
    node.lvm._lvrename = rename  # type: ignore[method-assign]
    storage.name_discarded(group_of(storage))
    assert [dirty.size_bytes for dirty in storage.list_dirty(group_of(storage))] == [100 * MIB]


def test_a_cut_that_fails_on_a_disk_that_errs_costs_no_knowledge(storage: Storage, node: Node) -> None:
    """Neither of its replicas nor, when it answers again, of what the cut did."""
    group = group_of(storage)
    kept = storage.ensure_volume(VOLUME, REPLICA, group, 100 * MIB)
    storage.discard_volume(storage.ensure_volume(VOLUME, "r1", group, 100 * MIB))
    storage.name_discarded(group)
    (dirty,) = storage.list_dirty(group)
    reduce = node.lvm._lvreduce

    lost = node.lvm.groups

    def late(words: list[str]) -> str:
        reduce(words)
        node.lvm.groups = {}
        raise CommandFailed(("lvreduce",), 5, "late")

    node.lvm._lvreduce = late  # type: ignore[method-assign]
    with pytest.raises(CommandFailed):
        storage.cut(group, dirty.name, 40 * MIB)
    with pytest.raises(KernelError, match="does its disk answer"):
        storage.doubt_free_space(group)
    assert (storage.list_places(), storage.list_dirty(group)) == ((kept,), (dirty,))
    node.lvm.groups = lost
    storage.doubt_free_space(group)
    assert [dirty.size_bytes for dirty in storage.list_dirty(group)] == [40 * MIB]
    assert storage.list_places() == (kept,)


def test_a_change_that_fails_on_a_disk_that_errs_costs_no_knowledge_of_replicas(
    storage: Storage, node: Node
) -> None:
    group = group_of(storage)
    kept = storage.ensure_volume(VOLUME, REPLICA, group, 100 * MIB)
    lost, node.lvm.groups = node.lvm.groups, {}
    for _ in range(2):
        with pytest.raises(KernelError):
            storage.ensure_volume(VOLUME, "r1", group, 100 * MIB)
        assert storage.list_places() == (kept,)
    storage.refresh()
    assert (storage.list_places(), group_of(storage)) == ((kept,), group)
    storage.discard_volume(kept)
    with pytest.raises(KernelError):
        storage.name_discarded(group)
    node.lvm.groups = lost
    assert storage.ensure_volume(VOLUME, "r1", group, 100 * MIB).replica_id == "r1"


def test_a_pool_whose_removal_seemed_to_fail_is_gone_for_the_next(storage: Storage, node: Node) -> None:
    remove = node.lvm._vgremove

    def late(words: list[str]) -> str:
        remove(words)
        raise CommandFailed(("vgremove",), 5, "late")

    node.lvm._vgremove = late  # type: ignore[method-assign]
    with pytest.raises(CommandFailed):
        storage.remove_pool("fast")
    storage.remove_pool("fast")
    assert storage.list_volume_groups() == ()
