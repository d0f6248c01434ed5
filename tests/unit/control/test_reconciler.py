"""Reports to the record and back, repairs, and what happens when either end is away."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from replication.clock import SystemClock, wait_until
from replication.control import insync
from replication.control.control import Control, build_control
from replication.control.insync import in_sync
from replication.control.reconciler import Reconciler
from replication.control.store.base import Event
from replication.control.store.memory import MemoryStore
from replication.control.volumes import VolumeRequest
from replication.errors import TrilithError, Unavailable
from replication.model import (
    GIB,
    MIB,
    ArrayReport,
    Attachment,
    CopyMode,
    MemberHealth,
    Node,
    Phase,
    ReplicaSpec,
    ReplicaState,
    Versioned,
    Volume,
)
from tests.fakes.node import FakeCluster, FakeNode

GOOD, LOST, DROPPED = MemberHealth.GOOD, MemberHealth.LOST, MemberHealth.DROPPED
RECOVERED, RECOVERING = MemberHealth.RECOVERED, MemberHealth.RECOVERING


class StoreThatMayBeAway(MemoryStore):
    """Refuses every swap while `away`."""

    away = False

    def swap_volume(self, volume: Volume, expected_version: int, events: tuple[Event, ...] = ()) -> Versioned:
        if self.away:
            raise Unavailable("the store is away")
        return super().swap_volume(volume, expected_version, events)


class Lab:
    """A volume on a, b and c, attached to a."""

    def __init__(self) -> None:
        self.cluster = FakeCluster(["a", "b", "c"])
        self.store = StoreThatMayBeAway()
        self.control: Control = build_control(self.store, self.cluster.connect, SystemClock())
        self.cluster.add_to(self.control)
        self.id = self.control.volumes.create(VolumeRequest("data", GIB, "nvme")).id
        self.control.volumes.attach(self.id, "a")
        self.reconciler = Reconciler(self.control, SystemClock())

    def record(self) -> Volume:
        return self.control.volumes.get(self.id)

    def replica_on(self, node: str) -> str:
        return next(r.id for r in self.record().replicas if r.node == node)

    def state(self, node: str) -> ReplicaState:
        return insync.get_replica(self.record(), self.replica_on(node)).state

    def set(self, node: str, health: MemberHealth, *, covers: bool = False) -> None:
        self.cluster.node("a").set_health(self.id, self.replica_on(node), health, covers)

    def health(self, node: str) -> MemberHealth:
        return self.cluster.node("a").arrays[self.id].members[self.replica_on(node)].health

    def handle(self) -> None:
        self.reconciler.handle("a", self.cluster.node("a").arrays[self.id].report())

    def lose(self, node: str) -> None:
        self.set(node, LOST, covers=True)
        self.handle()


@contextmanager
def running(reconciler: Reconciler) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=reconciler.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        reconciler.wake()
        thread.join(10)


def eventually(condition: Callable[[], bool], what: str) -> None:
    wait_until(condition, what, timeout=10, clock=SystemClock())


def test_a_lost_member_is_recorded_then_dropped() -> None:
    lab = Lab()
    lab.lose("b")
    assert (lab.state("b"), lab.health("b")) == (ReplicaState.STALE, DROPPED)
    assert any(event.kind == "stale" for event in lab.control.events.list(lab.id))


def test_an_event_says_why_a_replica_was_given_up() -> None:
    lab = Lab()
    lab.lose("b")
    lab.handle()
    why = [event.message for event in lab.control.events.list(lab.id) if event.kind == "given-up"]
    assert why == ["data: replica r1 on node b: by the test"]


def test_nothing_is_confirmed_that_is_not_recorded() -> None:
    lab = Lab()
    lab.store.away = True
    lab.set("b", LOST)
    with pytest.raises(Unavailable):
        lab.handle()
    assert lab.health("b") is LOST
    assert "confirm" not in lab.cluster.node("a").calls


def test_a_crash_between_swap_and_confirmation_is_made_good() -> None:
    lab = Lab()
    lab.set("b", LOST)
    lab.control.records.change(lab.id, lambda v: insync.lose(v, 1, {lab.replica_on("b"): True}))
    lab.handle()
    assert lab.health("b") is DROPPED


def test_a_member_that_healed_after_it_was_recorded_is_dropped_all_the_same() -> None:
    lab = Lab()
    lab.control.records.change(lab.id, lambda v: insync.lose(v, 1, {lab.replica_on("b"): True}))
    lab.handle()
    assert lab.health("b") is DROPPED


def test_when_all_are_lost_none_is_dropped() -> None:
    lab = Lab()
    for node in "abc":
        lab.set(node, LOST)
    lab.handle()
    assert len(in_sync(lab.record())) == 3
    assert lab.health("b") is LOST


def test_an_array_that_the_record_gave_up_is_abandoned() -> None:
    lab = Lab()
    report = lab.cluster.node("a").arrays[lab.id].report()
    lab.cluster.node("a").silent = True
    lab.control.volumes.detach(lab.id)
    lab.cluster.node("a").silent = False
    lab.reconciler.handle("a", report)
    eventually(lambda: not lab.cluster.node("a").arrays, "the array is abandoned")


def test_an_array_newer_than_the_record_is_never_abandoned() -> None:
    lab = Lab()
    array = lab.cluster.node("a").arrays[lab.id]
    array.spec = replace(array.spec, epoch=9)
    lab.handle()
    lab.reconciler.run_once()
    events = lab.control.events.list(lab.id)
    eventually(lambda: any("restored" in e.message for e in lab.control.events.list(lab.id)), f"{events}")
    assert lab.cluster.node("a").arrays


def test_a_dropped_replica_comes_back_by_bitmap_with_new_keys() -> None:
    lab = Lab()
    before = [export.consumer for export in lab.cluster.node("b").exports.values()]
    lab.lose("b")
    lab.reconciler.run_once()
    assert (lab.state("b"), lab.health("b")) == (ReplicaState.REBUILDING, RECOVERING)
    assert [export.consumer for export in lab.cluster.node("b").exports.values()] != before
    lab.set("b", RECOVERED)
    lab.handle()
    assert (lab.state("b"), lab.health("b")) == (ReplicaState.IN_SYNC, GOOD)


def test_a_rebuild_grows_what_missed_an_expansion() -> None:
    lab = Lab()
    lab.lose("b")
    lab.cluster.node("b").silent = True
    lab.control.volumes.expand(lab.id, 2 * GIB)
    lab.cluster.node("b").silent = False
    lab.reconciler.run_once()
    assert lab.health("b") is RECOVERING
    assert lab.cluster.node("b").replicas[lab.id, lab.replica_on("b")].size_bytes == 2 * GIB


def test_a_booted_node_with_a_volatile_cache_is_copied_in_full() -> None:
    lab = Lab()
    key = (lab.id, lab.replica_on("b"))
    lab.cluster.node("b").replicas[key] = replace(lab.cluster.node("b").replicas[key], volatile_cache=True)
    lab.set("b", LOST)
    lab.handle()
    lab.cluster.node("b").boot()
    lab.reconciler.run_once()
    assert lab.cluster.node("a").rejoined[-1].copy is CopyMode.FULL


def test_a_rebuild_that_came_to_nothing_begins_again() -> None:
    lab = Lab()
    lab.lose("b")
    replica = lab.replica_on("b")
    lab.control.records.change(
        lab.id, lambda v: insync.start_rebuild(v, replica, CopyMode.BITMAP, "boot-b-1", volatile=False)
    )
    lab.reconciler.run_once()
    lab.reconciler.run_once()
    assert (lab.state("b"), lab.health("b")) == (ReplicaState.REBUILDING, RECOVERING)


def test_a_rebuild_that_cannot_join_waits_for_another_attempt() -> None:
    lab = Lab()
    lab.lose("b")
    lab.cluster.node("a").rejoin = fail_to_rejoin  # type: ignore[method-assign,assignment]
    lab.reconciler.run_once()
    assert lab.state("b") is ReplicaState.STALE
    assert any(event.kind == "rebuild-failed" for event in lab.control.events.list(lab.id))


def fail_to_rejoin(_: object) -> None:
    raise TrilithError("no")


@pytest.mark.parametrize("health", [RECOVERING, RECOVERED])
def test_a_recovery_that_the_record_gave_up_is_dropped_and_begun_anew(health: MemberHealth) -> None:
    """How it is copied is not known any more, and it may be less than it lacks by now."""
    lab = Lab()
    lab.lose("b")
    lab.set("b", health)
    lab.reconciler.run_once()
    assert (lab.state("b"), lab.health("b")) == (ReplicaState.STALE, health)
    lab.handle()
    assert (lab.state("b"), lab.health("b")) == (ReplicaState.STALE, DROPPED)
    lab.reconciler.run_once()
    assert (lab.state("b"), lab.health("b")) == (ReplicaState.REBUILDING, RECOVERING)


def test_a_recovery_reported_late_does_not_end_the_next_one() -> None:
    lab = Lab()
    lab.lose("b")
    lab.reconciler.run_once()
    lab.set("b", RECOVERED)
    late = lab.cluster.node("a").arrays[lab.id].report()
    lab.lose("b")
    lab.reconciler.run_once()
    lab.reconciler.handle("a", late)
    assert lab.state("b") is ReplicaState.REBUILDING
    lab.set("b", RECOVERED)
    lab.handle()
    assert lab.state("b") is ReplicaState.IN_SYNC


def test_a_member_that_a_late_word_took_for_counted_is_rebuilt_all_the_same() -> None:
    lab = Lab()
    lab.lose("b")
    lab.reconciler.run_once()
    lab.set("b", GOOD)
    lab.reconciler.run_once()
    lab.handle()
    assert (lab.state("b"), lab.health("b")) == (ReplicaState.STALE, DROPPED)
    lab.reconciler.run_once()
    assert (lab.state("b"), lab.health("b")) == (ReplicaState.REBUILDING, RECOVERING)


def test_a_replica_with_a_newer_header_is_left_alone_and_told() -> None:
    lab = Lab()
    lab.lose("b")
    lab.cluster.node("b")._raise_epoch((lab.id, lab.replica_on("b")), 9, 9)
    lab.reconciler.run_once()
    assert lab.state("b") is ReplicaState.STALE
    assert any("header has epoch 9" in event.message for event in lab.control.events.list(lab.id))


def test_an_operation_under_way_is_left_to_its_owner() -> None:
    lab = Lab()
    with lab.control.records.lock(lab.id, "detach"):
        lab.control.records.change(lab.id, insync.begin_detach)
        lab.reconciler.run_once()
        assert lab.record().attachment is Attachment.DETACHING
    lab.reconciler.run_once()
    assert lab.record().attachment is Attachment.DETACHED


def test_orphans_are_removed_unless_they_may_hold_data() -> None:
    lab = Lab()
    node = lab.cluster.node("b")
    for volume_id in ("v-never-attached", "v-attached"):
        node.ensure_replica(ReplicaSpec(volume_id, "r0", "vg-b", GIB, 65536))
    node._raise_epoch(("v-attached", "r0"), 3, 3)
    lab.reconciler.run_once()
    assert ("v-never-attached", "r0") not in node.replicas
    assert ("v-attached", "r0") in node.replicas
    assert any("kept" in event.message for event in lab.control.events.list("v-attached"))


def test_a_deletion_goes_on_when_the_node_is_back() -> None:
    lab = Lab()
    lab.control.volumes.detach(lab.id)
    lab.cluster.node("b").silent = True
    with pytest.raises(Unavailable):
        lab.control.volumes.delete(lab.id)
    lab.reconciler.run_once()
    assert lab.record().phase is Phase.DELETING
    lab.cluster.node("b").silent = False
    lab.reconciler.run_once()
    assert lab.control.volumes.list() == ()


def test_it_runs_through_loss_silence_and_return() -> None:
    lab = Lab()
    with running(lab.reconciler):
        lab.cluster.node("b").silent = True
        eventually(lambda: "watch" in lab.cluster.node("a").calls, "a is watched")
        lab.set("b", LOST, covers=True)
        eventually(lambda: lab.health("b") is DROPPED, "b is dropped")
        lab.cluster.node("b").silent = False
        eventually(lambda: lab.health("b") is RECOVERING, "b is recovering")
        lab.set("b", RECOVERED)
        eventually(lambda: lab.health("b") is GOOD, "b is back")
    assert len(in_sync(lab.record())) == 3


def test_writes_wait_while_the_store_is_away_and_go_on_after() -> None:
    lab = Lab()
    with running(lab.reconciler):
        lab.store.away = True
        lab.set("b", LOST)
        SystemClock().sleep(0.5)
        assert lab.health("b") is LOST
        lab.store.away = False
        eventually(lambda: lab.health("b") is not LOST, "b is dropped")


def test_a_stream_that_broke_is_opened_again_and_new_nodes_are_watched() -> None:
    lab = Lab()
    with running(lab.reconciler):
        eventually(lambda: "watch" in lab.cluster.node("a").calls, "a is watched")
        lab.cluster.node("a").silent = True
        SystemClock().sleep(0.1)
        lab.cluster.node("a").silent = False
        lab.set("c", LOST)
        eventually(lambda: lab.health("c") is not LOST, "c is dropped")
        lab.cluster.nodes["d"] = FakeNode(name="d", cluster=lab.cluster)
        lab.control.nodes.add(Node("d", "d:7000", "data-d"))
        eventually(lambda: "watch" in lab.cluster.node("d").calls, "d is watched")


def copying(lab: Lab, done: int) -> ArrayReport:
    """So many MiB of a hundred."""
    return replace(
        lab.cluster.node("a").arrays[lab.id].report(),
        recovery_total_bytes=100 * MIB,
        recovery_done_bytes=done * MIB,
        recovery_bytes_per_second=10 * MIB,
    )


def told(lab: Lab, kind: str) -> list[str]:
    return [event.message for event in lab.control.events.list(lab.id) if event.kind == kind]


def told_after(lab: Lab, report: ArrayReport) -> bool:
    """Whether there is word of the copy, after one more report of it."""
    for listener in lab.cluster.node("a")._listeners:
        listener.queue.put(report)
    return bool(told(lab, "copy"))


def test_events_tell_how_a_copy_goes_on_and_that_it_has_ended() -> None:
    lab = Lab()
    with running(lab.reconciler):
        eventually(lambda: "watch" in lab.cluster.node("a").calls, "a is watched")
        lab.set("b", LOST, covers=True)
        eventually(lambda: lab.health("b") is RECOVERING, "b is recovering")
        eventually(lambda: told_after(lab, copying(lab, 30)), "the copy is told of")
        lab.set("b", RECOVERED)
        eventually(lambda: bool(told(lab, "copied")), "its end is told")
    assert told(lab, "copy") == ["replica r1: 30 %, 30 of 100 MiB, 10 MiB/s, 7 s left"]
    assert [words.partition(" in ")[0] for words in told(lab, "copied")] == ["replica r1: 100 MiB"]


def test_a_copy_is_told_by_the_process_that_repairs_only() -> None:
    lab = Lab()
    lab.lose("b")
    lab.reconciler.run_once()
    lab.reconciler._report("a", copying(lab, 30))
    assert told(lab, "copy") == []
