"""Attempts to bring a replica back whose caller is gone before they end: seen to their end, not begun anew.

A second attempt exports the replica anew, and ends the export that the array has just connected to: the
replica would come into sync and be lost again at once.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from replication.clock import SystemClock
from replication.control.control import build_control
from replication.control.insync import get_replica
from replication.control.lifecycle import VolumeRequest
from replication.control.reconciler import Reconciler
from replication.control.store.memory import MemoryStore
from replication.errors import FailedPrecondition, Unavailable
from replication.model import (
    GIB,
    ArrayReport,
    Confirmation,
    CopyMode,
    MemberHealth,
    Prepared,
    PrepareSpec,
    RejoinSpec,
    ReplicaState,
)
from replication.tuning import Tuning
from tests.fakes.node import FakeCluster, FakeNode


@dataclass(kw_only=True)
class SlowConsumer(FakeNode):
    """Whoever changes an array waits for the change that is under way; the caller of that may have gone."""

    is_slow: bool = True
    under_way: list[Callable[[], None]] = field(default_factory=list)

    def rejoin(self, spec: RejoinSpec) -> None:
        if not self.is_slow:
            super().rejoin(spec)
            return
        self.under_way.append(lambda: super(SlowConsumer, self).rejoin(spec))
        raise Unavailable("no answer in time")

    def tune(self, volume_id: str, epoch: int, tuning: Tuning) -> None:
        for act in self.under_way:
            act()
        self.under_way.clear()
        super().tune(volume_id, epoch, tuning)


class Lab:
    """A volume on a, b and c, attached to a, that has lost b; b can be reached again."""

    def __init__(self) -> None:
        self.cluster = FakeCluster(["a", "b", "c"])
        self.consumer = SlowConsumer(name="a", cluster=self.cluster)
        self.cluster.nodes["a"] = self.consumer
        self.control = build_control(MemoryStore(), self.cluster.connect, SystemClock())
        self.cluster.add_to(self.control)
        self.id = self.control.volumes.create(VolumeRequest("data", GIB, "nvme")).id
        self.control.volumes.attach(self.id, "a")
        self.reconciler = Reconciler(self.control, SystemClock())
        self.set(MemberHealth.LOST)

    @property
    def replica(self) -> str:
        record = self.control.volumes.get(self.id)
        return next(r.id for r in record.replicas if r.node == "b")

    @property
    def state(self) -> ReplicaState:
        return get_replica(self.control.volumes.get(self.id), self.replica).state

    @property
    def export(self) -> str:
        return str(self.cluster.node("b").exports[self.id, self.replica].consumer)

    @property
    def health(self) -> MemberHealth:
        return self.consumer.arrays[self.id].members[self.replica].health

    def set(self, health: MemberHealth) -> None:
        self.consumer.set_health(self.id, self.replica, health, covers=True)
        self.reconciler.handle("a", self.consumer.arrays[self.id].report())


def test_a_rejoin_that_is_under_way_is_waited_for() -> None:
    lab = Lab()
    lab.reconciler.run_once()
    connected = lab.export
    lab.reconciler.run_once()
    assert (lab.state, lab.health) == (ReplicaState.REBUILDING, MemberHealth.RECOVERING)
    assert lab.export == connected
    lab.set(MemberHealth.RECOVERED)
    lab.reconciler.run_once()
    assert (lab.state, lab.export) == (ReplicaState.IN_SYNC, connected)


def test_one_that_failed_after_all_is_begun_anew() -> None:
    lab = Lab()
    lab.reconciler.run_once()

    lab.consumer.under_way.clear()
    lab.consumer.is_slow = False
    lab.reconciler.run_once()
    assert lab.state is ReplicaState.STALE
    lab.reconciler.run_once()
    assert (lab.state, lab.health) == (ReplicaState.REBUILDING, MemberHealth.RECOVERING)


def test_the_records_word_says_by_which_attempt_a_replica_returns() -> None:
    """One that came late by an attempt before is not that, and is dropped (agent/release.py)."""
    lab, words = Lab(), list[Confirmation]()
    lab.consumer.is_slow = False

    def hear(word: Confirmation) -> ArrayReport:
        words.append(word)
        return FakeNode.confirm(lab.consumer, word)

    lab.consumer.confirm = hear  # type: ignore[method-assign,assignment]
    lab.reconciler.run_once()
    rebuilt = get_replica(lab.control.volumes.get(lab.id), lab.replica)
    other = next(r.id for r in lab.control.volumes.get(lab.id).replicas if r.node == "c")
    lab.consumer.set_health(lab.id, other, MemberHealth.LOST, covers=True)
    lab.reconciler.handle("a", lab.consumer.arrays[lab.id].report())
    assert [(word.rebuilding, word.attempts) for word in words] == [((rebuilt.id,), (rebuilt.as_of,))]
    assert rebuilt.as_of > 0


def test_a_member_by_another_attempt_is_not_recorded_as_one_by_this() -> None:
    """That one's copy may mark less than this one's."""
    lab = Lab()
    lab.consumer.is_slow = False
    refused = FailedPrecondition("it is a member by another attempt already")

    def refuse(_: RejoinSpec) -> None:
        raise refused

    lab.consumer.rejoin = refuse  # type: ignore[method-assign,assignment]
    lab.reconciler.run_once()
    assert lab.state is ReplicaState.STALE
    assert str(refused) in {event.message for event in lab.control.events.list(lab.id)}


def test_a_replica_that_says_only_now_that_its_disk_refused_a_write_is_copied_in_full() -> None:
    """Else its header goes on saying so of a replica that lacks nothing."""
    lab = Lab()
    lab.consumer.is_slow = False
    node, copies = lab.cluster.node("b"), list[bool]()

    def prepare(spec: PrepareSpec) -> Prepared:
        node.suspect.add((lab.id, lab.replica))
        copies.append(spec.full_copy)
        return FakeNode.prepare_replica(node, spec)

    node.prepare_replica = prepare  # type: ignore[method-assign]
    for _ in range(2):
        lab.reconciler.run_once()
    assert copies == [False, True]
    assert [spec.copy for spec in lab.consumer.rejoined] == [CopyMode.FULL]
