"""Reports that say what is recorded already cost no reading of the record; all others do."""

from dataclasses import replace

import pytest

from replication.clock import SystemClock
from replication.control import insync
from replication.control.control import build_control
from replication.control.reconciler import Reconciler
from replication.control.store.memory import MemoryStore
from replication.control.volumes import VolumeRequest
from replication.model import GIB, ArrayReport, MemberHealth, ReplicaState, Versioned
from tests.fakes.node import FakeCluster

LOST, RECOVERED, RECOVERING = MemberHealth.LOST, MemberHealth.RECOVERED, MemberHealth.RECOVERING


class StoreThatKnows(MemoryStore):
    """As a controller has it that watches: what it knows is `known`, and it counts what it reads."""

    known: Versioned | None = None
    reads = 0

    def recall_volume(self, volume_id: str) -> Versioned | None:
        return self.known if self.known and self.known.volume.id == volume_id else None

    def get_volume(self, volume_id: str) -> Versioned:
        self.reads += 1
        return super().get_volume(volume_id)


class Lab:
    """A volume on a, b and c, attached to a."""

    def __init__(self) -> None:
        self.cluster, self.store = FakeCluster(["a", "b", "c"]), StoreThatKnows()
        self.control = build_control(self.store, self.cluster.connect, SystemClock())
        self.cluster.add_to(self.control)
        self.id = self.control.volumes.create(VolumeRequest("data", GIB, "nvme")).id
        self.control.volumes.attach(self.id, "a")
        self.reconciler = Reconciler(self.control, SystemClock())
        self.store.known = self.store.get_volume(self.id)

    def report(self) -> ArrayReport:
        return replace(self.cluster.node("a").arrays[self.id].report(), resync_done=True)

    def count_reads(self, report: ArrayReport) -> int:
        before = self.store.reads
        self.reconciler.handle("a", report)
        return self.store.reads - before


def test_that_all_is_well_and_known_is_not_looked_up() -> None:
    lab = Lab()
    assert lab.report().record_version > 0
    assert lab.count_reads(lab.report()) == 0


@pytest.mark.parametrize("health", [LOST, RECOVERED, RECOVERING])
def test_of_an_array_in_trouble_the_record_is_read(health: MemberHealth) -> None:
    """The loss is recorded, by somebody whose change is not known here yet: the word must be given."""
    lab = Lab()
    lab.control.records.change(lab.id, lambda v: insync.lose(v, v.epoch, {"r1": True}))
    lab.cluster.node("a").set_health(lab.id, "r1", health)
    assert lab.count_reads(lab.report()) > 0
    assert lab.cluster.node("a").calls.count("confirm") == 1


def test_an_agent_that_knows_no_word_or_a_newer_one_is_answered_from_the_record() -> None:
    """It was restarted, and may have forgotten what it told; or the watch is behind."""
    lab = Lab()
    assert lab.count_reads(replace(lab.report(), record_version=0)) > 0
    assert lab.store.known is not None
    lab.control.records.change(lab.id, lambda v: replace(v, created=1.0))
    assert lab.count_reads(replace(lab.report(), record_version=lab.store.known.version + 1)) > 0


def test_who_has_nothing_to_report_of_it_by_what_is_known_is_heard_out() -> None:
    """Known is a record from before the attachment to this node."""
    lab = Lab()
    assert lab.store.known is not None
    lab.store.known = replace(lab.store.known, volume=replace(lab.store.known.volume, consumer="b"))
    assert lab.count_reads(lab.report()) > 0


def test_what_is_known_and_wants_a_change_is_changed() -> None:
    lab = Lab()
    lab.cluster.node("a").set_health(lab.id, "r2", LOST)
    lab.reconciler.handle("a", lab.report())
    assert insync.get_replica(lab.control.volumes.get(lab.id), "r2").state is ReplicaState.STALE


def test_what_nobody_has_heard_of_an_array_is_recorded_before_it_ends() -> None:
    """Else r1, which has it all, would count as stale, and r2, which does not, as in sync."""
    lab = Lab()
    lab.cluster.node("a").set_health(lab.id, "r1", LOST)
    lab.reconciler.handle("a", lab.report())
    lab.reconciler.run_once()
    lab.cluster.node("a").set_health(lab.id, "r1", RECOVERED)
    lab.cluster.node("a").set_health(lab.id, "r2", LOST)
    lab.control.volumes.detach(lab.id)
    states = {r.id: r.state for r in lab.control.volumes.get(lab.id).replicas}
    assert states == {"r0": ReplicaState.IN_SYNC, "r1": ReplicaState.IN_SYNC, "r2": ReplicaState.STALE}
