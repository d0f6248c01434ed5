"""Writes wait rather than be on fewer replicas than the settings say."""

import itertools
import threading

import pytest

from replication.control import insync
from replication.control.parallel import Waits
from replication.control.settings import MINIMUM, Policy, Settings, find_minimum
from replication.errors import Unavailable
from replication.model import Attachment, MemberHealth, Prepared, PrepareSpec
from tests.fakes.node import FakeNode
from tests.unit.control.records import report, states_of, volume
from tests.unit.control.test_replacing import Lab

GOOD, LOST = MemberHealth.GOOD, MemberHealth.LOST


@pytest.mark.parametrize("healths", list(itertools.product((GOOD, LOST), repeat=3)))
@pytest.mark.parametrize("minimum", [1, 2, 3])
def test_nobody_is_recorded_as_lost_when_too_few_would_be_left(
    healths: tuple[MemberHealth, ...], minimum: int
) -> None:
    after = insync.react(volume("iii", min_in_sync=minimum), report(*healths))
    left = healths.count(GOOD)
    assert len(insync.in_sync(after)) == (left if left >= minimum else 3)


def test_what_is_below_already_goes_no_further() -> None:
    assert states_of(insync.lose(volume("iis", min_in_sync=3), 1, {"r1": True})) == "iis"
    assert states_of(insync.lose(volume("iir", min_in_sync=2), 1, {"r0": True}, ("r2",))) == "sii"


def make(minimum: int) -> Lab:
    lab = Lab(delay=600.0)
    lab.control.store.put_settings(Settings("nvme", min_in_sync_replicas=minimum))
    lab.repair(1)
    return lab


def test_writes_wait_for_the_first_of_two_to_come_back() -> None:
    lab = make(2)
    assert lab.record().min_in_sync == 2
    array = lab.cluster.node("a").arrays[lab.id]
    for node in "bc":
        lab.cluster.node("a").set_health(lab.id, lab.on(node), LOST)
    lab.reconciler.handle("a", array.report())
    assert lab.states() == dict.fromkeys("abc", "in_sync")
    assert {m.health for m in array.members.values()} == {GOOD, LOST}
    lab.cluster.node("a").set_health(lab.id, lab.on("b"), GOOD)
    lab.reconciler.handle("a", array.report())
    assert lab.states() == {"a": "in_sync", "b": "in_sync", "c": "stale"}


def test_nobody_attaches_with_too_few_and_those_that_are_left_out_are_brought_back() -> None:
    lab = make(2)
    lab.control.volumes.detach(lab.id)
    for node in "bc":
        lab.cluster.node(node).suspect.add((lab.id, lab.on(node)))
    with pytest.raises(Unavailable, match="only 1 replicas in sync can start, min-in-sync-replicas is 2"):
        lab.control.volumes.attach(lab.id, "a")
    assert lab.record().attachment is Attachment.DETACHED
    lab.control.volumes.begin_upkeep(lab.id, "a")
    lab.repair(1)
    assert "rebuilding" in lab.states().values()


def test_nobody_is_given_up_for_an_attachment_that_cannot_be_while_those_that_are_silent_would_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody has written without them: they would do when the one that answered is lost for good."""
    monkeypatch.setattr("replication.control.attaching.PREPARE", Waits(0.1, 0.1, 0.1, 0.1))
    lab = make(2)
    lab.control.volumes.detach(lab.id)
    for node in "bc":
        lab.cluster.node(node).silent = True
    with pytest.raises(Unavailable, match="only 1 replicas in sync can start, min-in-sync-replicas is 2"):
        lab.control.volumes.attach(lab.id, "a")
    assert lab.states() == dict.fromkeys("abc", "in_sync")
    for node, silent in {"a": True, "b": False, "c": False}.items():
        lab.cluster.node(node).silent = silent
    lab.control.volumes.attach(lab.id, "b")
    assert lab.states() == {"a": "stale", "b": "in_sync", "c": "in_sync"}


def test_a_user_who_cannot_have_the_volume_yet_does_not_stop_what_brings_replicas_back() -> None:
    """A full copy takes longer than whoever attaches it waits to try again."""
    lab = make(2)
    lab.control.volumes.detach(lab.id)
    for node in "bc":
        lab.cluster.node(node).suspect.add((lab.id, lab.on(node)))
    with pytest.raises(Unavailable):
        lab.control.volumes.attach(lab.id, "a")
    lab.control.volumes.begin_upkeep(lab.id, "a")
    lab.repair(1)
    with pytest.raises(Unavailable, match="only 1 replicas in sync can start, min-in-sync-replicas is 2"):
        lab.control.volumes.attach(lab.id, "a")
    assert lab.record().upkeep
    back = next(node for node, state in lab.states().items() if state == "rebuilding")
    lab.finish(back)
    lab.cluster.node(back).suspect.clear()
    lab.control.volumes.attach(lab.id, "a")
    assert not lab.record().upkeep


def test_a_new_volume_has_the_pools_minimum_but_no_more_than_replicas() -> None:
    lab = make(9)
    assert lab.record().min_in_sync == 3


def test_what_was_asked_for_with_the_volume_rules_over_the_pools() -> None:
    asked = volume("iii", parameters=((MINIMUM, "2"),))
    assert [find_minimum(asked, Policy(min_in_sync_replicas=pools)) for pools in (1, 3)] == [2, 2]
    assert find_minimum(volume("i", parameters=((MINIMUM, "2"),), replica_count=1), Policy()) == 1


def test_an_attachment_waits_for_as_many_as_there_have_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is slow is not left out while too few are there without it."""
    waits = Waits(until_enough=20.0, alive=0.05, unknown=0.05, sign=20.0)
    monkeypatch.setattr("replication.control.attaching.PREPARE", waits)
    lab = make(2)
    lab.control.volumes.detach(lab.id)
    for node, seconds in (("b", 0.4), ("c", 10.0)):
        make_slow(monkeypatch, lab.cluster.node(node), seconds)
    lab.control.volumes.attach(lab.id, "a")
    assert lab.states() == {"a": "in_sync", "b": "in_sync", "c": "stale"}


def make_slow(monkeypatch: pytest.MonkeyPatch, node: FakeNode, seconds: float) -> None:
    def prepare(spec: PrepareSpec) -> Prepared:
        threading.Event().wait(seconds)
        return FakeNode.prepare_replica(node, spec)

    monkeypatch.setattr(node, "prepare_replica", prepare)
