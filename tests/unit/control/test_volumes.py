"""Volumes over nodes that behave: the way it should be, and the ways it may go wrong."""

import pytest

from replication.clock import SystemClock
from replication.control.control import Control, build_control
from replication.control.insync import check, in_sync
from replication.control.store.memory import MemoryStore
from replication.control.volumes import VolumeRequest
from replication.errors import (
    AlreadyExists,
    DataLoss,
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    OutOfRange,
    OutOfSpace,
    TimedOut,
    Unavailable,
)
from replication.model import GIB, MIB, Attachment, CopyMode, Phase, ReplicaState
from tests.fakes.node import FakeCluster

NAMES = ["a", "b", "c"]


def make(names: list[str] = NAMES, replica_count: int = 3) -> tuple[FakeCluster, Control]:
    cluster = FakeCluster(names)
    control = build_control(MemoryStore(cluster.name), cluster.connect, SystemClock())
    cluster.add_to(control, replica_count=replica_count)
    return cluster, control


def wanted(name: str = "data", size_bytes: int = GIB, **more: object) -> VolumeRequest:
    return VolumeRequest(name, size_bytes, "nvme", **more)  # type: ignore[arg-type]


def test_a_new_volume_has_all_replicas_in_sync_on_distinct_nodes() -> None:
    cluster, control = make()
    volume = control.volumes.create(wanted(size_bytes=GIB + 1))
    assert (volume.phase, volume.size_bytes) == (Phase.READY, GIB + 4 * MIB)
    assert len(in_sync(volume)) == 3
    assert all(len(node.replicas) == 1 for node in cluster.nodes.values())
    assert control.volumes.find("data") == volume == control.volumes.list()[0]


def test_creating_again_finds_the_same_volume() -> None:
    _, control = make()
    assert control.volumes.create(wanted()) == control.volumes.create(wanted(preferred_nodes=("b",)))


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (wanted(size_bytes=2 * GIB), "size is"),
        (wanted(replica_count=1), "replicas is 3, not 1"),
        (wanted(parameters=(("tier", "basic"),)), "tier is not set, not basic"),
    ],
)
def test_the_same_name_with_another_meaning_says_what_differs(other: VolumeRequest, says: str) -> None:
    _, control = make()
    control.volumes.create(wanted())
    with pytest.raises(AlreadyExists, match=says):
        control.volumes.create(other)


def test_the_preferred_node_comes_first() -> None:
    cluster, control = make(["a", "b", "c", "d"], replica_count=1)
    volume = control.volumes.create(wanted(preferred_nodes=("d",)))
    assert [r.node for r in volume.replicas] == ["d"]
    cluster.node("d").disk_bytes = 2 * GIB
    other = control.volumes.create(wanted("other", 3 * GIB, preferred_nodes=("d", "b")))
    assert [r.node for r in other.replicas] == ["b"]


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (wanted(size_bytes=0), InvalidRequest),
        (wanted(name=""), InvalidRequest),
        (wanted(replica_count=2), InvalidRequest),
        (wanted(replica_count=5), FailedPrecondition),
        (wanted(size_bytes=101 * GIB), OutOfRange),
        (VolumeRequest("x", GIB, "unknown"), NotFound),
    ],
)
def test_what_cannot_be_had_is_refused_and_leaves_nothing(
    request_: VolumeRequest, error: type[Exception]
) -> None:
    cluster, control = make()
    with pytest.raises(error):
        control.volumes.create(request_)
    assert control.volumes.list() == ()
    assert not any(node.replicas for node in cluster.nodes.values())


def test_a_full_pool_says_how_much_there_is_and_where() -> None:
    _, control = make()
    control.volumes.create(wanted(size_bytes=60 * GIB))
    with pytest.raises(OutOfSpace, match=r"a 40\.00 GiB.*|a 39\.\d+ GiB"):
        control.volumes.create(wanted("more", 60 * GIB))


def test_nodes_that_do_not_answer_are_named() -> None:
    cluster, control = make()
    cluster.node("b").silent = True
    with pytest.raises(Unavailable, match="b: node b does not answer"):
        control.volumes.create(wanted())
    assert control.volumes.list() == ()


