"""Replicas replaced by the reconciler, on nodes that are fakes."""

import threading
from dataclasses import replace

import pytest

from replication.clock import SystemClock
from replication.control.control import Control, build_control
from replication.control.insync import in_sync
from replication.control.lifecycle import VolumeRequest
from replication.control.reconciler import Reconciler
from replication.control.settings import Settings
from replication.control.store.memory import MemoryStore
from replication.errors import OutOfSpace, Unavailable
from replication.model import GIB, CopyMode, MemberHealth, PrepareSpec, ReplicaState, Volume
from replication.tuning import Tuning
from tests.fakes.node import FakeCluster


class Lab:
    """Volumes on some of a, b, c and d, attached to the node of their first replica."""

    def __init__(self, delay: float = 0.0, nodes: str = "abcd", count: int = 1) -> None:
        self.cluster = FakeCluster(list(nodes))
        self.control: Control = build_control(MemoryStore(), self.cluster.connect, SystemClock())
        self.cluster.add_to(self.control)
        self.control.store.put_settings(Settings(replacement_delay=delay))
        self.ids = [self._make(f"data{number}") for number in range(count)]
        self.id = self.ids[0]
        self.reconciler = Reconciler(self.control, SystemClock())

    def _make(self, name: str) -> str:
        request = VolumeRequest(name, GIB, "nvme", preferred_nodes=("a", "b", "c"))
        made = self.control.volumes.create(request)
        self.control.volumes.attach(made.id, "a")
        return made.id

    def record(self, volume_id: str = "") -> Volume:
        return self.control.volumes.get(volume_id or self.id)

    def states(self) -> dict[str, str]:
        return {r.node: r.state.value for r in self.record().replicas}

    def on(self, node: str, volume_id: str = "") -> str:
        return next(r.id for r in self.record(volume_id).replicas if r.node == node)

    def lose(self, node: str, volume_id: str = "") -> None:
        volume_id = volume_id or self.id
        array = self.cluster.node("a").arrays[volume_id]
        self.cluster.node("a").set_health(volume_id, self.on(node, volume_id), MemberHealth.LOST, covers=True)
        self.reconciler.handle("a", array.report())

    def finish(self, node: str) -> None:
        """The copy to the replica there ends."""
        array = self.cluster.node("a").arrays[self.id]
        assert array.members[self.on(node)].health is MemberHealth.RECOVERING
        self.cluster.node("a").set_health(self.id, self.on(node), MemberHealth.RECOVERED)
        self.reconciler.handle("a", array.report())

    def repair(self, passes: int = 3) -> None:
        for _ in range(passes):
            self.reconciler.run_once()

    def events(self, kind: str) -> list[str]:
        return [e.message for e in self.control.events.list(self.id) if e.kind == kind]


def test_a_replica_that_is_away_for_too_long_is_replaced_elsewhere() -> None:
    lab = Lab()
    lab.cluster.node("c").silent = True
    lab.lose("c")
    lab.repair()
    assert lab.states() == {"a": "in_sync", "b": "in_sync", "c": "stale", "d": "rebuilding"}
    assert lab.cluster.node("a").rejoined[-1].copy is CopyMode.FULL
    lab.finish("d")
    assert len(in_sync(lab.record())) == 3
    assert lab.events("replaced")


def test_a_rebuild_that_is_just_being_tried_is_waited_for() -> None:
    lab = Lab()
    lab.cluster.node("c").silent = True
    lab.lose("c")
    held, done = threading.Event(), threading.Event()

    def try_in_vain() -> None:
        with lab.control.records.lock(lab.id, "rebuild", timeout=0.0):
            held.set()
            done.wait(0.3)

    rebuild = threading.Thread(target=try_in_vain)
    rebuild.start()
    assert held.wait(5)
    lab.repair(1)
    rebuild.join()
    assert lab.states()["d"] in {"stale", "rebuilding"}


def test_what_is_left_of_the_old_one_is_removed_when_its_node_is_back() -> None:
    lab = Lab()
    lab.cluster.node("c").silent = True
    lab.lose("c")
    lab.repair()
    lab.finish("d")
    lab.repair()
    assert lab.states()["c"] == "stale"
    assert lab.cluster.node("c").replicas
    lab.cluster.node("c").silent = False
    lab.repair()
    assert "c" not in lab.states()
    assert not lab.cluster.node("c").replicas


