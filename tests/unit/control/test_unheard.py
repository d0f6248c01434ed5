"""A store that does what it is asked, and whose answer is lost; or that refuses one swap of an operation."""

import pytest

from replication.clock import SystemClock
from replication.control.control import Control, build_control
from replication.control.insync import in_sync
from replication.control.store.base import Event
from replication.control.store.memory import MemoryStore
from replication.control.volumes import VolumeRequest
from replication.errors import Unavailable
from replication.model import GIB, Attachment, Versioned, Volume
from tests.fakes.node import FakeCluster


class Store(MemoryStore):
    """`unanswered`: how many swaps from now one gets no answer, 0 for the next; `does` it all the same?"""

    unanswered = -1
    does = True

    def swap_volume(self, volume: Volume, expected_version: int, events: tuple[Event, ...] = ()) -> Versioned:
        unanswered = self.unanswered == 0
        self.unanswered -= 1
        if unanswered and not self.does:
            raise Unavailable("the store does not answer")
        swapped = super().swap_volume(volume, expected_version, events)
        if unanswered:
            raise Unavailable("the store does not answer")
        return swapped


def make() -> tuple[FakeCluster, Store, Control, str]:
    cluster = FakeCluster(["a", "b", "c"])
    store = Store(cluster.name)
    control = build_control(store, cluster.connect, SystemClock())
    cluster.add_to(control)
    return cluster, store, control, control.volumes.create(VolumeRequest("data", GIB, "nvme")).id


def list_exporting(cluster: FakeCluster) -> list[str]:
    return [name for name, node in cluster.nodes.items() if node.exports]


def test_an_attachment_that_is_recorded_is_not_undone_though_nobody_heard_of_it() -> None:
    cluster, store, control, volume_id = make()
    store.unanswered = 2
    with pytest.raises(Unavailable, match="store"):
        control.volumes.attach(volume_id, "a")
    assert control.volumes.get(volume_id).attachment is Attachment.ATTACHED
    assert (list(cluster.node("a").arrays), list_exporting(cluster)) == ([volume_id], ["b", "c"])
    assert control.volumes.attach(volume_id, "a") == cluster.node("a").arrays[volume_id].device


@pytest.mark.parametrize("does", [True, False], ids=["done", "refused"])
@pytest.mark.parametrize("number", range(3))
def test_a_repeat_attaches_whichever_swap_got_no_answer(number: int, does: bool) -> None:
    cluster, store, control, volume_id = make()
    store.unanswered, store.does = number, does
    with pytest.raises(Unavailable, match="store"):
        control.volumes.attach(volume_id, "a")
    assert control.volumes.attach(volume_id, "a") == cluster.node("a").arrays[volume_id].device
    assert len(in_sync(control.volumes.get(volume_id))) == 3
    assert list_exporting(cluster) == ["b", "c"]


@pytest.mark.parametrize("does", [True, False], ids=["done", "refused"])
@pytest.mark.parametrize("number", range(2))
def test_a_repeat_detaches_whichever_swap_got_no_answer(number: int, does: bool) -> None:
    cluster, store, control, volume_id = make()
    control.volumes.attach(volume_id, "a")
    store.unanswered, store.does = number, does
    with pytest.raises(Unavailable, match="store"):
        control.volumes.detach(volume_id)
    control.volumes.detach(volume_id)
    assert control.volumes.get(volume_id).attachment is Attachment.DETACHED
    assert (list(cluster.node("a").arrays), list_exporting(cluster)) == ([], [])
