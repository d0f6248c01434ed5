"""A replica made ready for an epoch: what older epochs left ends first, and names never come back."""

from dataclasses import replace
from pathlib import Path

import pytest

from replication import layout
from replication.agent.machine import Machine
from replication.agent.replicas import Replicas
from replication.agent.storage import Part, Place, Storage
from replication.agent.wiping import Wiping
from replication.errors import StaleEpoch
from replication.kernel.header import Header, read_header, write_header
from replication.kernel.nvmet import Nvmet
from replication.model import Consumer, Prepared, PrepareSpec
from tests.unit.agent.fake_machine import fake_machine
from tests.unit.kernel.fake_nvmet import FakeNvmet

VOLUME = "v00000000000000aa"


class OnePlace(Storage):
    """Where the only replica lies."""

    def __init__(self, place: Place) -> None:
        self.place = place

    def get_place(self, volume_id: str, replica_id: str) -> Place:
        assert (volume_id, replica_id) == (self.place.volume_id, self.place.replica_id)
        return self.place

    def find_place(self, volume_id: str, replica_id: str) -> Place | None:
        """As if its disk had been taken out."""
        return None

    def list_remains(self) -> tuple[Part, ...]:
        return ()


def on_one_place(machine: Machine, device: str) -> Replicas:
    storage = OnePlace(Place(VOLUME, "r1", "vg", device))
    return Replicas(machine, storage, Wiping(machine, storage))


@pytest.fixture
def tree(tmp_path: Path) -> FakeNvmet:
    return FakeNvmet(tmp_path)


@pytest.fixture
def device(tree: FakeNvmet) -> str:
    tree.add_block_device("dm-3", "253:3", 1 << 20)
    device = tree.path("/dev/r1")
    tree.numbers[str(device)] = "253:3"
    device.write_bytes(bytes(layout.HEADER_AREA_BYTES))
    write_header(str(device), Header("lab", VOLUME, "r1", 1, 3, 7, 1 << 20, 65536))
    return str(device)


@pytest.fixture
def machine(tree: FakeNvmet) -> Machine:
    return replace(fake_machine(tree), boot_id="aaaaaaaa", target=Nvmet(tree))


@pytest.fixture
def replicas(machine: Machine, device: str) -> Replicas:
    return on_one_place(machine, device)


def prepare(replicas: Replicas, epoch: int, version: int, consumer: str = "a") -> Prepared:
    who = Consumer(f"nqn.host:{consumer}:{epoch}") if consumer else None
    return replicas.prepare(PrepareSpec(VOLUME, "r1", epoch, version, who))


def exports(machine: Machine) -> list[str]:
    return [export.nqn for export in machine.target.list_exports("")]


def nqn_of(made: Prepared) -> str:
    assert made.target is not None
    return made.target.nqn


def test_the_old_export_has_ended_before_the_new_one_is_reached(
    replicas: Replicas, tree: FakeNvmet, machine: Machine
) -> None:
    old, new = nqn_of(prepare(replicas, 4, 8)), nqn_of(prepare(replicas, 5, 9))
    assert exports(machine) == [new]
    assert tree.log.index(f"rmdir subsystems/{old}") < tree.log.index(f"mkdir subsystems/{new}")


def test_ready_for_nobody_is_reached_by_nobody(replicas: Replicas, machine: Machine, device: str) -> None:
    prepare(replicas, 4, 8)
    assert prepare(replicas, 5, 9, consumer="").target is None
    assert exports(machine) == []
    assert read_header(device).epoch == 5


def test_an_epoch_below_the_headers_is_refused_and_changes_nothing(
    replicas: Replicas, machine: Machine, device: str
) -> None:
    kept = nqn_of(prepare(replicas, 4, 8))
    with pytest.raises(StaleEpoch, match="has seen epoch 4, 3 is over"):
        prepare(replicas, 3, 9)
    assert exports(machine) == [kept]
    assert read_header(device).epoch == 4


def test_an_export_is_made_once_and_under_a_new_name_for_each_version_and_boot(
    replicas: Replicas, machine: Machine, device: str
) -> None:
    first = nqn_of(prepare(replicas, 4, 8))
    assert nqn_of(prepare(replicas, 4, 8)) == first
    rebooted = on_one_place(replace(machine, boot_id="bbbbbbbb"), device)
    names = [first, nqn_of(prepare(replicas, 4, 9)), nqn_of(prepare(rebooted, 4, 9))]
    assert len(set(names)) == 3


def test_a_prepare_that_comes_late_leaves_the_export_of_the_attempt_after_it(
    replicas: Replicas, machine: Machine
) -> None:
    """Its consumer has connected, and would be refused: the target listens to nobody without an export."""
    kept = nqn_of(prepare(replicas, 4, 9))
    with pytest.raises(StaleEpoch, match="exported for version 9 of its record, 8 is over"):
        prepare(replicas, 4, 8)
    assert exports(machine) == [kept]


def test_a_prepare_that_comes_late_makes_the_header_no_older(replicas: Replicas, device: str) -> None:
    """Or the next one would take the disk for an old copy of itself."""
    prepare(replicas, 4, 9)
    replicas.release(VOLUME, "r1", 4)
    prepare(replicas, 4, 8)
    assert read_header(device).record_version == 9


def test_who_is_removed_after_its_disk_was_is_reached_by_nobody(replicas: Replicas, machine: Machine) -> None:
    prepare(replicas, 4, 8)
    for _ in range(2):
        replicas.remove(VOLUME, "r1", 7)
        assert exports(machine) == []
