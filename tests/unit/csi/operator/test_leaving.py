"""A node whose Node is gone: what it alone has keeps it, by the records of now."""

import pytest

from csi.operator.chores import Chores
from csi.operator.nodes import Nodes
from replication.clock import SystemClock
from replication.control import insync
from replication.control.control import Control, build_control
from replication.control.volumes import VolumeRequest
from replication.errors import FailedPrecondition, Unavailable
from replication.model import GIB, Pool
from tests.fakes.behind import StoreBehind
from tests.fakes.node import FakeCluster
from tests.unit.csi.operator.values import machine


@pytest.fixture
def store() -> StoreBehind:
    return StoreBehind()


@pytest.fixture
def control(store: StoreBehind) -> Control:
    """A volume has a replica on each of a, b and c, and is in use on b."""
    cluster = FakeCluster(["a", "b", "c"])
    control = build_control(store, cluster.connect, SystemClock())
    cluster.add_to(control)
    volume = control.volumes.create(VolumeRequest("data", GIB, "nvme"))
    control.volumes.attach(volume.id, "b")
    cluster.node("a").silent = True
    return control


def remove(control: Control, node: str) -> None:
    clock = SystemClock()
    Nodes(control, Chores(control, clock, lambda: None), clock)._remove(node)


def lose_all_but(control: Control, node: str) -> None:
    lose(control, *({"a", "b", "c"} - {node}))


def lose(control: Control, *nodes: str) -> None:
    (volume,) = control.volumes.list()
    lost = {r.id: False for r in volume.replicas if r.node in nodes}
    control.records.change(volume.id, lambda v: insync.lose(v, v.epoch, lost))


def test_a_node_that_alone_has_something_stays(control: Control) -> None:
    lose_all_but(control, "a")
    with pytest.raises(FailedPrecondition, match="it alone is in sync of data"):
        remove(control, "a")
    assert len(control.nodes.list()) == 3


def test_so_it_does_when_the_list_of_records_is_behind(control: Control, store: StoreBehind) -> None:
    store.fall_behind()
    lose_all_but(control, "a")
    with pytest.raises(FailedPrecondition, match="it alone is in sync of data"):
        remove(control, "a")
    assert len(control.nodes.list()) == 3


def test_a_node_that_is_back_before_its_removal_came_to_an_end_takes_new_replicas_again(
    control: Control, store: StoreBehind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server failed, or the leader was killed, after it had been cordoned for that."""

    def fail(*_: Pool) -> None:
        raise Unavailable("500")

    lose(control, "a")
    with monkeypatch.context() as once:
        once.setattr(store, "replace_pool", fail)
        with pytest.raises(Unavailable, match="500"):
            remove(control, "a")
    assert [cordon.name for cordon in store.list_cordons()] == ["a"]
    clock = SystemClock()
    nodes = Nodes(control, Chores(control, clock, lambda: None), clock)
    nodes.reconcile([machine(name) for name in "abc"], ())
    assert store.list_cordons() == ()
