"""A few attachments to one node at a time."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from replication.clock import SystemClock, wait_until
from replication.control.control import build_control
from replication.control.queueing import AT_ONCE, Queue
from replication.control.store.memory import MemoryStore
from replication.control.volumes import VolumeRequest
from replication.errors import Busy
from replication.model import GIB, AttachSpec
from tests.fakes.node import FakeCluster, FakeNode


def test_a_node_has_so_many_turns_and_others_have_their_own() -> None:
    queue = Queue(at_once=2, patience=0.05)
    with queue.turn("a"), queue.turn("a"):
        with pytest.raises(Busy, match="2 other volumes are being attached to node a"), queue.turn("a"):
            pass
        with queue.turn("b"):
            pass
    with queue.turn("a"):
        pass


def test_a_turn_that_ended_badly_is_free_again() -> None:
    queue = Queue(at_once=1, patience=0.05)
    with pytest.raises(ZeroDivisionError), queue.turn("a"):
        raise ZeroDivisionError
    with queue.turn("a"):
        pass


def test_a_crowd_of_attachments_is_begun_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster(["a", "b", "c"])
    control = build_control(MemoryStore(), cluster.connect, SystemClock())
    cluster.add_to(control)
    volumes = [control.volumes.create(VolumeRequest(f"v{number}", GIB, "nvme")) for number in range(8)]
    inside, most, gate, counting = [0], [0], threading.Event(), threading.Lock()
    attach = FakeNode.attach

    def slowly(self: FakeNode, spec: AttachSpec) -> str:
        with counting:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        gate.wait(30)
        device = attach(self, spec)
        with counting:
            inside[0] -= 1
        return device

    monkeypatch.setattr(FakeNode, "attach", slowly)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(control.volumes.attach, volume.id, "a") for volume in volumes]
        wait_until(lambda: inside[0] == AT_ONCE, "some begun", timeout=30, clock=SystemClock())
        gate.set()
        assert all(future.result() for future in asked)
    assert most[0] == AT_ONCE
