"""Nodes and disks emptied: replicas move first, and a volume never has fewer copies in sync for it."""

import pytest

from replication.control.cordons import Cordon, choose_leaving, list_open
from replication.control.insync import check, in_sync
from replication.control.lifecycle import VolumeRequest
from replication.control.replacement import Absent
from replication.control.upkeep import QUIET_SECONDS
from replication.errors import Conflict, FailedPrecondition, NotFound, Unavailable
from replication.model import GIB, Attachment, MemberHealth, Phase, ReplicaState
from tests.unit.control.records import volume
from tests.unit.control.test_replacement import group
from tests.unit.control.test_replacing import Lab


def move(lab: Lab, to: str) -> list[int]:
    """Reconcile until nothing changes; how many replicas were in sync after each pass."""
    counts = []
    for _ in range(8):
        lab.repair(1)
        counts.append(len(in_sync(lab.record())))
        states = {r.node: r.state for r in lab.record().replicas}
        if states.get(to) is ReplicaState.REBUILDING:
            lab.finish(to)
    return counts


@pytest.mark.parametrize("node", ["a", "b"])
def test_a_node_is_drained_under_a_volume_in_use_and_redundancy_never_falls(node: str) -> None:
    """Also the node that uses it, which goes on with remote replicas only."""
    lab = Lab(delay=600.0)
    lab.control.emptying.cordon(node, draining=True)
    counts = move(lab, "d")
    assert min(counts) == 3
    assert lab.states() == dict.fromkeys({"a", "b", "c", "d"} - {node}, "in_sync")
    assert not [key for key in lab.cluster.node(node).replicas if key[0] == lab.id]
    assert lab.cluster.node("a").arrays[lab.id].slots == 3
    assert lab.control.emptying.list_left(Cordon(node)) == ()


def test_a_volume_that_nobody_uses_moves_too() -> None:
    lab = Lab(delay=600.0)
    lab.control.volumes.detach(lab.id)
    lab.control.emptying.cordon("b", draining=True)
    lab.reconciler._repairs._maintaining._quiet[lab.id] = -QUIET_SECONDS
    lab.repair(4)
    consumer = str(lab.record().consumer)
    assert (lab.record().upkeep, consumer != "b") == (True, True)
    array = lab.cluster.node(consumer).arrays[lab.id]
    lab.cluster.node(consumer).set_health(lab.id, lab.on("d"), MemberHealth.RECOVERED)
    lab.reconciler.handle(consumer, array.report())
    lab.repair()
    assert lab.states() == dict.fromkeys("acd", "in_sync")
    assert lab.record().attachment is Attachment.DETACHED


def test_a_drain_that_is_called_off_leaves_things_as_they_were() -> None:
    lab = Lab(delay=600.0)
    lab.control.emptying.cordon("b", draining=True)
    lab.repair(2)
    assert lab.states()["d"] == "rebuilding"
    lab.control.emptying.uncordon("b")
    lab.repair(1)
    lab.finish("d")
    lab.repair(4)
    assert lab.states() == dict.fromkeys("abc", "in_sync")


def test_a_drain_waits_where_there_is_no_other_place() -> None:
    lab = Lab(delay=600.0, nodes="abc")
    lab.control.emptying.cordon("b", draining=True)
    assert move(lab, "d") == [3] * 8
    assert lab.states()["b"] == "in_sync"
    assert lab.events("replace-failed")


def test_a_single_replica_stays_on_a_node_that_is_drained() -> None:
    """Its PersistentVolume says where it is used, for good: elsewhere nobody could."""
    lab = Lab(delay=600.0)
    alone = lab.control.volumes.create(VolumeRequest("alone", GIB, "nvme", 1, preferred_nodes=("a",)))
    lab.control.volumes.attach(alone.id, "a")
    lab.control.emptying.cordon("a", draining=True)
    lab.repair(4)
    assert [(r.node, r.leaving) for r in lab.record(alone.id).replicas] == [("a", True)]
    (told,) = [e.message for e in lab.control.events.list(alone.id) if e.kind == "replace-failed"]
    assert "a single replica never leaves its node" in told


