"""A volume that grows: the record knows of the new size before anybody can write there."""

from functools import partial

import pytest

from replication.clock import SystemClock
from replication.control.control import Control
from replication.control.reconciler import Reconciler
from replication.errors import OutOfSpace, Unavailable
from replication.model import GIB, Phase, ReplicaState, Volume
from tests.fakes.node import FakeCluster
from tests.unit.control.test_volumes import holder_id, make, wanted


def lose_consumer_while_it_grows(cluster: FakeCluster, control: Control, volume: Volume) -> None:
    """Its array grows, and nobody hears of it."""
    consumer = cluster.node("a")

    def called(call: str) -> None:
        if call == "grow_array":
            consumer.arrays[volume.id].size_bytes = 2 * GIB
            consumer.silent = True
        type(consumer)._called(consumer, call)

    consumer.__dict__["_called"] = called
    with pytest.raises(Unavailable):
        control.volumes.expand(volume.id, 2 * GIB)
    del consumer.__dict__["_called"]


def refuse(refused: str, call: str) -> None:
    if call == refused:
        raise Unavailable("it is not heard")


def test_what_an_array_may_have_is_recorded_before_it_grows() -> None:
    cluster, control = make()
    volume = control.volumes.create(wanted())
    control.volumes.attach(volume.id, "a")
    lose_consumer_while_it_grows(cluster, control, volume)
    record = control.volumes.get(volume.id)
    assert (record.phase, record.size_bytes, record.grown_from) == (Phase.EXPANDING, 2 * GIB, GIB)


def test_the_next_array_has_the_new_size_and_counts_what_is_new_as_marked() -> None:
    cluster, control = make()
    volume = control.volumes.create(wanted())
    control.volumes.attach(volume.id, "a")
    lose_consumer_while_it_grows(cluster, control, volume)
    control.volumes.detach(volume.id, "a")
    control.volumes.attach(volume.id, "b")
    spec = cluster.node("b").arrays[volume.id].spec
    assert (spec.size_bytes, spec.marked_from) == (2 * GIB, GIB)
    assert control.volumes.expand(volume.id, 2 * GIB).phase is Phase.READY
    control.volumes.detach(volume.id, "b")
    control.volumes.attach(volume.id, "b")
    assert cluster.node("b").arrays[volume.id].spec.marked_from == 0


def test_what_is_new_counts_as_marked_also_when_the_growth_was_ended_while_nobody_had_an_array() -> None:
    cluster, control = make()
    volume = control.volumes.create(wanted())
    control.volumes.attach(volume.id, "a")
    lose_consumer_while_it_grows(cluster, control, volume)
    control.volumes.detach(volume.id, "a")
    cluster.node("a").silent = False
    Reconciler(control, SystemClock()).run_once()
    record = control.volumes.get(volume.id)
    assert (record.phase, record.size_bytes, record.grown_from) == (Phase.READY, 2 * GIB, GIB)
    assert control.volumes.expand(volume.id, 3 * GIB).grown_from == GIB
    control.volumes.attach(volume.id, "b")
    spec = cluster.node("b").arrays[volume.id].spec
    assert (spec.size_bytes, spec.marked_from) == (3 * GIB, GIB)
    assert control.volumes.get(volume.id).grown_from == 0


def test_an_array_that_was_not_recorded_has_marked_nothing() -> None:
    cluster, control = make()
    volume = control.volumes.create(wanted())
    control.volumes.attach(volume.id, "a")
    lose_consumer_while_it_grows(cluster, control, volume)
    control.volumes.detach(volume.id, "a")
    control.volumes.expand(volume.id, 2 * GIB)
    cluster.node("b").__dict__["_called"] = partial(refuse, "attach")
    with pytest.raises(Unavailable):
        control.volumes.attach(volume.id, "b")
    assert control.volumes.get(volume.id).grown_from == GIB
    control.volumes.attach(volume.id, "c")
    assert cluster.node("c").arrays[volume.id].spec.marked_from == GIB


def test_a_replica_that_returns_meanwhile_joins_an_array_of_the_new_size() -> None:
    """In one of the old size it would come into sync without what the lost consumer wrote to the new part."""
    cluster, control = make()
    volume = control.volumes.create(wanted())
    cluster.node("c").silent = True
    control.volumes.attach(volume.id, "a")
    assert [r.state for r in control.volumes.get(volume.id).replicas][2] is ReplicaState.STALE
    lose_consumer_while_it_grows(cluster, control, volume)
    control.volumes.detach(volume.id, "a")
    cluster.node("c").silent = False
    control.volumes.attach(volume.id, "b")
    unheard = cluster.node("b")
    unheard.__dict__["_called"] = partial(refuse, "resize_replica")
    Reconciler(control, SystemClock()).run_once()
    assert control.volumes.get(volume.id).phase is Phase.EXPANDING
    assert [spec.member.replica_id for spec in unheard.rejoined] == [holder_id(control, volume.id, "c")]
    assert [each.size_bytes for each in cluster.node("c").replicas.values()] == [2 * GIB]
    assert unheard.arrays[volume.id].size_bytes == 2 * GIB


def test_a_replica_returns_though_the_expansion_waits_for_another() -> None:
    """Writes may wait for it: two are to be in sync, and the other one has gone."""
    cluster, control = make()
    volume = control.volumes.create(wanted())
    cluster.node("c").silent = True
    control.volumes.attach(volume.id, "a")
    cluster.node("b").silent = True
    with pytest.raises(Unavailable, match="node b"):
        control.volumes.expand(volume.id, 2 * GIB)
    cluster.node("c").silent = False
    Reconciler(control, SystemClock()).run_once()
    assert control.volumes.get(volume.id).phase is Phase.EXPANDING
    returned = [spec.member.replica_id for spec in cluster.node("a").rejoined]
    assert returned == [holder_id(control, volume.id, "c")]


def test_a_wish_that_cannot_be_had_leaves_the_one_before_to_be_finished() -> None:
    cluster, control = make()
    volume = control.volumes.create(wanted())
    control.volumes.attach(volume.id, "a")
    lose_consumer_while_it_grows(cluster, control, volume)
    cluster.node("a").silent = False
    with pytest.raises(OutOfSpace):
        control.volumes.expand(volume.id, 200 * GIB)
    Reconciler(control, SystemClock()).run_once()
    record = control.volumes.get(volume.id)
    assert (record.phase, record.size_bytes, record.target_size_bytes) == (Phase.READY, 2 * GIB, 0)
    assert record.grown_from == 0
