"""What the records and the nodes are compared for, and what is never touched."""

from dataclasses import replace

import pytest

from replication.control.control import Control, build_control
from replication.control.doctor import diagnose, find_changing, find_fault
from replication.control.lifecycle import VolumeRequest
from replication.control.store.memory import MemoryStore
from replication.errors import Conflict, FailedPrecondition
from replication.model import MIB, Attachment, Phase, Versioned, Volume
from replication.traces import Trace, TraceKind
from tests.fakes.clock import HandClock
from tests.fakes.node import FakeCluster

STRANGER = "vffffffffffffffff"
CONSUMERS = (TraceKind.MOUNT, TraceKind.LIMIT, TraceKind.ARRAY, TraceKind.HOLD, TraceKind.CONNECTION)


@pytest.fixture
def fakes() -> FakeCluster:
    return FakeCluster(["a", "b", "c", "d"])


@pytest.fixture
def control(fakes: FakeCluster) -> Control:
    control = build_control(MemoryStore(fakes.name), fakes.connect, HandClock())
    fakes.add_to(control)
    return control


@pytest.fixture
def volume(control: Control) -> Volume:
    """Attached to the node of its first replica."""
    made = control.volumes.create(VolumeRequest("data", 64 * MIB, "nvme"))
    control.volumes.attach(made.id, made.replicas[0].node)
    return control.volumes.get(made.id)


@pytest.mark.usefixtures("volume")
def test_nothing_is_found_where_everything_is_as_recorded(control: Control) -> None:
    diagnosis = control.doctor.examine()
    assert (diagnosis.findings, diagnosis.silent, diagnosis.changing) == ((), (), ())


def test_what_no_record_knows_is_found_and_removed_when_told(control: Control, fakes: FakeCluster) -> None:
    stray = Trace(TraceKind.LOGICAL_VOLUME, f"vg/{STRANGER}_r0", STRANGER, "r0")
    fakes.node("b").strays.append(stray)
    (finding,) = control.doctor.examine().findings
    assert (finding.node, finding.trace, finding.precious) == ("b", stray, False)
    assert fakes.node("b").strays == [stray]
    control.doctor.remove(finding)
    assert fakes.node("b").strays == []
    assert [event.kind for event in control.events.list(STRANGER)] == ["orphan-removed"]
    assert control.doctor.examine().findings == ()


def test_what_somebody_may_have_written_to_is_precious(control: Control, fakes: FakeCluster) -> None:
    stray = Trace(TraceKind.LOGICAL_VOLUME, "vg/x", STRANGER, "r0", 4, written=True)
    fakes.node("b").strays.append(stray)
    (finding,) = control.doctor.examine().findings
    assert finding.precious


def test_a_replica_that_is_gone_is_told_of_and_nothing_is_removed(
    control: Control, fakes: FakeCluster, volume: Volume
) -> None:
    lost = volume.replicas[1]
    del fakes.node(lost.node).replicas[volume.id, lost.id]
    (finding,) = (f for f in control.doctor.examine().findings if f.kind is TraceKind.LOGICAL_VOLUME)
    assert (finding.node, finding.volume, finding.trace) == (lost.node, "data", None)
    control.doctor.remove(finding)
    assert "remove_trace" not in fakes.node(lost.node).calls


def test_an_array_that_is_gone_is_told_of(control: Control, fakes: FakeCluster, volume: Volume) -> None:
    del fakes.node(str(volume.consumer)).arrays[volume.id]
    (finding,) = control.doctor.examine().findings
    assert (finding.kind, finding.trace, finding.problem) == (
        TraceKind.ARRAY,
        None,
        "the volume is attached here, and has no array",
    )


def test_a_node_that_does_not_answer_is_named_and_misses_nothing(
    control: Control, fakes: FakeCluster, volume: Volume
) -> None:
    fakes.node(volume.replicas[1].node).silent = True
    diagnosis = control.doctor.examine()
    assert diagnosis.findings == ()
    assert [node for node, _ in diagnosis.silent] == [volume.replicas[1].node]


def test_what_came_to_be_recorded_meanwhile_is_not_removed(
    control: Control, fakes: FakeCluster, volume: Volume
) -> None:
    replica = volume.replicas[2]
    trace = Trace(TraceKind.LOGICAL_VOLUME, "vg/x", volume.id, replica.id)
    (finding,) = diagnose({}, frozenset(), {replica.node: (trace,)})
    with pytest.raises(Conflict, match="belongs to a volume by now"):
        control.doctor.remove(finding)
    assert "remove_trace" not in fakes.node(replica.node).calls


