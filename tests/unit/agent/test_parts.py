"""Replicas of several parts, as LVM's books and device-mapper have them; tests/root has real ones."""

from pathlib import Path

import pytest

from replication.agent.storage import Place, Storage
from replication.errors import (
    AlreadyExists,
    CommandFailed,
    FailedPrecondition,
    NotFound,
    NotWiped,
    OutOfSpace,
)
from replication.model import GIB, MIB
from tests.unit.agent.fake_disk import Node

VOLUME, REPLICA = "v00000000000000aa", "r0"
DISKS = tuple(f"/dev/nvme{number}n1" for number in range(3))
NAME = f"trilith_{VOLUME}_{REPLICA}"
SIZE = GIB + 100 * MIB


@pytest.fixture
def node(tmp_path: Path) -> Node:
    made = Node(tmp_path, disks=3)
    for minor in range(4):
        made.add_block_device(f"dm-{minor}", f"253:{minor}", GIB)
    return made


@pytest.fixture
def storage(node: Node) -> Storage:
    """Of which everything is wiped."""
    made = start(node)
    for group in made.ensure_pool("fast", DISKS):
        made.doubt_free_space(group.name)
        for dirty in made.list_dirty(group.name):
            made.cut(group.name, dirty.name, 0)
    node.lvm.calls.clear()
    return made


def start(node: Node) -> Storage:
    return Storage(node, node.run, node, node.wholes)


def groups_of(storage: Storage) -> tuple[str, ...]:
    return tuple(group.name for group in storage.list_volume_groups())


def make(storage: Storage, size_bytes: int = SIZE, *, striped: bool = False) -> Place:
    groups = groups_of(storage)
    return storage.ensure_parts(
        VOLUME, REPLICA, groups if striped else groups[:2], size_bytes, striped=striped
    )


def rooms(storage: Storage) -> list[int]:
    return [group.free_bytes for group in storage.list_volume_groups()]


def sizes(storage: Storage, place: Place) -> list[int]:
    return [storage._books.sizes[key] for key in place.keys]


def test_all_parts_cost_one_start_of_lvm_and_a_repeat_none(storage: Storage, node: Node) -> None:
    before, started = rooms(storage), node.lvm.starts
    place = make(storage)
    assert make(storage) == place
    assert node.lvm.starts == started + 1
    assert place.device == f"/dev/trilith/{VOLUME}_{REPLICA}".replace(VOLUME, f"trilith_{VOLUME}")
    assert place.groups == groups_of(storage)[:2]
    assert sizes(storage, place) == [before[0], SIZE + 8 * MIB - before[0]]
    assert storage.find_place(VOLUME, REPLICA) == place


@pytest.mark.parametrize("striped", [False, True])
def test_the_next_agent_finds_it_from_the_disks_alone(storage: Storage, node: Node, striped: bool) -> None:
    place = make(storage, striped=striped)
    del node.mapped.devices[NAME]
    later = start(node)
    assert later.list_places() == (place,)
    assert NAME in node.mapped.devices
    assert later.list_volume_groups() == storage.list_volume_groups()


def test_without_a_part_it_is_no_place_and_nothing_is_put_together(storage: Storage, node: Node) -> None:
    place = make(storage)
    for missing in place.groups:
        del node.mapped.devices[NAME]
        kept = node.lvm.groups.pop(missing)
        later = start(node)
        assert later.list_places() == ()
        assert node.mapped.devices == {}
        assert [part.volume_group for part in later.find_remains(VOLUME, REPLICA)] == [
            group for group in place.groups if group != missing
        ]
        node.lvm.groups[missing] = kept
        later.refresh()
        assert later.list_places() == (place,)


@pytest.mark.parametrize("stray", ["1of2", "2of3", "2of2.striped", "3of2"])
def test_a_part_too_many_is_a_doubt_about_all(storage: Storage, node: Node, stray: str) -> None:
    make(storage)
    del node.mapped.devices[NAME]
    lvm, other = storage._lvm, groups_of(storage)[2]
    lvm.ensure_logical_volume(other, f"{VOLUME}_{REPLICA}_{stray}", 8 * MIB, frozenset({"trilith"}))
    later = start(node)
    assert (later.list_places(), node.mapped.devices) == ((), {})
    assert len(later.list_remains()) == 3