def test_new_replicas_avoid_what_is_cordoned() -> None:
    lab = Lab()
    lab.control.emptying.cordon("d")
    lab.control.emptying.cordon("d")
    lab.cluster.node("c").silent = True
    lab.lose("c")
    lab.repair()
    assert "d" not in lab.states()
    lab.control.emptying.cordon("c")
    with pytest.raises(Unavailable, match="2 nodes have room"):
        lab.control.volumes.create(VolumeRequest("more", GIB, "nvme"))
    lab.control.emptying.uncordon("d")
    lab.repair()
    assert lab.states()["d"] == "rebuilding"


def test_a_drained_node_leaves_its_pools_and_the_cluster() -> None:
    lab = Lab(delay=600.0)
    with pytest.raises(FailedPrecondition, match=r"pool nvme, volume data0: drain it first"):
        lab.control.emptying.remove("b")
    lab.control.emptying.cordon("b", draining=True)
    move(lab, "d")
    lab.control.emptying.remove("b")
    assert lab.control.store.get_pool("nvme").nodes == ("a", "c", "d")
    assert lab.cluster.node("b").pools == {}
    assert lab.control.store.list_cordons() == ()
    with pytest.raises(NotFound):
        lab.control.emptying.remove("b")
    with pytest.raises(FailedPrecondition, match="3 replicas need 3 nodes"):
        lab.control.emptying.remove("d") if "d" not in lab.states() else lab.control.pools.leave(
            "d", lost=False
        )


def test_a_lost_node_is_replaced_at_once() -> None:
    lab = Lab(delay=600.0)
    with pytest.raises(FailedPrecondition, match="node c answers"):
        lab.control.emptying.remove("c", lost=True)
    lab.cluster.node("c").silent = True
    with pytest.raises(Conflict, match="still counts on its replica"):
        lab.control.emptying.remove("c", lost=True)
    lab.lose("c")
    lab.control.emptying.remove("c", lost=True)
    lab.repair()
    assert lab.states()["d"] == "rebuilding"
    lab.finish("d")
    lab.repair()
    assert lab.states() == dict.fromkeys("abd", "in_sync")


def test_a_volume_whose_last_replica_in_sync_is_gone_is_lost_until_somebody_decides() -> None:
    lab = Lab(delay=600.0)
    for node in "bc":
        lab.lose(node)
    lab.cluster.node("a").silent = True
    lab.repair()
    assert lab.record().lost_since == 0.0
    with pytest.raises(FailedPrecondition, match="is not lost, r0 on node a may come back"):
        lab.control.volumes.recover(lab.id, lab.on("b"))
    lab.control.emptying.remove("a", lost=True)
    age(lab)
    assert lab.record().lost_since > 0.0
    assert "r0 on node a" in lab.events("lost")[0]
    assert {n: s for n, s in lab.states().items() if n != "a"} == dict.fromkeys("bc", "stale")
    lab.cluster.node("b").silent = True
    with pytest.raises(Unavailable):
        lab.control.volumes.recover(lab.id, lab.on("b"))
    lab.cluster.node("b").silent = False
    record = lab.control.volumes.recover(lab.id, lab.on("b"))
    assert (record.attachment, record.lost_since, record.epoch) == (Attachment.DETACHED, 0.0, 2)
    assert [r.node for r in in_sync(record)] == ["b"]
    assert check(record) == ()
    lab.control.volumes.attach(lab.id, "b")


