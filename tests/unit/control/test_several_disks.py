"""Volumes whose replicas lie on several disks, on nodes that are fakes."""

import pytest

from replication.clock import SystemClock
from replication.control.control import Control, build_control
from replication.control.insync import in_sync
from replication.control.lifecycle import VolumeRequest
from replication.control.store.memory import MemoryStore
from replication.errors import FailedPrecondition, OutOfRange, OutOfSpace, Unsupported
from replication.model import GIB, MIB, Node, ReplicaFacts, ReplicaSpec
from tests.fakes.node import FakeCluster, FakeNode
from tests.unit.control.test_emptying import move
from tests.unit.control.test_replacing import Lab

MORE = ("/dev/nvme1n1", "/dev/nvme2n1")
LARGEST = 3 * (10 * GIB - 4 * MIB) - 4 * MIB  # three disks, each part with 4 MiB of its own, and the header


class Site:
    """Nodes of three disks of 10 GiB, and a pool of them all."""

    def __init__(self, *, striped: bool = False) -> None:
        self.cluster = FakeCluster(list("abc"))
        for node in self.nodes:
            node.disk_bytes, node.more_disks = 10 * GIB, MORE
        self.control: Control = build_control(MemoryStore(), self.cluster.connect, SystemClock())
        for node in self.nodes:
            self.control.nodes.add(Node(node.name, f"{node.name}:7000", f"data-{node.name}"))
        self.control.pools.create("nvme", ("a", "b", "c"), 3, striped=striped)

    @property
    def nodes(self) -> list[FakeNode]:
        return [self.cluster.node(name) for name in "abc"]

    def free(self) -> list[int]:
        return [sum(group.free_bytes for group in node._groups()) for node in self.nodes]

    def create(self, size_bytes: int, name: str = "data") -> str:
        return self.control.volumes.create(VolumeRequest(name, size_bytes, "nvme")).id


@pytest.fixture
def site() -> Site:
    return Site()


def test_it_lives_and_leaves_nothing(site: Site) -> None:
    before = site.free()
    made = site.control.volumes.get(site.create(15 * GIB))
    assert {len(r.groups) for r in made.replicas} == {2}
    for replica in made.replicas:
        assert site.cluster.node(replica.node).replicas[made.id, replica.id].groups == replica.groups
    site.control.volumes.expand(made.id, 16 * GIB)
    taken = 16 * GIB + 3 * 4 * MIB  # the header's, and two parts' own
    assert site.free() == [free - taken for free in before]
    site.control.volumes.delete(made.id)
    assert site.free() == before


def test_what_is_said_to_be_possible_is_made_and_no_more(site: Site) -> None:
    assert site.control.volumes.find_largest(VolumeRequest("x", GIB, "nvme")) == LARGEST
    with pytest.raises(OutOfRange, match=r"a 29\.99 GiB"):
        site.create(LARGEST + 4 * MIB)
    site.create(LARGEST)
    with pytest.raises(OutOfSpace):
        site.create(4 * MIB, "more")


def test_room_that_was_given_away_is_not_given_again(site: Site) -> None:
    """Without asking nodes again: what is remembered knows which disk lost how much."""
    site.create(15 * GIB)
    site.create(9 * GIB, "another")
    with pytest.raises(OutOfSpace):
        site.create(6 * GIB, "more")
    assert site.create(4 * GIB, "less")


def test_a_striped_pool_spreads_each_replica_over_all_disks() -> None:
    site = Site(striped=True)
    made = site.control.volumes.get(site.create(GIB))
    assert {(len(r.groups), r.striped) for r in made.replicas} == {(3, True)}
    used = {10 * GIB - group.free_bytes for node in site.nodes for group in node._groups()}
    assert used == {344 * MIB + 4 * MIB}
    site.control.volumes.expand(made.id, 2 * GIB)
    used = {10 * GIB - group.free_bytes for node in site.nodes for group in node._groups()}
    assert used == {684 * MIB + 4 * MIB}


def test_a_pool_that_holds_a_part_is_not_given_back(site: Site) -> None:
    made = site.create(15 * GIB)
    with pytest.raises(FailedPrecondition):
        site.cluster.node("a").remove_disk_pool("nvme")
    site.control.volumes.delete(made)
    site.cluster.node("a").remove_disk_pool("nvme")


class EarlierNode(FakeNode):
    """Its agent does not know of parts: it takes the first disk for the only one."""

    def ensure_replica(self, spec: ReplicaSpec) -> ReplicaFacts:
        known = ReplicaSpec(
            spec.volume_id, spec.replica_id, spec.volume_group, spec.size_bytes, spec.bitmap_chunk_bytes
        )
        return super().ensure_replica(known)


def test_an_earlier_agent_is_not_believed_to_have_spread_anything() -> None:
    site = Site(striped=True)
    site.cluster.node("b").__class__ = EarlierNode
    before = site.free()
    with pytest.raises(Unsupported, match=r"on node b lies on vg-b, not on vg-b, .* older"):
        site.create(GIB)
    assert (site.free(), site.control.volumes.list()) == (before, ())


@pytest.mark.parametrize("disk", ["/dev/nvme0n1", "/dev/nvme1n1"])
def test_each_disk_that_it_touches_is_drained(disk: str) -> None:
    lab = Lab(delay=600.0)
    for name in "abcd":
        lab.cluster.node(name).more_disks = MORE
        lab.control.nodes.to(name).ensure_disk_pool("nvme", ("/dev/nvme0n1", *MORE))
    lab.control.volumes.detach(lab.id)
    lab.control.volumes.delete(lab.id)
    request = VolumeRequest("big", 150 * GIB, "nvme", preferred_nodes=("a", "b", "c"))
    lab.id = lab.control.volumes.create(request).id
    lab.control.volumes.attach(lab.id, "a")
    assert {len(r.groups) for r in lab.record().replicas} == {2}
    lab.control.emptying.drain_disk("b", disk)
    move(lab, "d")
    assert {r.node for r in in_sync(lab.record())} == {"a", "c", "d"}
    assert not lab.cluster.node("b").replicas
