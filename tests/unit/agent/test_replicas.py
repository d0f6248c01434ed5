from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from replication import layout
from replication.agent.replicas import Replicas
from replication.agent.storage import Part, Place, Storage
from replication.agent.wiping import Wiping
from replication.errors import DataLoss, StaleEpoch, Unavailable
from replication.kernel.header import (
    Header,
    discard_header,
    find_header,
    is_discarded,
    read_header,
    write_header,
)
from replication.kernel.nvmet import Nvmet
from replication.model import PrepareSpec, ReplicaSpec
from tests.unit.agent.fake_machine import fake_machine
from tests.unit.kernel.fake_nvmet import FakeNvmet
from tests.unit.kernel.fake_tree import FakeTree

MIB = 1 << 20
GROUP = "trilith_0000000a"


class Shelf(Storage):
    """Of replicas that are where they are said to be."""

    def __init__(self) -> None:
        self.places: list[Place] = []
        self.gone: list[tuple[str, str]] = []  # how, and which volume's
        self.new_place: Callable[[str], Place]

    def list_places(self) -> tuple[Place, ...]:
        return tuple(self.places)

    def find_place(self, volume_id: str, replica_id: str) -> Place | None:
        found = (p for p in self.places if (p.volume_id, p.replica_id) == (volume_id, replica_id))
        return next(found, None)

    def list_remains(self) -> tuple[Part, ...]:
        return ()

    def discard_volume(self, place: Place) -> None:
        self.places.remove(place)
        self.gone.append(("to be wiped", place.volume_id))

    def ensure_volume(self, volume_id: str, replica_id: str, group: str, size_bytes: int) -> Place:
        return self.find_place(volume_id, replica_id) or self.new_place(volume_id)

    def remove_volume(self, place: Place) -> None:
        self.places.remove(place)
        self.gone.append(("free", place.volume_id))


@pytest.fixture
def tree(tmp_path: Path) -> FakeNvmet:
    return FakeNvmet(tmp_path)


@pytest.fixture
def shelf(tree: FakeTree) -> Shelf:
    made = Shelf()
    made.new_place = lambda volume_id: place_of(tree, made, volume_id)
    return made


@pytest.fixture
def replicas(tree: FakeTree, shelf: Shelf) -> Replicas:
    machine = replace(fake_machine(tree), target=Nvmet(tree))
    return Replicas(machine, shelf, Wiping(machine, shelf))


def add(tree: FakeTree, shelf: Shelf, volume_id: str, *, whole: bool = True, epoch: int = 3) -> Path:
    """The device of a replica of `volume_id`; not whole: its making was interrupted."""
    device = place_of(tree, shelf, volume_id).device
    if whole:
        write_header(device, Header("lab", volume_id, "r0", 1, epoch, 7, MIB, 65536))
    return Path(device)


def place_of(tree: FakeTree, shelf: Shelf, volume_id: str) -> Place:
    minor = len(shelf.places) + len(shelf.gone)
    device = tree.path(f"/dev/{volume_id}")
    tree.add_block_device(f"dm-{minor}", f"253:{minor}", MIB)
    tree.numbers[str(device)] = f"253:{minor}"
    device.write_bytes(bytes(layout.HEADER_AREA_BYTES))
    shelf.places.append(Place(volume_id, "r0", GROUP, str(device)))
    return shelf.places[-1]


def told(replicas: Replicas) -> list[str]:
    return [facts.volume_id for facts in replicas.list_facts()]


def test_what_is_whole_is_told(tree: FakeTree, shelf: Shelf, replicas: Replicas) -> None:
    add(tree, shelf, "v1")
    add(tree, shelf, "v2", whole=False)
    (facts,) = replicas.list_facts()
    assert (facts.volume_id, facts.replica_id, facts.volume_group) == ("v1", "r0", GROUP)
    assert (facts.epoch, facts.record_version, facts.size_bytes) == (3, 7, MIB)


def test_a_dead_disk_leaves_the_others_to_be_told_of(
    tree: FakeTree, shelf: Shelf, replicas: Replicas
) -> None:
    """Gone, answering with errors, damaged, or without its attributes in sysfs."""
    gone, short, damaged, bare = (add(tree, shelf, name) for name in ("gone", "short", "damaged", "bare"))
    add(tree, shelf, "well")
    gone.unlink()
    short.write_bytes(b"")
    damaged.write_bytes(b"x" * layout.HEADER_AREA_BYTES)
    tree.path("/sys/class/block/dm-3/queue/write_cache").unlink()
    assert bare.exists()
    assert told(replicas) == ["well"]