def test_a_making_of_which_lvm_did_one_half_leaves_remains(storage: Storage, node: Node) -> None:
    create, made = node.lvm._lvcreate, list[str]()

    def die_in_between(words: list[str]) -> str:
        if made:
            raise CommandFailed(("lvm",), 5, "killed")
        made.append(create(words))
        return ""

    node.lvm._lvcreate = die_in_between  # type: ignore[method-assign]
    with pytest.raises(CommandFailed):
        make(storage)
    node.lvm._lvcreate = create  # type: ignore[method-assign]
    assert storage.find_place(VOLUME, REPLICA) is None
    (left,) = storage.find_remains(VOLUME, REPLICA)
    with pytest.raises(AlreadyExists, match="1of2, not what is asked"):
        make(storage)
    storage.discard_parts((left,))
    with pytest.raises(NotWiped):
        make(storage)


def test_what_is_discarded_is_no_device_and_dirty_on_each_disk(storage: Storage, node: Node) -> None:
    before = rooms(storage)
    place = make(storage)
    taken = sizes(storage, place)
    storage.discard_volume(place)
    assert (node.mapped.devices, storage.list_places(), storage.list_remains()) == ({}, (), ())
    assert [group.reserved_bytes for group in storage.list_volume_groups()] == [*taken, 0]
    for group in place.groups:
        storage.name_discarded(group)
        for dirty in storage.list_dirty(group):
            storage.cut(group, dirty.name, 0)
    assert rooms(storage) == before


def test_what_is_open_is_not_discarded(storage: Storage, node: Node) -> None:
    place = make(storage)
    node.mapped.devices[NAME].opened = 1
    with pytest.raises(FailedPrecondition, match="open"):
        storage.discard_volume(place)
    assert storage.list_places() == (place,)


def test_what_was_never_used_is_free_at_once(storage: Storage) -> None:
    before = rooms(storage)
    storage.remove_volume(make(storage, striped=True))
    assert (rooms(storage), storage.list_remains()) == (before, ())


def test_the_last_part_grows_or_all_that_are_striped(storage: Storage, node: Node) -> None:
    place = make(storage)
    then = sizes(storage, place)
    storage.extend_volume(place, SIZE + 50 * MIB)
    assert sizes(storage, place) == [then[0], then[1] + 52 * MIB]
    assert node.mapped.devices[NAME].targets[-1].sectors == (then[1] + 52 * MIB - 4 * MIB) // 512
    with pytest.raises(OutOfSpace):
        storage.extend_volume(place, 3 * GIB)
    storage.remove_volume(place)
    place = make(storage, striped=True)
    storage.extend_volume(place, SIZE + 50 * MIB)
    assert len(set(sizes(storage, place))) == 1
    assert node.mapped.devices[NAME].targets[0].sectors * 512 >= SIZE + 50 * MIB


def test_where_it_has_to_be_wiped_first_is_said_and_how_much(storage: Storage) -> None:
    first, second, _ = groups_of(storage)
    storage.discard_volume(storage.ensure_volume(VOLUME, "r9", second, 1000 * MIB))
    with pytest.raises(NotWiped) as raised:
        make(storage)
    assert raised.value.volume_group == second
    assert raised.value.wanted_bytes == SIZE + 8 * MIB - rooms(storage)[0]
    with pytest.raises(OutOfSpace, match="of several disks"):
        make(storage, 3 * GIB)
    with pytest.raises(NotFound):
        storage.ensure_parts(VOLUME, REPLICA, (first, "elsewhere"), SIZE, striped=False)
    assert storage.list_remains() == ()


def test_another_size_or_place_is_refused(storage: Storage) -> None:
    make(storage)
    with pytest.raises(AlreadyExists):
        make(storage, SIZE + 8 * MIB)
    with pytest.raises(AlreadyExists):
        storage.ensure_parts(VOLUME, REPLICA, groups_of(storage)[1:], SIZE, striped=False)


def test_a_pool_that_holds_a_part_stays(storage: Storage) -> None:
    make(storage)
    with pytest.raises(FailedPrecondition, match=VOLUME):
        storage.remove_pool("fast")
