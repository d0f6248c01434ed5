"""Whom a new volume is put on, and how few are asked for it."""

import pytest

from replication.control.control import Control, build_control
from replication.control.cordons import Cordon
from replication.control.placement import ZONE_LABEL
from replication.control.rooms import ASKED_AT_ONCE, KNOWN_FOR, LATELY
from replication.control.store.memory import MemoryStore
from replication.control.volumes import VolumeRequest
from replication.errors import OutOfSpace, Unavailable
from replication.model import GIB, Volume
from tests.fakes.clock import HandClock
from tests.fakes.node import FakeCluster


class Lab:
    """Nodes of one size, and two processes that control them."""

    def __init__(self, count: int, disk_gib: int = 100) -> None:
        self.clock = HandClock()
        self.fakes = FakeCluster([f"n{number:02}" for number in range(count)], disk_bytes=disk_gib * GIB)
        store = MemoryStore(self.fakes.name)
        self.control, self.other = (build_control(store, self.fakes.connect, self.clock) for _ in range(2))
        self.fakes.add_to(self.control)

    def create(self, name: str, gib: int = 1, by: Control | None = None, **more: object) -> set[str]:
        """The nodes that it lies on."""
        request = VolumeRequest(name, gib * GIB, "nvme", **more)  # type: ignore[arg-type]
        return nodes_of((by or self.control).volumes.create(request))

    def delete(self, name: str) -> None:
        volume = self.other.volumes.find(name)
        assert volume is not None
        self.other.volumes.delete(volume.id)

    def asked(self) -> set[str]:
        """Since the last time."""
        found = {name for name, node in self.fakes.nodes.items() if "sketch" in node.calls}
        for node in self.fakes.nodes.values():
            node.calls.clear()
        return found


def nodes_of(volume: Volume) -> set[str]:
    return {replica.node for replica in volume.replicas}


def test_all_are_asked_once_and_then_only_those_that_are_used() -> None:
    lab = Lab(10)
    lab.asked()
    lab.create("first")
    assert len(lab.asked()) == 10
    second = lab.create("second")
    assert lab.asked() == second


def test_what_was_given_away_counts_before_anybody_is_asked_again() -> None:
    lab = Lab(9)
    used = [lab.create(name) for name in ("first", "second", "third")]
    assert set.union(*used) == set(lab.fakes.nodes)


def test_what_is_known_for_too_long_is_asked_again_some_at_a_time() -> None:
    lab = Lab(ASKED_AT_ONCE + 20)
    lab.create("first")
    lab.asked()
    lab.clock.sleep(KNOWN_FOR)
    second = lab.create("second")
    assert len(lab.asked() - second) <= ASKED_AT_ONCE
    third = lab.create("third")
    again = lab.asked()
    assert len(again - third) <= 20
    fourth = lab.create("fourth")
    assert lab.asked() == fourth


def test_a_node_that_has_died_is_not_used_and_kept_waiting_for_once_only() -> None:
    lab = Lab(5)
    lab.create("first")
    lab.fakes.node("n03").silent = True
    assert "n03" not in lab.create("second")
    lab.asked()
    assert "n03" not in lab.create("third")
    assert "n03" not in lab.asked()


def test_a_node_that_is_back_is_used_when_no_other_will_do() -> None:
    lab = Lab(3)
    lab.fakes.node("n01").silent = True
    with pytest.raises(Unavailable, match="n01"):
        lab.create("first")
    lab.fakes.node("n01").silent = False
    assert lab.create("first") == {"n00", "n01", "n02"}


def test_what_another_process_has_used_up_is_not_given_away() -> None:
    lab = Lab(6, disk_gib=10)
    lab.create("first")  # on n00 to n02: the others look roomier
    lab.create("large", gib=9, by=lab.other)
    assert lab.create("second", gib=2) == {"n00", "n01", "n02"}


def test_nobody_is_refused_for_what_is_only_remembered() -> None:
    lab = Lab(3, disk_gib=10)
    lab.create("first", gib=6)
    with pytest.raises(OutOfSpace, match=r"free, or being wiped, are n00 4\.00 GiB"):
        lab.create("second", gib=6)
    lab.delete("first")
    assert len(lab.create("second", gib=6)) == 3


def test_a_preferred_node_that_has_room_again_is_preferred() -> None:
    lab = Lab(6, disk_gib=10)
    full = lab.create("first", gib=8)
    preferred = min(full)
    lab.delete("first")
    assert preferred in lab.create("second", gib=8, preferred_nodes=(preferred,))


def test_a_cordon_holds_for_what_is_remembered_too() -> None:
    lab = Lab(6)
    lab.create("first")
    lab.control.store.put_cordon(Cordon("n03"))
    lab.control.store.put_cordon(Cordon("n04/vg-n04"))
    assert lab.create("second") & {"n03", "n04"} == set()


def test_who_asks_again_and_again_how_much_there_is_hears_what_was_said_lately() -> None:
    lab = Lab(3)
    request = VolumeRequest("first", GIB, "nvme")
    before = lab.control.volumes.find_largest(request)
    lab.asked()
    assert lab.control.volumes.find_largest(request) == before
    assert lab.asked() == set()
    lab.create("second", gib=10)
    assert lab.control.volumes.find_largest(request) < before, "what was given away counts at once"
    lab.clock.sleep(LATELY)
    lab.asked()
    lab.control.volumes.find_largest(request)
    assert lab.asked() == {"n00", "n01", "n02"}


def test_zones_are_heeded_with_what_is_remembered() -> None:
    lab = Lab(6)
    for number, name in enumerate(lab.fakes.nodes):
        lab.control.nodes.label(name, {ZONE_LABEL: f"zone-{number % 3}"})
    for name in ("first", "second"):
        zones = {int(node[1:]) % 3 for node in lab.create(name)}
        assert zones == {0, 1, 2}


def test_no_operation_on_a_volume_asks_for_what_grows_with_the_number_of_others() -> None:
    lab = Lab(4)
    lab.asked()
    volumes, request = lab.control.volumes, VolumeRequest("first", GIB, "nvme")
    made = volumes.create(request)
    volumes.attach(made.id, "n03")
    volumes.attach(made.id, "n03")
    volumes.expand(made.id, 2 * GIB)
    volumes.detach(made.id)
    volumes.delete(made.id)
    volumes.find_largest(request)
    calls = [call for node in lab.fakes.nodes.values() for call in node.calls]
    assert "sketch" in calls
    assert "describe" not in calls


def test_room_that_is_still_to_be_wiped_comes_last_and_is_waited_for_and_named() -> None:
    """A repeat succeeds when it is wiped; until then nothing stays."""
    lab = Lab(7, disk_gib=10)
    dirty = ("n00", "n01", "n02", "n03")
    for name in dirty:
        lab.fakes.node(name).reserved_bytes = 8 * GIB
    assert lab.create("first", gib=6, preferred_nodes=("n00",)) == {"n04", "n05", "n06"}
    with pytest.raises(Unavailable, match=rf"node n00: .*{8 * GIB} bytes are still to be wiped"):
        lab.create("second", gib=6)
    assert not any(lab.fakes.node(name).replicas for name in dirty)
    assert lab.control.volumes.find_largest(VolumeRequest("third", GIB, "nvme")) < 4 * GIB
    for name in dirty:
        lab.fakes.node(name).reserved_bytes = 0
    assert lab.create("second", gib=6) < set(dirty)