def test_an_old_copy_of_a_disk_is_refused_and_stays_known_for_it(
    tree: FakeTree, shelf: Shelf, replicas: Replicas
) -> None:
    device = add(tree, shelf, "v1")
    with pytest.raises(DataLoss, match="record version 7 in its header, and has had 8"):
        replicas.prepare(PrepareSpec("v1", "r0", 4, 9, None, marked=8))
    assert read_header(str(device)).record_version == 7


@pytest.mark.parametrize(
    ("whole", "epoch", "how"), [(True, 1, "to be wiped"), (False, 0, "to be wiped"), (True, 0, "free")]
)
def test_what_anybody_may_have_written_to_is_wiped(
    tree: FakeTree, shelf: Shelf, replicas: Replicas, whole: bool, epoch: int, how: str
) -> None:
    """A header of epoch 0 says that nobody was let at it; without one nothing is known."""
    device = add(tree, shelf, "v1", whole=whole, epoch=epoch)
    for _ in range(2):
        replicas.remove("v1", "r0")
    assert shelf.gone == [(how, "v1")]
    assert find_header(str(device)) is None


def test_an_array_begins_with_what_this_agent_made_ready_for_it(
    tree: FakeTree, shelf: Shelf, replicas: Replicas
) -> None:
    """Another may be of another boot, by which the disk may have forgotten what it was chosen for."""
    device = add(tree, shelf, "v1")
    replicas.prepare(PrepareSpec("v1", "r0", 4, 9, None))
    assert replicas.find_device("v1", "r0", 4) == str(device)
    with pytest.raises(StaleEpoch, match="has seen epoch 4, 3 is over"):
        replicas.find_device("v1", "r0", 3)
    machine = replace(fake_machine(tree), target=Nvmet(tree))
    later = Replicas(machine, shelf, Wiping(machine, shelf))
    with pytest.raises(Unavailable, match="was not made ready for epoch 4 since this agent began"):
        later.find_device("v1", "r0", 4)
    later.prepare(PrepareSpec("v1", "r0", 4, 9, None))
    assert later.find_device("v1", "r0", 4) == str(device)


def test_who_decided_on_an_older_record_removes_nothing(
    tree: FakeTree, shelf: Shelf, replicas: Replicas
) -> None:
    """Its header was last written for version 7; whoever knows that, or says nothing, may."""
    device = add(tree, shelf, "v1")
    assert read_header(str(device)).record_version == 7
    with pytest.raises(StaleEpoch, match="has seen version 7 of its record, and was to be removed as of 6"):
        replicas.remove("v1", "r0", 6)
    assert (told(replicas), shelf.gone) == (["v1"], [])
    replicas.remove("v1", "r0", 7)
    assert shelf.gone == [("to be wiped", "v1")]


def test_a_replica_whose_making_was_interrupted_is_made_anew(
    tree: FakeTree, shelf: Shelf, replicas: Replicas
) -> None:
    add(tree, shelf, "v1", whole=False)
    replicas.ensure(ReplicaSpec("v1", "r0", GROUP, MIB, 65536))
    assert shelf.gone == [("to be wiped", "v1")]
    assert told(replicas) == ["v1"]


def test_a_replica_that_is_there_stays(tree: FakeTree, shelf: Shelf, replicas: Replicas) -> None:
    add(tree, shelf, "v1")
    facts = replicas.ensure(ReplicaSpec("v1", "r0", GROUP, MIB, 65536))
    assert (facts.epoch, shelf.gone) == (3, [])


def test_what_an_agent_took_away_and_did_not_live_to_name_is_wiped_by_the_next(
    tree: FakeTree, shelf: Shelf, replicas: Replicas
) -> None:
    """Not what is damaged, half-made or on a disk that errs: that may be anything."""
    kept = {"used": add(tree, shelf, "used"), "half": add(tree, shelf, "half", whole=False)}
    kept |= {name: add(tree, shelf, name) for name in ("damaged", "short")}
    kept["damaged"].write_bytes(b"x" * layout.HEADER_AREA_BYTES)
    kept["short"].write_bytes(b"")
    discard_header(str(add(tree, shelf, "gone")))
    replicas.take_up_discarded()
    assert shelf.gone == [("to be wiped", "gone")]
    assert {place.volume_id for place in shelf.places} == kept.keys()


def test_a_replica_that_is_taken_away_says_so_itself(
    tree: FakeTree, shelf: Shelf, replicas: Replicas
) -> None:
    device = add(tree, shelf, "v1")
    replicas.remove("v1", "r0")
    assert is_discarded(str(device))
    assert shelf.gone == [("to be wiped", "v1")]