def test_attach_moves_writes_to_one_node_with_keys_of_its_own() -> None:
    cluster, control = make()
    volume = control.volumes.create(wanted())
    assert control.volumes.attach(volume.id, "a") == f"/dev/md_{volume.id}"
    record = control.volumes.get(volume.id)
    assert (record.attachment, record.consumer, record.epoch) == (Attachment.ATTACHED, "a", 1)
    assert cluster.node("a").exports == {}
    keys = [export.consumer for n in "bc" for export in cluster.node(n).exports.values()]
    assert len({key.host_key for key in keys} | {key.controller_key for key in keys}) == 4
    assert all(r.boot_id for r in record.replicas)


def test_attach_again_gives_the_device_and_elsewhere_says_where() -> None:
    _, control = make()
    volume = control.volumes.create(wanted())
    device = control.volumes.attach(volume.id, "a")
    assert control.volumes.attach(volume.id, "a") == device
    assert control.volumes.get(volume.id).epoch == 1
    with pytest.raises(FailedPrecondition, match="attached on node a"):
        control.volumes.attach(volume.id, "b")


def test_a_node_without_authentication_gets_no_keys() -> None:
    cluster, control = make()
    cluster.node("b").authentication = False
    volume = control.volumes.create(wanted())
    control.volumes.attach(volume.id, "a")
    keys = {n: e.consumer.host_key for n in "bc" for e in cluster.node(n).exports.values()}
    assert keys["b"] == ""
    assert keys["c"].startswith("DHHC-1:00:")


def test_a_silent_or_suspect_replica_does_not_start() -> None:
    cluster, control = make()
    volume = control.volumes.create(wanted())
    cluster.node("b").silent = True
    cluster.node("c").suspect.add((volume.id, holder_id(control, volume.id, "c")))
    control.volumes.attach(volume.id, "a")
    states = {r.node: (r.state, r.copy) for r in control.volumes.get(volume.id).replicas}
    assert states["a"][0] is ReplicaState.IN_SYNC
    assert states["b"] == (ReplicaState.STALE, CopyMode.UNLESS_BOOTED)
    assert states["c"] == (ReplicaState.STALE, CopyMode.FULL)


def test_when_nobody_can_start_nothing_has_changed() -> None:
    cluster, control = make()
    volume = control.volumes.create(wanted())
    for name in NAMES:
        cluster.node(name).silent = True
    with pytest.raises(Unavailable, match="r0 on"):
        control.volumes.attach(volume.id, "a")
    record = control.volumes.get(volume.id)
    assert (record.attachment, record.consumer, len(in_sync(record))) == (Attachment.DETACHED, None, 3)


def test_a_record_older_than_the_disks_is_never_used() -> None:
    cluster, control = make()
    volume = control.volumes.create(wanted())
    key = next(iter(cluster.node("c").replicas))
    cluster.node("c")._raise_epoch(key, 9, 9)
    with pytest.raises(DataLoss, match="older than its disks"):
        control.volumes.attach(volume.id, "a")
    assert control.volumes.get(volume.id).attachment is Attachment.DETACHED


def test_a_clean_move_owes_no_resync() -> None:
    cluster, control = make()
    volume = control.volumes.create(wanted())
    control.volumes.attach(volume.id, "a")
    control.volumes.detach(volume.id, "b")
    assert control.volumes.get(volume.id).consumer == "a"
    control.volumes.detach(volume.id, "a")
    assert not any(node.exports or node.arrays for node in cluster.nodes.values())
    control.volumes.attach(volume.id, "b")
    record = control.volumes.get(volume.id)
    assert (record.epoch, record.resync_source, len(in_sync(record))) == (2, None, 3)


def test_a_volume_in_use_stays_attached() -> None:
    cluster, control = make()
    volume = control.volumes.create(wanted())
    control.volumes.attach(volume.id, "a")
    cluster.node("a").arrays[volume.id].in_use = True
    with pytest.raises(FailedPrecondition, match="in use"):
        control.volumes.detach(volume.id)
    assert control.volumes.get(volume.id).attachment is Attachment.ATTACHED


