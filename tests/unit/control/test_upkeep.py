"""Volumes that nobody uses are brought back to health, and given away at once to whoever wants them."""

from dataclasses import replace

import pytest

from replication.control.control import Control, build_control
from replication.control.insync import in_sync
from replication.control.lifecycle import VolumeRequest
from replication.control.reconciler import Reconciler
from replication.control.replacement import Absence
from replication.control.settings import Settings
from replication.control.store.memory import MemoryStore
from replication.control.upkeep import QUIET_SECONDS, Sight, choose_consumer, has_work
from replication.errors import Unavailable
from replication.model import GIB, Attachment, MemberHealth, NodeFacts, Phase, Pool, Volume, VolumeGroup
from tests.fakes.clock import HandClock
from tests.fakes.node import FakeCluster
from tests.unit.control.records import detached, facts, header, volume


class Lab:
    """A volume on a, b and c, detached, whose replica on c was lost while it was in use."""

    def __init__(self) -> None:
        self.cluster = FakeCluster(["a", "b", "c", "d"])
        self.clock = HandClock()
        self.control: Control = build_control(MemoryStore(), self.cluster.connect, self.clock)
        self.cluster.add_to(self.control)
        request = VolumeRequest("data", GIB, "nvme", preferred_nodes=("a", "b", "c"))
        self.id = self.control.volumes.create(request).id
        self.control.volumes.attach(self.id, "a")
        self.reconciler = Reconciler(self.control, self.clock)
        self.set("a", "c", MemberHealth.LOST)
        self.control.volumes.detach(self.id)

    def record(self) -> Volume:
        return self.control.volumes.get(self.id)

    def set(self, consumer: str, node: str, health: MemberHealth) -> None:
        replica = next(r.id for r in self.record().replicas if r.node == node)
        self.cluster.node(consumer).set_health(self.id, replica, health)
        self.reconciler.handle(consumer, self.cluster.node(consumer).arrays[self.id].report())

    def wait(self, seconds: float = QUIET_SECONDS) -> None:
        self.reconciler.run_once()
        self.clock.sleep(seconds)
        self.reconciler.run_once()
        self.reconciler.run_once()

    def state(self, node: str) -> str:
        return next(r.state.value for r in self.record().replicas if r.node == node)


def test_a_volume_that_nobody_uses_is_repaired_and_let_go() -> None:
    lab = Lab()
    lab.wait()
    record = lab.record()
    assert (record.attachment, record.upkeep, record.readonly) == (Attachment.ATTACHED, True, True)
    assert lab.state("c") == "rebuilding"
    lab.set(str(record.consumer), "c", MemberHealth.RECOVERED)
    lab.reconciler.run_once()
    record = lab.record()
    assert (record.attachment, record.upkeep, len(in_sync(record))) == (Attachment.DETACHED, False, 3)
    assert not any(node.arrays for node in lab.cluster.nodes.values())


def test_it_is_left_alone_for_a_while_and_while_there_is_nothing_to_do() -> None:
    lab = Lab()
    lab.wait(QUIET_SECONDS - 1)
    assert lab.record().attachment is Attachment.DETACHED
    lab.cluster.node("c").silent = True
    lab.wait()
    assert lab.record().attachment is Attachment.DETACHED


@pytest.mark.parametrize("node", ["a", "b", "d"])
def test_a_user_takes_precedence_and_the_copy_goes_on_there(node: str) -> None:
    lab = Lab()
    lab.wait()
    lab.control.volumes.attach(lab.id, node)
    record = lab.record()
    assert (record.consumer, record.upkeep, record.readonly) == (node, False, False)
    assert [name for name, each in lab.cluster.nodes.items() if each.arrays] == [node]
    lab.reconciler.run_once()
    assert lab.state("c") == "rebuilding"


def test_a_user_who_detaches_or_deletes_does_not_see_it() -> None:
    lab = Lab()
    lab.wait()
    lab.control.volumes.detach(lab.id)
    assert lab.record().upkeep
    lab.control.volumes.delete(lab.id)
    assert lab.control.volumes.list() == ()


def test_it_ends_when_its_node_dies_and_begins_elsewhere() -> None:
    lab = Lab()
    lab.wait()
    first = str(lab.record().consumer)
    lab.cluster.node(first).silent = True
    lab.wait()
    lab.wait()
    record = lab.record()
    assert (record.upkeep, record.consumer not in {None, first}) == (True, True)
    assert lab.state("c") == "rebuilding"


