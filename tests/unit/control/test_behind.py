"""Lists of records that are behind, as a watch that fell silent leaves them: nothing goes by them alone."""

import pytest

from replication.clock import SystemClock
from replication.control.control import Control, build_control
from replication.control.doctor import diagnose
from replication.control.reconciler import Reconciler
from replication.control.volumes import VolumeRequest
from replication.errors import Conflict
from replication.model import GIB
from tests.fakes.behind import StoreBehind
from tests.fakes.node import FakeCluster


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster(["a", "b", "c"])


@pytest.fixture
def control(cluster: FakeCluster) -> Control:
    """Behind since before there was a volume."""
    store = StoreBehind()
    control = build_control(store, cluster.connect, SystemClock())
    cluster.add_to(control)
    store.fall_behind()
    return control


def make(control: Control) -> str:
    return control.volumes.create(VolumeRequest("data", GIB, "nvme")).id


def test_an_array_that_runs_by_its_record_is_not_ended(control: Control, cluster: FakeCluster) -> None:
    volume_id = make(control)
    control.volumes.attach(volume_id, "a")
    Reconciler(control, SystemClock()).run_once()
    assert volume_id in cluster.node("a").arrays
    assert "abandon" not in cluster.node("a").calls


def test_a_replica_that_has_a_record_is_not_removed(control: Control, cluster: FakeCluster) -> None:
    """Nobody was let at it yet, so that nothing but the record says that it is wanted."""
    volume_id = make(control)
    Reconciler(control, SystemClock()).run_once()
    assert [len(cluster.node(name).replicas) for name in "abc"] == [1, 1, 1]
    assert control.volumes.attach(volume_id, "a")


def test_what_nobody_has_a_record_of_goes_all_the_same(control: Control, cluster: FakeCluster) -> None:
    volume_id = make(control)
    control.volumes.attach(volume_id, "a")
    cluster.node("a").silent = True
    control.volumes.detach(volume_id)
    cluster.node("a").silent = False
    Reconciler(control, SystemClock()).run_once()
    assert volume_id not in cluster.node("a").arrays


def test_the_doctor_removes_nothing_that_has_a_record(control: Control, cluster: FakeCluster) -> None:
    volume_id = make(control)
    traces = {"a": cluster.node("a").list_traces()}
    (finding,) = diagnose({}, frozenset(), traces)
    with pytest.raises(Conflict, match="belongs to a volume by now"):
        control.doctor.remove(finding)
    assert (volume_id, "r0") in cluster.node("a").replicas