def test_a_dead_consumer_is_fenced_and_its_replica_left_behind() -> None:
    cluster, control = make()
    volume = control.volumes.create(wanted())
    control.volumes.attach(volume.id, "a")
    cluster.node("a").silent = True
    control.volumes.detach(volume.id)
    record = control.volumes.get(volume.id)
    assert (record.epoch, record.consumer) == (2, None)
    assert {r.node for r in in_sync(record)} == {"b", "c"}
    assert not any(cluster.node(n).exports for n in "bc")
    control.volumes.attach(volume.id, "b")
    moved = control.volumes.get(volume.id)
    assert moved.resync_source in {r.id for r in in_sync(moved)}
    assert cluster.node("b").arrays[volume.id].spec.resync
    assert check(moved) == ()


def test_a_consumer_that_nobody_can_fence_keeps_its_volume() -> None:
    cluster, control = make(replica_count=1)
    volume = control.volumes.create(wanted())
    home = volume.replicas[0].node
    control.volumes.attach(volume.id, home)
    cluster.node(home).silent = True
    with pytest.raises(Unavailable, match="cannot be fenced"):
        control.volumes.detach(volume.id)
    cluster.node(home).silent = False
    assert control.volumes.attach(volume.id, "b" if home != "b" else "c")


def test_a_crashed_consumer_that_is_back_owes_a_resync() -> None:
    cluster, control = make()
    volume = control.volumes.create(wanted())
    control.volumes.attach(volume.id, "a")
    cluster.node("a").boot()
    control.volumes.detach(volume.id)
    control.volumes.attach(volume.id, "a")
    record = control.volumes.get(volume.id)
    assert record.resync_source is not None
    assert {r.node: r.state for r in record.replicas}["a"] is ReplicaState.STALE


def test_a_consumer_that_lost_its_array_gets_a_new_epoch() -> None:
    cluster, control = make()
    volume = control.volumes.create(wanted())
    control.volumes.attach(volume.id, "a")
    cluster.node("a").boot()
    control.volumes.attach(volume.id, "a")
    record = control.volumes.get(volume.id)
    assert (record.epoch, record.attachment) == (2, Attachment.ATTACHED)
    assert record.resync_source is not None
    assert len(in_sync(record)) == 2


def test_after_a_power_failure_of_all_one_replica_stays() -> None:
    cluster, control = make()
    volume = control.volumes.create(wanted())
    control.volumes.attach(volume.id, "a")
    for name in NAMES:
        cluster.node(name).boot()
    control.volumes.detach(volume.id)
    control.volumes.attach(volume.id, "c")
    record = control.volumes.get(volume.id)
    assert [r.id for r in in_sync(record)] == [record.resync_source]


def test_an_old_array_on_a_node_that_is_back_is_ended_first() -> None:
    cluster, control = make()
    volume = control.volumes.create(wanted())
    control.volumes.attach(volume.id, "a")
    cluster.node("a").silent = True
    control.volumes.detach(volume.id)
    cluster.node("a").silent = False
    assert control.volumes.attach(volume.id, "a")
    assert cluster.node("a").arrays[volume.id].spec.epoch == 3


def test_an_old_array_does_not_keep_its_disk_from_the_next_epoch() -> None:
    cluster, control = make()
    volume = control.volumes.create(wanted())
    control.volumes.attach(volume.id, "a")
    old = cluster.node("a").arrays[volume.id]
    control.volumes.detach(volume.id)
    cluster.node("a").arrays[volume.id] = old
    control.volumes.attach(volume.id, "b")
    assert len(in_sync(control.volumes.get(volume.id))) == 3
    assert cluster.node("a").arrays == {}


def test_a_fence_that_reaches_nobody_is_not_called_done() -> None:
    cluster, control = make()
    volume = control.volumes.create(wanted())
    control.volumes.attach(volume.id, "a")
    for name in NAMES:
        cluster.node(name).silent = True
    for _ in range(2):
        with pytest.raises(Unavailable, match="cannot be fenced"):
            control.volumes.detach(volume.id)
    cluster.node("c").silent = False
    control.volumes.detach(volume.id)
    assert control.volumes.get(volume.id).attachment is Attachment.DETACHED