def test_who_goes_on_from_a_replica_that_missed_an_expansion_has_the_size_that_it_had_grown_to() -> None:
    """Else no array could begin with it."""
    lab = Lab(delay=600.0)
    for node in "bc":
        lab.lose(node)
        lab.cluster.node(node).silent = True
    lab.control.volumes.expand(lab.id, 2 * GIB)
    lab.cluster.node("a").silent = True
    for node in "bc":
        lab.cluster.node(node).silent = False
    lab.control.emptying.remove("a", lost=True)
    age(lab)
    lab.control.volumes.recover(lab.id, lab.on("b"))
    (found,) = lab.cluster.node("b").describe().replicas
    assert found.size_bytes == lab.record().size_bytes == 2 * GIB


def test_a_volume_that_is_lost_while_it_grows_says_so_and_goes_on_from_a_stale_replica() -> None:
    lab = Lab(delay=600.0)
    for node in "bc":
        lab.lose(node)
    lab.cluster.node("a").silent = True
    with pytest.raises(Unavailable):
        lab.control.volumes.expand(lab.id, 2 * GIB)
    lab.control.emptying.remove("a", lost=True)
    age(lab)
    assert (lab.record().phase, lab.record().lost_since > 0.0) == (Phase.EXPANDING, True)
    lab.control.volumes.recover(lab.id, lab.on("b"))
    lab.repair(1)
    record = lab.record()
    assert (record.phase, record.size_bytes, record.lost_since) == (Phase.READY, 2 * GIB, 0.0)
    lab.control.volumes.attach(lab.id, "b")


def test_a_lost_volume_does_not_begin_to_grow_and_stays_lost() -> None:
    lab = Lab(delay=600.0)
    lab.control.volumes.detach(lab.id)
    for node in "abc":
        lab.cluster.node(node).replicas.clear()
    age(lab)
    before = lab.record()
    with pytest.raises(FailedPrecondition, match="volume data0 is lost"):
        lab.control.volumes.expand(lab.id, 2 * GIB)
    assert lab.control.volumes.expand(lab.id, GIB) == before
    lab.repair(1)
    assert lab.record() == before
    assert lab.events("found") == []


def age(lab: Lab) -> None:
    """Absences that were noticed just now were noticed long ago."""
    lab.repair(1)
    absent = lab.reconciler._repairs._replacing._absent
    absent.update({key: Absent(found.why, 0.0) for key, found in absent.items()})
    lab.repair(1)


def test_a_lost_volume_is_found_again_when_its_disk_is() -> None:
    lab = Lab(delay=600.0)
    lab.control.volumes.detach(lab.id)
    kept = {node: dict(lab.cluster.node(node).replicas) for node in "abc"}
    for node in "abc":
        lab.cluster.node(node).replicas.clear()
    age(lab)
    assert lab.record().lost_since > 0.0
    lab.cluster.node("c").replicas.update(kept["c"])
    lab.repair(1)
    assert lab.record().lost_since == 0.0


def test_a_lost_consumer_is_fenced_first() -> None:
    lab = Lab(delay=600.0)
    lab.cluster.node("a").silent = True
    lab.control.emptying.remove("a", lost=True)
    assert lab.record().attachment is Attachment.DETACHED
    assert lab.states()["a"] == "stale"


def test_a_disk_is_named_by_its_path() -> None:
    lab = Lab()
    drained = lab.control.emptying.drain_disk("b", "/dev/nvme0n1")
    assert drained == Cordon("b/vg-b", draining=True, disk="/dev/nvme0n1")
    with pytest.raises(NotFound, match="no pool has it"):
        lab.control.emptying.drain_disk("b", "/dev/sdx")
    lab.control.emptying.uncordon_disk("b", "/dev/nvme0n1")
    assert lab.control.store.list_cordons() == ()


def test_a_cordon_covers_a_node_or_one_disk() -> None:
    groups = (group("b"), group("b", "vg-b2"))
    assert list_open("b", groups, [Cordon("b")]) == ()
    assert list_open("b", groups, [Cordon("b/vg-b"), Cordon("c")]) == groups[1:]
    assert choose_leaving(volume(), [Cordon("a"), Cordon("b/vg-b", True), Cordon("c/vg-x", True)]) == {"r1"}
