"""A consumer that lost power comes back: its volumes are attached to it again, and to nobody else."""

from dataclasses import dataclass, replace

import pytest

from replication.clock import SystemClock
from replication.control.control import build_control
from replication.control.lifecycle import has_booted
from replication.control.reconciler import Reconciler
from replication.control.repair import Plan
from replication.control.returning import PATIENCE, Returns
from replication.control.settings import Settings
from replication.control.store.memory import MemoryStore
from replication.control.survey import take_survey
from replication.control.volumes import VolumeRequest
from replication.errors import Conflict, FailedPrecondition
from replication.model import GIB, Attachment, NodeFacts
from tests.fakes.node import FakeCluster, FakeNode
from tests.unit.control.records import volume
from tests.unit.control.test_volumes import make


@pytest.mark.parametrize(
    ("attachment", "boot", "now", "booted"),
    [
        (Attachment.ATTACHED, "1", "2", True),
        (Attachment.ATTACHED, "1", "1", False),
        (Attachment.ATTACHED, "", "2", False),
        (Attachment.DETACHING, "1", "2", False),
        (Attachment.ATTACHING, "1", "2", False),
    ],
)
def test_who_has_booted(attachment: Attachment, boot: str, now: str, booted: bool) -> None:
    assert has_booted(volume(attachment=attachment, consumer_boot=boot), now) is booted


@pytest.mark.parametrize("readonly", [False, True])
@pytest.mark.parametrize("count", [1, 3])
def test_a_volume_is_attached_again_after_its_consumer_has_booted(readonly: bool, count: int) -> None:
    cluster, control = make(["a", "b", "c", "d"], replica_count=count)
    reconciler = Reconciler(control, SystemClock())
    made = control.volumes.create(VolumeRequest("data", GIB, "nvme", preferred_nodes=("a", "b", "c")))
    control.volumes.attach(made.id, "d", readonly=readonly)
    reconciler.run_once()
    assert control.volumes.get(made.id).epoch == 1
    cluster.node("d").boot()
    for _ in range(2):
        reconciler.run_once()
    record, array = control.volumes.get(made.id), cluster.node("d").arrays[made.id]
    assert (record.attachment, record.consumer, record.epoch) == (Attachment.ATTACHED, "d", 2)
    assert (array.spec.epoch, array.spec.readonly) == (2, readonly)
    assert not has_booted(record, cluster.node("d").boot_id)


@pytest.mark.parametrize("known", [True, False], ids=["its boot is known", "its boot is not known"])
def test_a_volume_is_attached_again_when_its_array_is_gone_without_a_boot(known: bool) -> None:
    cluster, control = make(["a", "b", "c", "d"])
    made = control.volumes.create(VolumeRequest("data", GIB, "nvme", preferred_nodes=("a", "b", "c")))
    control.volumes.attach(made.id, "d")
    boot = cluster.node("d").boot_id if known else ""
    control.records.change(made.id, lambda v: replace(v, consumer_boot=boot))
    cluster.node("d").detach(made.id, 1)
    Reconciler(control, SystemClock()).run_once()
    record, array = control.volumes.get(made.id), cluster.node("d").arrays[made.id]
    assert (record.attachment, record.epoch, array.spec.epoch) == (Attachment.ATTACHED, 2, 2)
    assert array.spec.resync


@dataclass(kw_only=True)
class BlindNode(FakeNode):
    """Its agent cannot look at its arrays, and so reports none."""

    def describe(self, only: str | None = None) -> NodeFacts:
        return replace(super().describe(only), arrays=())


def test_an_array_that_is_in_use_and_only_not_reported_is_left_alone() -> None:
    cluster = FakeCluster(["a", "b", "c"])
    cluster.nodes["a"] = BlindNode(name="a", cluster=cluster)
    control = build_control(MemoryStore(), cluster.connect, SystemClock())
    cluster.add_to(control)
    made = control.volumes.create(VolumeRequest("data", GIB, "nvme"))
    control.volumes.attach(made.id, "a")
    cluster.node("a").arrays[made.id].in_use = True
    with pytest.raises(FailedPrecondition, match="in use"):
        control.volumes.reattach(made.id)
    Reconciler(control, SystemClock()).run_once()
    assert cluster.node("a").arrays[made.id].spec.epoch == control.volumes.get(made.id).epoch == 1


