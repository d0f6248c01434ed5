import os
from dataclasses import replace
from pathlib import Path

import pytest

from replication.agent import headers
from replication.agent.names import PartName
from replication.agent.storage import Part, Place
from replication.errors import DataLoss, KernelError, NotFound
from replication.kernel import header
from replication.kernel.header import Header
from replication.layout import DATA_OFFSET_BYTES, HEADER_AREA_BYTES
from replication.model import MIB
from tests.unit.kernel.fake_tree import FakeTree

HEAD = Header("lab", "v1", "r0", 1, 3, 7, MIB, 65536)
ROOM = DATA_OFFSET_BYTES + MIB


class Site(FakeTree):
    """A replica of two parts; devices are files."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        group = os.path.relpath(root, "/dev")  # LVM's devices are named by their groups
        parts = tuple(Part(group, PartName("v1", "r0", number, 2, striped=False)) for number in (1, 2))
        self.place = Place("v1", "r0", group, str(root / "whole"), parts)
        self.add_block_device("dm-0", "253:0", ROOM)
        self.numbers[self.place.device] = "253:0"
        for device in (self.place.device, *(part.device for part in parts)):
            Path(device).write_bytes(bytes(HEADER_AREA_BYTES))

    def look(self) -> Header | None:
        return headers.find(self, self.place)

    def stamp(self, number: int) -> Path:
        return Path(self.place.parts[number - 1].device)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path)
    headers.write(made.place, HEAD)
    return made


def test_what_was_written_is_found(site: Site) -> None:
    assert site.look() == replace(HEAD, sequence=1)
    assert headers.read(site, site.place) == site.look()


def test_it_has_seen_the_highest_epoch_and_the_oldest_record(site: Site) -> None:
    """One of its disks is as it was some time ago."""
    old = site.stamp(2).read_bytes()
    headers.write(site.place, replace(HEAD, epoch=5, record_version=9))
    site.stamp(2).write_bytes(old)
    found = site.look()
    assert found is not None
    assert (found.epoch, found.record_version) == (5, 7)


@pytest.mark.parametrize("number", [1, 2])
def test_with_a_part_that_says_nothing_it_is_none(site: Site, number: int) -> None:
    site.stamp(number).write_bytes(bytes(HEADER_AREA_BYTES))
    with pytest.raises(DataLoss, match="no replica's header"):
        site.look()
    site.stamp(number).unlink()
    with pytest.raises(NotFound):
        site.look()


def test_parts_that_changed_places_are_refused(site: Site) -> None:
    first, second = site.stamp(1).read_bytes(), site.stamp(2).read_bytes()
    site.stamp(1).write_bytes(second)
    site.stamp(2).write_bytes(first)
    with pytest.raises(DataLoss, match="it is part 2 of replica r0 of v1"):
        site.look()


@pytest.mark.parametrize("change", [{"volume_id": "v2"}, {"replica_id": "r1"}, {"cluster": "other"}])
def test_a_part_of_another_replica_is_refused(site: Site, change: dict[str, str]) -> None:
    header.write_header(str(site.stamp(2)), replace(HEAD, part=2, **change))  # type: ignore[arg-type]
    with pytest.raises(DataLoss):
        site.look()


def test_a_device_that_is_too_short_for_its_data_is_refused(site: Site) -> None:
    site.put("/sys/class/block/dm-0/size", str((ROOM - 4096) // 512))
    with pytest.raises(DataLoss, match="its header says"):
        site.look()


def test_parts_are_written_first(site: Site) -> None:
    """Power goes in between: they have seen more than the header, never less."""
    Path(site.place.device).unlink()
    with pytest.raises(NotFound):
        headers.write(site.place, replace(HEAD, epoch=4, record_version=8))
    assert [header.read_header(str(site.stamp(number))).epoch for number in (1, 2)] == [4, 4]


def test_the_header_is_discarded_first(site: Site) -> None:
    site.stamp(1).unlink()
    with pytest.raises(NotFound):
        headers.discard(site.place)
    assert header.is_discarded(site.place.device)
    assert not header.is_discarded(str(site.stamp(2)))


def test_an_earlier_agent_reads_the_header_of_a_replica_on_one_disk() -> None:
    """It knows no parts: a field that it does not know would be an error to it."""
    assert b'"part"' not in header.encode(HEAD)
    assert b'"part"' in header.encode(replace(HEAD, part=1))


@pytest.mark.parametrize("number", [1, 2])
def test_a_part_that_cannot_be_written_keeps_no_other_from_saying_so(site: Site, number: int) -> None:
    """It is as it was, once its disk has recovered."""
    before = site.stamp(number).read_bytes()
    site.stamp(number).write_bytes(b"")
    assert headers.mark_suspect(site.place)
    site.stamp(number).write_bytes(before)
    found = site.look()
    assert found is not None
    assert found.suspect


def test_where_nothing_can_be_written_nothing_is_said(site: Site) -> None:
    for device in (site.place.device, str(site.stamp(1)), str(site.stamp(2))):
        Path(device).write_bytes(b"")
    with pytest.raises(KernelError):
        headers.mark_suspect(site.place)


def test_nothing_is_said_of_what_an_earlier_volume_left(site: Site) -> None:
    headers.write(site.place, replace(HEAD, volume_id="v2"))
    assert not headers.mark_suspect(site.place)
    assert not header.read_header(site.place.device).suspect
