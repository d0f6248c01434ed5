"""A disk comes back as it was some time ago: what is on it is known to be old by the header's version."""

from dataclasses import replace

import pytest

from replication.control import insync, rebuild
from replication.errors import Conflict, FailedPrecondition, Unavailable
from replication.model import Attachment, CopyMode, ReplicaFacts, ReplicaState
from tests.unit.control.records import facts, header, volume
from tests.unit.control.test_emptying import age
from tests.unit.control.test_replacing import Lab

FULL, BITMAP = CopyMode.FULL, CopyMode.BITMAP


@pytest.mark.parametrize(("version", "copy"), [(4, FULL), (5, BITMAP), (6, BITMAP)])
def test_what_is_older_than_the_record_knows_is_copied_in_full(version: int, copy: CopyMode) -> None:
    record = insync.mark(volume("is"), ("r1",), 5)
    (plan,) = rebuild.list_rebuilds(record, {"b": facts("b", header(record_version=version))})
    assert plan.copy is copy


def test_the_newest_version_is_remembered_until_a_full_copy_begins() -> None:
    record = insync.mark(insync.mark(volume("is"), ("r1",), 5), ("r0", "r1"), 3)
    assert [r.marked for r in record.replicas] == [3, 5]
    by_bitmap = insync.start_rebuild(record, "r1", BITMAP, "boot-1", volatile=False)
    in_full = insync.start_rebuild(record, "r1", FULL, "boot-1", volatile=False)
    assert [by_bitmap.replicas[1].marked, in_full.replicas[1].marked] == [5, 0]


def test_an_old_copy_is_not_brought_back_by_bitmap() -> None:
    lab = Lab(delay=600.0)
    old = header_on(lab, "b")
    lose_and_return(lab)
    assert lab.cluster.node("a").rejoined[-1].copy is BITMAP
    lab.finish("b")
    lab.lose("b")
    put(lab, "b", old)
    lab.repair(1)
    assert lab.cluster.node("a").rejoined[-1].copy is FULL


def test_an_old_copy_does_not_start_although_the_record_calls_it_in_sync() -> None:
    lab = Lab(delay=600.0)
    old = header_on(lab, "b")
    lab.control.volumes.detach(lab.id)
    lab.control.volumes.attach(lab.id, "a")
    lab.control.volumes.detach(lab.id)
    put(lab, "b", old)
    lab.control.volumes.attach(lab.id, "c")
    assert lab.states() == {"a": "in_sync", "b": "stale", "c": "in_sync"}
    assert insync.get_replica(lab.record(), lab.on("b")).copy is FULL
    assert header_on(lab, "b") == old


def test_a_volume_of_which_only_old_copies_are_left_is_lost_until_somebody_decides() -> None:
    lab = Lab(delay=600.0)
    old = {node: header_on(lab, node) for node in "abc"}
    lab.control.volumes.detach(lab.id)
    lab.control.volumes.attach(lab.id, "a")
    lab.control.volumes.detach(lab.id)
    for node, found in old.items():
        put(lab, node, found)
    with pytest.raises(Unavailable, match="no replica of volume data0 can start"):
        lab.control.volumes.attach(lab.id, "a")
    with pytest.raises(FailedPrecondition, match="is not lost"):
        lab.control.volumes.recover(lab.id, lab.on("b"))
    age(lab)
    assert lab.record().lost_since > 0.0
    lab.control.volumes.recover(lab.id, lab.on("b"))
    lab.control.volumes.attach(lab.id, "b")
    assert [r.node for r in insync.in_sync(lab.record())] == ["b"]
    assert lab.record().attachment is Attachment.ATTACHED


def lose_all_but_a_suspect(lab: Lab) -> dict[tuple[str, str], ReplicaFacts]:
    """What c had, which alone may have what b's disk refused. a's replica is stale."""
    lab.control.volumes.detach(lab.id)
    lab.control.records.change(lab.id, lambda v: insync.forsake(v, "a"))
    lab.cluster.node("b").suspect.add((lab.id, lab.on("b")))
    kept = dict(lab.cluster.node("c").replicas)
    lab.cluster.node("c").replicas.clear()
    with pytest.raises(Unavailable, match="others may have it"):
        lab.control.volumes.attach(lab.id, "b")
    assert lab.record().lost_since == 0.0
    age(lab)
    assert lab.record().lost_since > 0.0
    return kept


def test_a_disk_that_comes_back_has_what_another_refused() -> None:
    lab = Lab(delay=600.0)
    lab.cluster.node("c").replicas.update(lose_all_but_a_suspect(lab))
    lab.repair(1)
    assert lab.record().lost_since == 0.0
    lab.control.volumes.attach(lab.id, "b")
    assert lab.states()["c"] == "in_sync"
    assert insync.get_replica(lab.record(), lab.on("b")).copy is FULL


def test_a_person_may_go_on_from_a_replica_whose_disk_refused_a_write() -> None:
    lab = Lab(delay=600.0)
    lose_all_but_a_suspect(lab)
    lab.control.volumes.recover(lab.id, lab.on("b"))
    lab.control.volumes.attach(lab.id, "b")
    assert [r.node for r in insync.in_sync(lab.record())] == ["b"]


@pytest.mark.parametrize("used", [False, True], ids=["is back", "is in use already"])
def test_nobody_goes_on_from_less_than_what_is_back_though_the_record_does_not_say_so_yet(used: bool) -> None:
    """The record is told by whoever repairs, which takes a while, or nobody does just now."""
    lab = Lab(delay=600.0)
    lab.cluster.node("c").replicas.update(lose_all_but_a_suspect(lab))
    if used:
        lab.control.volumes.attach(lab.id, "b")
    assert lab.record().lost_since > 0.0
    with pytest.raises(FailedPrecondition, match=f"{lab.on('c')} on node c is back"):
        lab.control.volumes.recover(lab.id, lab.on("b"))
    assert lab.states()["c"] == "in_sync"


def test_nobody_goes_on_from_what_is_being_rebuilt() -> None:
    with pytest.raises(Conflict, match="is being rebuilt"):
        insync.recover(volume("ir"), "r1")


def lose_and_return(lab: Lab) -> None:
    lab.lose("b")
    lab.repair(1)
    assert insync.get_replica(lab.record(), lab.on("b")).state is ReplicaState.REBUILDING


def header_on(lab: Lab, node: str) -> ReplicaFacts:
    return lab.cluster.node(node).replicas[lab.id, lab.on(node)]


def put(lab: Lab, node: str, old: ReplicaFacts) -> None:
    """Its disk, as it was then."""
    lab.cluster.node(node).replicas[lab.id, lab.on(node)] = replace(old)
