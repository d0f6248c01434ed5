"""A consumer that does not answer is given up: what becomes of the replica on its own node."""

from typing import Any

import pytest

from replication.clock import SystemClock
from replication.control import insync
from replication.control.control import Control
from replication.control.insync import in_sync
from replication.control.reconciler import Reconciler
from replication.errors import TrilithError, Unavailable
from replication.model import Limits, Node, Volume
from tests.fakes.node import FakeCluster
from tests.unit.control.test_volumes import make, wanted


def make_doubted(*suspect: str) -> tuple[FakeCluster, Control, Volume]:
    """On a, which is silent by now; the disks of these nodes have refused a write, and nobody was told."""
    cluster, control = make()
    volume = control.volumes.create(wanted())
    control.volumes.attach(volume.id, "a")
    cluster.node("a").silent = True
    for replica in (r for r in volume.replicas if r.node in suspect):
        cluster.node(replica.node).suspect.add((volume.id, replica.id))
    control.volumes.detach(volume.id)
    return cluster, control, control.volumes.get(volume.id)


def test_a_dead_consumers_replica_is_waited_for_while_all_others_refused_a_write() -> None:
    """It may be the only one that has it."""
    cluster, control, volume = make_doubted("b", "c")
    assert len(in_sync(volume)) == 3
    assert not any(cluster.node(n).exports for n in "bc")
    with pytest.raises(Unavailable, match="on a: node a does not answer"):
        control.volumes.attach(volume.id, "b")
    cluster.node("a").silent = False
    control.volumes.attach(volume.id, "b")
    assert [r.node for r in in_sync(control.volumes.get(volume.id))] == ["a"]
    assert cluster.node("a").arrays == {}


def test_a_dead_consumers_replica_is_not_waited_for_where_one_other_is_sure() -> None:
    _, control, volume = make_doubted("b")
    assert {r.node for r in in_sync(volume)} == {"b", "c"}
    control.volumes.attach(volume.id, "b")
    assert [r.node for r in in_sync(control.volumes.get(volume.id))] == ["c"]


def test_a_person_may_give_up_the_dead_consumers_replica() -> None:
    _, control, volume = make_doubted("b", "c")
    control.emptying.remove("a", lost=True)
    control.volumes.attach(volume.id, "b")
    assert len(in_sync(control.volumes.get(volume.id))) == 1


def test_a_volume_is_given_up_with_the_node_that_had_all_of_it_and_used_it() -> None:
    """Else neither it nor its PersistentVolume could ever be deleted."""
    cluster, control = make(replica_count=1)
    volume = control.volumes.create(wanted(preferred_nodes=("a",)))
    control.volumes.attach(volume.id, "a")
    cluster.node("a").silent = True
    with pytest.raises(Unavailable, match="cannot be fenced"):
        control.volumes.detach(volume.id, "a")
    control.emptying.remove("a", lost=True)
    control.volumes.detach(volume.id, "a")
    control.volumes.detach(volume.id, "a")  # who asked may not have heard the answer
    control.volumes.delete(volume.id)
    assert control.volumes.list() == ()


def test_a_node_that_was_given_up_and_is_back_goes_on_with_what_nobody_else_has() -> None:
    cluster, control = make(replica_count=1)
    volume = control.volumes.create(wanted(preferred_nodes=("a",)))
    control.volumes.attach(volume.id, "a")
    cluster.node("a").silent = True
    control.emptying.remove("a", lost=True)
    control.volumes.detach(volume.id, "a")
    with pytest.raises(TrilithError):
        control.volumes.attach(volume.id, "b")
    cluster.node("a").silent = False
    control.nodes.add(Node("a", "a:7000", "data-a"))
    control.volumes.attach(volume.id, "b")
    record = control.volumes.get(volume.id)
    assert ([r.node for r in in_sync(record)], record.epoch) == (["a"], 4)
    assert cluster.node("a").arrays == {}


def test_a_consumer_that_boots_between_the_look_at_its_replica_and_its_array_does_not_begin_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was called the source, for it had not booted since the volume's last user died."""
    cluster, control, volume = make_doubted()
    assert control.volumes.get(volume.id).resync_source == "r1"
    finish = insync.admit

    def admit_after_a_boot(*words: Any) -> Volume:  # noqa: ANN401
        cluster.node("b").boot()
        return finish(*words)

    with monkeypatch.context() as once:
        once.setattr(insync, "admit", admit_after_a_boot)
        with pytest.raises(Unavailable, match="made ready before the boot"):
            control.volumes.attach(volume.id, "b")
    control.volumes.attach(volume.id, "b")
    record = control.volumes.get(volume.id)
    assert ([r.node for r in in_sync(record)], record.resync_source) == (["c"], "r2")


def test_a_resync_that_has_ended_before_the_attachment_is_recorded_is_noted_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Agents tell of it once. Nobody hears of what an attachment that is undone has made equal."""
    cluster, control, volume = make_doubted()
    node = cluster.node("b")

    def end_its_resync(volume_id: str, *_: int | Limits) -> None:
        node.finish_resync(volume_id)
        Reconciler(control, SystemClock()).handle("b", node.arrays[volume_id].report())
        if not node.calls.count("set_limits"):
            node.calls.append("set_limits")
            raise Unavailable("busy")

    monkeypatch.setattr(node, "set_limits", end_its_resync)
    with pytest.raises(Unavailable, match="busy"):
        control.volumes.attach(volume.id, "b")
    assert control.volumes.get(volume.id).resync_source == "r1"
    control.volumes.attach(volume.id, "b")
    assert control.volumes.get(volume.id).resync_source is None


@pytest.mark.parametrize("back", [True, False], ids=["is back", "is silent after it"])
def test_a_consumer_that_boots_between_the_look_at_its_array_and_the_end_of_it_ended_in_a_crash(
    back: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever detaches may stand still for so long; the next boot has no array, and does nothing."""
    cluster, control = make()
    volume = control.volumes.create(wanted())
    control.volumes.attach(volume.id, "a")
    node = cluster.node("a")
    detach = node.detach

    def detach_after_a_boot(volume_id: str, epoch: int) -> None:
        node.boot()
        detach(volume_id, epoch)
        node.silent = not back

    monkeypatch.setattr(node, "detach", detach_after_a_boot)
    control.volumes.detach(volume.id)
    record = control.volumes.get(volume.id)
    assert (record.consumer, record.resync_source) == (None, "r0")
    node.silent = False
    control.volumes.attach(volume.id, "b")
    assert {r.node for r in in_sync(control.volumes.get(volume.id))} == {"b", "c"}