def test_a_removal_that_slept_while_the_replica_came_back_removes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its controller stands still longer than its lock is valid, and another one goes on without it."""
    lab = Lab()
    old = lab.cluster.node("c")
    old.silent = True
    lab.lose("c")
    lab.repair()
    lab.finish("d")
    old.silent = False
    remove, lost = old.remove_replica, lab.on("c")

    def remove_late(volume_id: str, replica_id: str, known_version: int | None = None) -> None:
        record = lab.control.records.change(volume_id, lambda v: replace(v, next_replica=9))
        old.prepare_replica(PrepareSpec(volume_id, replica_id, record.volume.epoch, record.version, None))
        remove(volume_id, replica_id, known_version)

    monkeypatch.setattr(old, "remove_replica", remove_late)
    lab.repair(1)
    assert (lab.id, lost) in old.replicas
    assert lab.on("c") == lost
    monkeypatch.undo()
    lab.repair()
    assert "c" not in lab.states()
    assert not old.replicas


def test_nobody_is_replaced_before_the_delay() -> None:
    lab = Lab(delay=600.0)
    lab.cluster.node("c").silent = True
    lab.lose("c")
    lab.repair()
    assert "d" not in lab.states()


def test_one_that_returns_during_the_copy_is_no_longer_needed_when_that_ends() -> None:
    lab = Lab()
    lab.cluster.node("c").silent = True
    lab.lose("c")
    lab.repair()
    lab.cluster.node("c").silent = False
    lab.repair()
    assert lab.states()["c"] == "stale"
    lab.finish("d")
    lab.repair()
    assert lab.states() == {"a": "in_sync", "b": "in_sync", "d": "in_sync"}


def test_a_pool_without_another_node_says_so_once() -> None:
    lab = Lab(nodes="abc")
    lab.cluster.node("c").silent = True
    lab.lose("c")
    lab.repair()
    assert lab.states() == {"a": "in_sync", "b": "in_sync", "c": "stale"}
    assert len(lab.events("replace-failed")) == 1


def test_a_replica_that_vanished_from_its_disk_is_made_anew_there() -> None:
    lab = Lab(delay=600.0)
    lab.lose("c")
    key = (lab.id, lab.on("c"))
    del lab.cluster.node("c").replicas[key]
    lab.repair()
    assert lab.states()["c"] == "rebuilding"
    assert lab.cluster.node("a").rejoined[-1].copy is CopyMode.FULL


def test_a_new_replica_that_finds_no_room_is_taken_back() -> None:
    lab = Lab()
    lab.cluster.node("c").silent = True
    lab.lose("c")
    lab.cluster.node("d").ensure_replica = no_room  # type: ignore[method-assign,assignment]
    lab.repair()
    assert lab.states() == {"a": "in_sync", "b": "in_sync", "c": "stale"}


def no_room(_: object) -> None:
    raise OutOfSpace("the disk is full")


def test_a_new_replica_whose_node_fell_silent_is_made_later() -> None:
    lab = Lab()
    lab.cluster.node("c").silent = True
    lab.lose("c")
    ensure = lab.cluster.node("d").ensure_replica
    lab.cluster.node("d").ensure_replica = silent  # type: ignore[method-assign,assignment]
    lab.reconciler.run_once()
    assert lab.states()["d"] == "stale"
    lab.cluster.node("d").ensure_replica = ensure  # type: ignore[method-assign]
    lab.control.store.put_settings(Settings(replacement_delay=600.0))
    fresh = Reconciler(lab.control, SystemClock())
    fresh.run_once()
    fresh.run_once()
    assert lab.states()["d"] == "rebuilding"


def silent(_: object) -> None:
    raise Unavailable("no answer")


@pytest.mark.parametrize(("limit", "copies"), [(1, 1), (2, 2), (9, 3)])
def test_a_node_copies_only_so_much_at_once(limit: int, copies: int) -> None:
    lab = Lab(count=3)
    lab.control.store.put_settings(Settings("nvme", replacement_delay=600.0, rebuilds_per_node=limit))
    for volume_id in lab.ids:
        lab.lose("b", volume_id)
    lab.repair()
    states = [r.state for volume_id in lab.ids for r in lab.record(volume_id).replicas]
    assert states.count(ReplicaState.REBUILDING) == copies


def test_settings_reach_arrays_that_run_and_agents_that_forgot() -> None:
    lab = Lab()
    lab.control.store.put_settings(Settings("nvme", rebuild_bandwidth=7 << 20, write_latency_bound=0.0))
    for _ in range(2):
        lab.cluster.node("a").arrays[lab.id].tuning = None
        lab.repair(1)
        tuning = lab.cluster.node("a").arrays[lab.id].tuning
        assert tuning == Tuning(3, 7 << 20, 0.0)
    calls = lab.cluster.node("a").calls.count("tune")
    lab.repair(2)
    assert lab.cluster.node("a").calls.count("tune") == calls


def test_an_empty_disk_is_filled_again_when_no_other_has_room_however_late_it_came() -> None:
    lab = Lab(delay=0.0, nodes="abc")
    key = (lab.id, lab.on("c"))
    lab.lose("c")
    lab.cluster.node("c").silent = True
    lab.repair()
    lab.cluster.node("c").boot()
    lab.cluster.node("c").replicas.clear()
    lab.repair()
    assert lab.states()["c"] == "rebuilding"
    assert key in lab.cluster.node("c").replicas


def test_nobody_is_retired_while_others_may_lack_what_their_disks_refused() -> None:
    lab = Lab()
    lab.control.emptying.cordon("c", draining=True)
    lab.repair()
    lab.finish("d")
    keys = {node: (lab.id, lab.on(node)) for node in "abd"}
    for node, key in keys.items():
        lab.cluster.node(node).suspect.add(key)
    lab.repair()
    assert lab.states()["c"] == "in_sync"
    lab.cluster.node("b").suspect.clear()
    lab.cluster.node("a").silent = True
    lab.repair()
    assert lab.states()["c"] == "in_sync"
    lab.cluster.node("a").silent = False
    lab.repair()
    assert lab.states().get("c") != "in_sync"