def test_a_slow_detach_is_not_a_dead_node() -> None:
    cluster, control = make()
    volume = control.volumes.create(wanted())
    control.volumes.attach(volume.id, "a")
    cluster.node("a").detach = too_slow  # type: ignore[method-assign]
    with pytest.raises(TimedOut):
        control.volumes.detach(volume.id)
    record = control.volumes.get(volume.id)
    assert (record.attachment, record.epoch) == (Attachment.DETACHING, 1)
    del cluster.node("a").detach
    control.volumes.detach(volume.id)
    assert control.volumes.get(volume.id).resync_source is None


def too_slow(volume_id: str, epoch: int) -> None:
    raise TimedOut(f"{volume_id} of epoch {epoch} is still being flushed")


def test_delete_is_refused_while_attached_and_silent_when_unknown() -> None:
    cluster, control = make()
    volume = control.volumes.create(wanted())
    control.volumes.attach(volume.id, "b")
    with pytest.raises(FailedPrecondition, match="on node b"):
        control.volumes.delete(volume.id)
    control.volumes.detach(volume.id)
    control.volumes.delete(volume.id)
    control.volumes.delete(volume.id)
    control.volumes.detach(volume.id)
    assert not any(node.replicas for node in cluster.nodes.values())


def test_a_node_that_is_away_keeps_a_volume_deleting() -> None:
    cluster, control = make()
    volume = control.volumes.create(wanted())
    cluster.node("b").silent = True
    with pytest.raises(Unavailable, match="node b"):
        control.volumes.delete(volume.id)
    assert control.volumes.get(volume.id).phase is Phase.DELETING
    cluster.node("b").silent = False
    again = control.volumes.create(wanted())
    assert again.id != volume.id


def test_expand_grows_replicas_and_the_array_and_never_shrinks() -> None:
    cluster, control = make()
    volume = control.volumes.create(wanted())
    control.volumes.attach(volume.id, "a")
    assert control.volumes.expand(volume.id, 2 * GIB).size_bytes == 2 * GIB
    assert cluster.node("a").arrays[volume.id].size_bytes == 2 * GIB
    assert control.volumes.expand(volume.id, GIB).size_bytes == 2 * GIB


def test_an_expansion_that_does_not_fit_is_undone() -> None:
    _, control = make()
    volume = control.volumes.create(wanted())
    with pytest.raises(OutOfSpace):
        control.volumes.expand(volume.id, 200 * GIB)
    record = control.volumes.get(volume.id)
    assert (record.phase, record.size_bytes) == (Phase.READY, GIB)


def test_an_expansion_waits_for_a_member_and_not_for_a_stale_replica() -> None:
    cluster, control = make()
    volume = control.volumes.create(wanted())
    cluster.node("b").silent = True
    with pytest.raises(Unavailable, match="node b"):
        control.volumes.expand(volume.id, 2 * GIB)
    assert control.volumes.get(volume.id).phase is Phase.EXPANDING
    control.volumes.attach(volume.id, "a")
    assert control.volumes.expand(volume.id, 2 * GIB).phase is Phase.READY


@pytest.mark.parametrize("call", ["attach", "expand", "get"])
def test_an_unknown_volume_is_not_found(call: str) -> None:
    _, control = make()
    arguments = {"attach": ("v0", "a"), "expand": ("v0", GIB), "get": ("v0",)}[call]
    with pytest.raises(NotFound):
        getattr(control.volumes, call)(*arguments)


def test_an_unknown_node_is_not_found() -> None:
    _, control = make()
    volume = control.volumes.create(wanted())
    with pytest.raises(NotFound, match="no node z"):
        control.volumes.attach(volume.id, "z")


def holder_id(control: Control, volume_id: str, node: str) -> str:
    return next(r.id for r in control.volumes.get(volume_id).replicas if r.node == node)