def test_replicas_that_may_hold_more_are_waited_for_but_not_for_ever() -> None:
    cluster, control = make()
    made = control.volumes.create(VolumeRequest("data", GIB, "nvme"))
    control.volumes.attach(made.id, "a")
    cluster.node("a").boot()
    returns = Returns(control.volumes)

    def plan(time: float, *, silent: bool) -> list[tuple[str, ...]]:
        cluster.node("b").silent = silent
        return list(
            returns.plan(replace(take_survey(control.store, control.executor, SystemClock()), time=time))
        )

    assert plan(100.0, silent=True) == []
    assert plan(100.0 + PATIENCE - 1, silent=True) == []
    assert plan(100.0 + PATIENCE - 1, silent=False) == [("reattach", made.id)]
    assert plan(100.0 + PATIENCE, silent=True) == [("reattach", made.id)]
    control.volumes.reattach(made.id)
    assert plan(300.0, silent=False) == []


def test_what_nobody_could_start_is_attached_again_when_somebody_can() -> None:
    """A try in vain would end the attachment, and nobody would make another."""
    cluster, control = make(["a", "b", "c", "d"])
    made = control.volumes.create(VolumeRequest("data", GIB, "nvme", preferred_nodes=("a", "b", "c")))
    control.volumes.attach(made.id, "d")
    cluster.node("d").boot()
    returns = Returns(control.volumes)

    def plan(time: float) -> Plan:
        found = take_survey(control.store, control.executor, SystemClock())
        return returns.plan(replace(found, time=time))

    for name in "abc":
        cluster.node(name).silent = True
    for time in (100.0, 100.0 + PATIENCE, 100.0 + 2 * PATIENCE):
        assert not plan(time)
    cluster.node("b").silent = False
    for task in plan(100.0 + 3 * PATIENCE).values():
        task()
    assert control.volumes.get(made.id).epoch == 2
    assert made.id in cluster.node("d").arrays


def test_fewer_than_the_minimum_are_enough_when_the_others_are_to_be_replaced() -> None:
    cluster, control = make(["a", "b", "c", "d"])
    control.store.put_settings(Settings("nvme", min_in_sync_replicas=2, replacement_delay=600.0))
    made = control.volumes.create(VolumeRequest("data", GIB, "nvme", preferred_nodes=("a", "b", "c")))
    control.volumes.attach(made.id, "d")
    cluster.node("d").boot()
    for name in "bc":
        cluster.node(name).silent = True
    returns = Returns(control.volumes)
    found = take_survey(control.store, control.executor, SystemClock())
    times = (100.0, 100.0 + PATIENCE, 699.0, 700.0)
    assert [bool(returns.plan(replace(found, time=time))) for time in times] == [False, False, False, True]


def test_an_operation_under_way_goes_first() -> None:
    cluster, control = make()
    made = control.volumes.create(VolumeRequest("data", GIB, "nvme"))
    control.volumes.attach(made.id, "a")
    cluster.node("a").boot()
    with control.records.lock(made.id, "detach"), pytest.raises(Conflict, match="detach"):
        control.volumes.reattach(made.id)
    control.volumes.detach(made.id)
    control.volumes.reattach(made.id)
    assert control.volumes.get(made.id).attachment is Attachment.DETACHED


def test_a_volume_is_deleted_though_the_consumer_that_was_fenced_is_back_with_its_array() -> None:
    cluster, control = make()
    made = control.volumes.create(VolumeRequest("data", GIB, "nvme"))
    control.volumes.attach(made.id, "a")
    cluster.node("a").silent = True
    control.volumes.detach(made.id)
    cluster.node("a").silent = False
    assert made.id in cluster.node("a").arrays
    control.volumes.delete(made.id)
    assert control.volumes.list() == ()
    assert not any(node.arrays or node.replicas for node in cluster.nodes.values())
