"""A consumer that lost power comes back: its volumes are attached to it again, and to nobody else."""

from dataclasses import replace

import pytest

from replication.clock import SystemClock
from replication.control.lifecycle import has_booted
from replication.control.reconciler import Reconciler
from replication.control.returning import PATIENCE, Returns
from replication.control.survey import take_survey
from replication.control.volumes import VolumeRequest
from replication.errors import Conflict
from replication.model import GIB, Attachment
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