def test_what_is_in_use_stays(control: Control, fakes: FakeCluster) -> None:
    fakes.node("a").strays.append(Trace(TraceKind.HOLD, "hold", STRANGER))
    fakes.node("a").used_strays.add("hold")
    (finding,) = control.doctor.examine().findings
    with pytest.raises(FailedPrecondition, match="in use"):
        control.doctor.remove(finding)
    assert control.doctor.examine().findings == (finding,)


def test_volumes_that_change_are_left_out(volume: Volume) -> None:
    before, after = Versioned(volume, 4), Versioned(volume, 5)
    busy = [
        replace(volume, phase=Phase.DELETING),
        replace(volume, phase=Phase.EXPANDING),
        replace(volume, attachment=Attachment.ATTACHING),
    ]
    assert find_changing({volume.id: before}, {volume.id: before}) == set()
    assert find_changing({volume.id: before}, {volume.id: after}) == {volume.id}
    assert find_changing({}, {volume.id: after}) == {volume.id}
    assert find_changing({volume.id: before}, {}) == {volume.id}
    for each in busy:
        same = {volume.id: Versioned(each, 4)}
        assert find_changing(same, same) == {volume.id}
    trace = Trace(TraceKind.MOUNT, "/x", volume.id)
    assert diagnose({}, frozenset({volume.id}), {"d": (trace,)}) == ()


@pytest.mark.parametrize("kind", CONSUMERS)
def test_a_consumers_things_are_on_the_consumer_and_of_its_epoch(volume: Volume, kind: TraceKind) -> None:
    here = str(volume.consumer)
    trace = Trace(kind, "x", volume.id, "r1", volume.epoch)
    assert find_fault(trace, here, volume) == ""
    assert find_fault(replace(trace, epoch=0), here, volume) == ""
    assert "attached to node" in find_fault(trace, "d", volume)
    moved = replace(volume, epoch=volume.epoch + 1)
    assert f"of epoch {trace.epoch}, the record of {moved.epoch}" in find_fault(trace, here, moved)
    detached = replace(volume, attachment=Attachment.DETACHED, consumer=None)
    assert find_fault(trace, here, detached) == "the volume is not attached"


def test_an_export_is_of_the_epoch_and_not_on_the_consumer(volume: Volume) -> None:
    remote = volume.replicas[1]
    trace = Trace(TraceKind.EXPORT, "nqn", volume.id, remote.id, volume.epoch)
    assert find_fault(trace, remote.node, volume) == ""
    assert "on node" in find_fault(trace, "d", volume)
    assert "very node" in find_fault(replace(trace, replica_id="r0"), str(volume.consumer), volume)
    assert "epoch" in find_fault(trace, remote.node, replace(volume, epoch=volume.epoch + 1))
    assert "not attached" in find_fault(trace, remote.node, replace(volume, attachment=Attachment.DETACHED))


def test_what_is_newer_than_the_record_is_precious(volume: Volume) -> None:
    """The store was restored from an old backup, perhaps."""
    trace = Trace(TraceKind.ARRAY, "md_x", volume.id, epoch=volume.epoch + 3)
    known = {volume.id: Versioned(volume, 1)}
    (finding,) = (f for f in diagnose(known, frozenset(), {str(volume.consumer): (trace,)}) if f.trace)
    assert finding.precious
    assert "was the store restored?" in finding.problem


def test_what_stands_on_something_comes_before_it() -> None:
    traces = [Trace(kind, f"{kind}", STRANGER) for kind in reversed(TraceKind)]
    found = diagnose({}, frozenset(), {"a": tuple(traces)})
    assert [finding.kind for finding in found] == list(TraceKind)


def test_an_export_goes_only_when_nobody_can_be_connected_to_it(control: Control, fakes: FakeCluster) -> None:
    export, connection = (Trace(kind, "nqn", STRANGER) for kind in (TraceKind.EXPORT, TraceKind.CONNECTION))
    fakes.node("a").strays.append(export)
    fakes.node("b").strays.append(connection)
    found = control.doctor.examine().findings
    assert [finding.trace for finding in found] == [connection, export]
    with pytest.raises(FailedPrecondition, match="node b is connected"):
        control.doctor.remove(found[1])
    control.doctor.remove(found[0])
    fakes.node("c").silent = True
    with pytest.raises(FailedPrecondition, match="node c may be connected"):
        control.doctor.remove(found[1])
    assert fakes.node("a").strays == [export]
    fakes.node("c").silent = False
    control.doctor.remove(found[1])
    assert fakes.node("a").strays == []
