"""What is planned now and then gets its turn behind a rebuild that is tried each second, or a fence."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from replication.clock import SystemClock
from replication.control import insync
from replication.control.control import Control
from replication.control.reconciler import Reconciler
from replication.control.volumes import VolumeRequest
from replication.model import GIB, Attachment
from tests.fakes.node import FakeCluster
from tests.unit.control.test_volumes import make

HELD_SECONDS = 0.3


class Lab:
    """A volume of three replicas."""

    def __init__(self) -> None:
        self.cluster: FakeCluster
        self.control: Control
        self.cluster, self.control = make(["a", "b", "c"])
        self.id = self.control.volumes.create(VolumeRequest("data", GIB, "nvme")).id

    @contextmanager
    def trying(self, operation: str) -> Iterator[None]:
        """It has just been begun, and is over in a moment."""
        held, done = threading.Event(), threading.Event()

        def hold() -> None:
            with self.control.records.lock(self.id, operation, timeout=0.0):
                held.set()
                done.wait(HELD_SECONDS)

        thread = threading.Thread(target=hold)
        thread.start()
        assert held.wait(5)
        try:
            yield
        finally:
            done.set()
            thread.join()


@pytest.fixture
def lab() -> Lab:
    return Lab()


def test_a_volume_is_attached_again_though_it_lacks_a_replica(lab: Lab) -> None:
    lab.control.volumes.attach(lab.id, "a")
    lab.cluster.node("a").boot()
    with lab.trying("rebuild"):
        lab.control.volumes.reattach(lab.id)
    assert lab.id in lab.cluster.node("a").arrays


def test_upkeep_begins_though_a_fence_is_told_again(lab: Lab) -> None:
    with lab.trying("fence"):
        lab.control.volumes.begin_upkeep(lab.id, "a")
    assert lab.control.volumes.get(lab.id).upkeep


def test_upkeep_ends_though_a_replica_cannot_be_brought_back(lab: Lab) -> None:
    lab.control.volumes.begin_upkeep(lab.id, "a")
    with lab.trying("rebuild"):
        lab.control.volumes.end_upkeep(lab.id)
    assert lab.control.volumes.get(lab.id).attachment is Attachment.DETACHED


def test_a_fence_is_told_though_an_expansion_is_tried(lab: Lab) -> None:
    lab.control.volumes.attach(lab.id, "a")
    lab.control.records.change(lab.id, insync.fence)
    reconciler = Reconciler(lab.control, SystemClock())
    with lab.trying("settle"):
        reconciler.run_once()
    epochs = {lab.cluster.node(node).replicas[lab.id, f"r{i}"].epoch for i, node in enumerate("abc")}
    assert 2 in epochs
