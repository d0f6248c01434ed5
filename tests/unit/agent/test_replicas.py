from pathlib import Path

import pytest

from replication import layout
from replication.agent.replicas import Replicas
from replication.agent.storage import Place, Storage
from replication.errors import DataLoss
from replication.kernel.header import Header, read_header, write_header
from replication.model import PrepareSpec
from tests.unit.agent.fake_machine import fake_machine
from tests.unit.kernel.fake_tree import FakeTree

MIB = 1 << 20
GROUP = "trilith_0000000a"


class Shelf(Storage):
    """Of replicas that are where they are said to be."""

    def __init__(self) -> None:
        self.places: list[Place] = []

    def list_places(self) -> tuple[Place, ...]:
        return tuple(self.places)

    def find_place(self, volume_id: str, replica_id: str) -> Place | None:
        found = (p for p in self.places if (p.volume_id, p.replica_id) == (volume_id, replica_id))
        return next(found, None)


@pytest.fixture
def tree(tmp_path: Path) -> FakeTree:
    return FakeTree(tmp_path)


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def replicas(tree: FakeTree, shelf: Shelf) -> Replicas:
    return Replicas(fake_machine(tree), shelf)


def add(tree: FakeTree, shelf: Shelf, volume_id: str, *, whole: bool = True) -> Path:
    """The device of a replica of `volume_id`; not whole: its making was interrupted."""
    device, minor = tree.path(f"/dev/{volume_id}"), len(shelf.places)
    tree.add_block_device(f"dm-{minor}", f"253:{minor}", MIB)
    tree.numbers[str(device)] = f"253:{minor}"
    device.write_bytes(bytes(layout.HEADER_AREA_BYTES))
    if whole:
        write_header(str(device), Header("lab", volume_id, "r0", 1, 3, 7, MIB, 65536))
    shelf.places.append(Place(volume_id, "r0", GROUP, str(device)))
    return device


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
