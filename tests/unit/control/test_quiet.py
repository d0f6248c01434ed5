"""What cannot go on asks the store for nothing: in Kubernetes each look under a lock is three requests."""

from collections import Counter
from contextlib import AbstractContextManager

import pytest

from replication.control.control import build_control
from replication.control.reconciler import Reconciler
from replication.control.settings import Settings
from replication.control.store.memory import MemoryStore
from replication.control.volumes import VolumeRequest
from replication.model import GIB, MemberHealth, MemberReport, ReplicaState, Versioned
from tests.fakes.clock import HandClock
from tests.fakes.node import FakeCluster
from tests.unit.control.test_flapping import SLOW

PASSES = 20


class CountingStore(MemoryStore):
    """Which volumes were locked or read."""

    def __init__(self, cluster: str) -> None:
        super().__init__(cluster)
        self.asked: Counter[str] = Counter()

    def lock(self, key: str, operation: str, timeout: float = 0.0) -> AbstractContextManager[None]:
        self.asked[f"{operation} {key}"] += 1
        return super().lock(key, operation, timeout)

    def get_volume(self, volume_id: str) -> Versioned:
        self.asked[f"read {volume_id}"] += 1
        return super().get_volume(volume_id)


class Lab:
    """A volume on a, b and c, attached to a."""

    def __init__(self) -> None:
        self.clock, self.cluster = HandClock(0.0), FakeCluster(["a", "b", "c"])
        self.store = CountingStore(self.cluster.name)
        self.control = build_control(self.store, self.cluster.connect, self.clock)
        self.cluster.add_to(self.control)
        self.id = self.make("data")
        self.reconciler = Reconciler(self.control, self.clock)

    def make(self, name: str) -> str:
        made = self.control.volumes.create(VolumeRequest(name, GIB, "nvme")).id
        self.control.volumes.attach(made, "a")
        return made

    def find_replica(self, volume_id: str, node: str) -> str:
        return next(r.id for r in self.control.volumes.get(volume_id).replicas if r.node == node)

    def state(self, node: str) -> ReplicaState:
        return next(r.state for r in self.control.volumes.get(self.id).replicas if r.node == node)

    def lose(self, volume_id: str, reason: str = "its connection is gone") -> None:
        array, replica = self.cluster.node("a").arrays[volume_id], self.find_replica(volume_id, "b")
        array.members[replica] = MemberReport(replica, MemberHealth.LOST, reason, True)
        self.reconciler._hear("a", array.report())
        self.reconciler.handle("a", array.report())

    def count(self) -> Counter[str]:
        """In some passes over everything."""
        self.store.asked.clear()
        for _ in range(PASSES):
            self.reconciler.run_once()
        return self.store.asked


@pytest.fixture
def lab() -> Lab:
    return Lab()


def test_a_replica_whose_node_is_silent(lab: Lab) -> None:
    lab.cluster.node("b").silent = True
    lab.lose(lab.id)
    assert lab.state("b") is ReplicaState.STALE
    assert not lab.count()


def test_one_that_waits_as_it_was_slow(lab: Lab) -> None:
    lab.lose(lab.id, SLOW)
    assert not lab.count()
    lab.clock.time += 30.0
    lab.reconciler.run_once()
    assert lab.state("b") is ReplicaState.REBUILDING


def test_one_that_is_copied_and_one_that_waits_for_its_turn(lab: Lab) -> None:
    lab.store.put_settings(Settings("nvme", rebuilds_per_node=1))
    other = lab.make("other")
    for volume_id in (lab.id, other):
        lab.lose(volume_id)
    lab.reconciler.run_once()
    states = {r.state for v in (lab.id, other) for r in lab.control.volumes.get(v).replicas if r.node == "b"}
    assert states == {ReplicaState.REBUILDING, ReplicaState.STALE}
    assert not lab.count()