def test_a_replica_in_sync_that_is_gone_for_too_long_is_found_out_and_replaced() -> None:
    lab = Lab()
    lab.wait()
    lab.set(str(lab.record().consumer), "c", MemberHealth.RECOVERED)
    lab.reconciler.run_once()
    lab.cluster.node("b").silent = True
    lab.control.store.put_settings(Settings(replacement_delay=100.0))
    lab.wait(99.0)
    assert (lab.record().attachment, lab.state("b")) == (Attachment.DETACHED, "in_sync")
    lab.wait(100.0)
    lab.wait()
    assert (lab.state("b"), lab.state("d")) == ("stale", "rebuilding")


def test_an_expansion_that_waits_for_a_replica_that_is_gone_for_good_ends_once_that_is_given_up() -> None:
    lab = Lab()
    lab.wait()
    lab.set(str(lab.record().consumer), "c", MemberHealth.RECOVERED)
    lab.reconciler.run_once()
    lab.control.store.put_settings(Settings(replacement_delay=100.0))
    del lab.cluster.node("b").replicas[lab.id, "r1"]
    with pytest.raises(Unavailable, match="cannot grow"):
        lab.control.volumes.expand(lab.id, 2 * GIB)
    lab.wait(99.0)
    assert (lab.record().phase, lab.state("b")) == (Phase.EXPANDING, "in_sync")
    lab.wait(100.0)
    lab.wait()
    record = lab.record()
    assert (record.phase, record.size_bytes, lab.state("b")) == (Phase.READY, 2 * GIB, "stale")


POOL = Pool("nvme", ("a", "b", "c"), 3)
HERE = {node: facts(node, header(f"r{n}", node)) for n, node in enumerate("abc")}


@pytest.mark.parametrize(
    ("record", "found", "work"),
    [
        (detached("iii"), HERE, False),
        (detached("iis"), HERE, True),
        (detached("iis"), {n: f for n, f in HERE.items() if n != "c"}, False),
        (detached("iis"), HERE | {"c": facts("c", header("r2", "c", epoch=9))}, False),
        (volume("iir", upkeep=True), {}, True),
        (detached("iis", phase=Phase.EXPANDING), HERE, True),
        (detached("iis", phase=Phase.DELETING), HERE, False),
        (detached("iiii", replica_count=3, resync_source="r0"), HERE, True),
        (detached("iiii", replica_count=3), HERE, False),
    ],
)
def test_when_there_is_work(record: Volume, found: dict[str, NodeFacts], work: bool) -> None:
    assert has_work(record, POOL, Sight(found, found, {}, ())) is work


def test_who_is_gone_for_good_is_work_only_if_somebody_is_left_or_comes() -> None:
    assert has_work(detached("iii"), POOL, Sight(HERE, HERE, {"r1": Absence.SILENT}, {"r1"}))
    assert not has_work(detached("iii"), POOL, Sight(HERE, HERE, {}, {"r0", "r1", "r2"}))
    assert has_work(detached("iis"), POOL, Sight(HERE, HERE, {"r2": Absence.MISSING}, ()))
    lost = {"a": HERE["a"], "b": HERE["b"]}
    assert not has_work(detached("iis"), POOL, Sight(lost, lost, {"r2": Absence.SILENT}, {"r2"}))
    roomy = facts("d", volume_groups=(VolumeGroup("vg-d", "nvme", "/dev/sda", 9 * GIB, 9 * GIB),))
    wider = replace(POOL, nodes=("a", "b", "c", "d"))
    assert has_work(
        detached("iis"),
        wider,
        Sight(lost | {"d": roomy}, lost | {"d": roomy}, {"r2": Absence.SILENT}, {"r2"}),
    )


def test_it_is_attached_where_a_good_copy_is_and_the_least_is_copied() -> None:
    busy = replace(volume("ir"), id="v9")
    assert choose_consumer(detached("iis"), [], HERE, 2) == "a"
    assert choose_consumer(detached("iis"), [busy], HERE, 1) is None
    assert choose_consumer(detached("isi"), [busy], HERE, 1) == "c"
    assert choose_consumer(detached("iss"), [], {}, 2) is None


def test_it_is_attached_to_a_suspect_replica_only_where_nobody_has_more() -> None:
    suspect = HERE | {"a": facts("a", header("r0", "a", suspect=True))}
    assert choose_consumer(detached("iss"), [], suspect, 2) == "a"
    assert choose_consumer(detached("iis"), [], suspect, 2) == "b"
    silent = {"a": suspect["a"], "c": HERE["c"]}
    assert choose_consumer(detached("iis"), [], silent, 2) is None
