"""Records restored from a backup that is older than what runs."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from replication.clock import SystemClock
from replication.control import first_look
from replication.control.control import build_control
from replication.control.insync import check, in_sync
from replication.control.reconciler import Reconciler
from replication.control.restored import catch_up, find_claim
from replication.errors import DataLoss
from replication.model import Attachment, CopyMode, MemberHealth, MemberReport, NodeFacts, ReplicaState
from tests.unit.control.records import facts, header, report, states_of, volume
from tests.unit.control.test_reconciler import DROPPED, GOOD, LOST, Lab


@pytest.mark.parametrize(
    ("before", "healths", "after"),
    [
        ("iii", (GOOD, GOOD), "iis"),
        ("iii", (GOOD, GOOD, GOOD), "iii"),
        ("iii", (GOOD, LOST, DROPPED), "iii"),
        ("iis", (GOOD, GOOD), "iis"),
        ("iir", (GOOD, GOOD), "iir"),
    ],
)
def test_what_the_array_does_not_have_is_stale(
    before: str, healths: tuple[MemberHealth, ...], after: str
) -> None:
    """What it has and may be lost is for others to judge."""
    caught_up = catch_up(volume(before), report(*healths))
    assert (states_of(caught_up), check(caught_up)) == (after, ())
    assert catch_up(caught_up, report(*healths)) == caught_up


def test_how_much_a_replica_lacks_is_unknown_and_a_source_that_went_is_replaced() -> None:
    caught_up = catch_up(volume("iii", resync_source="r2", min_in_sync=3), report(GOOD, GOOD))
    assert (caught_up.replicas[2].copy, caught_up.resync_source) == (CopyMode.FULL, "r0")


def test_a_report_from_before_a_replica_returned_says_nothing_of_it() -> None:
    returned = volume("iii")
    returned = replace(returned, replicas=tuple(replace(r, as_of=8) for r in returned.replicas))
    seen = {version: replace(report(GOOD, GOOD), record_version=version) for version in (0, 7, 8)}
    assert {v: states_of(catch_up(returned, each)) for v, each in seen.items()} == {
        0: "iii",
        7: "iii",
        8: "iis",
    }


def test_an_agent_that_has_just_begun_is_told_a_word_first() -> None:
    """Its report may come late: others may have returned since, and be the only ones that have it all."""
    returned = volume("iii")
    returned = replace(returned, replicas=tuple(replace(r, as_of=8) for r in returned.replicas))
    alone = replace(report(GOOD), record_version=0)
    assert states_of(catch_up(returned, alone)) == "iii"
    with pytest.raises(DataLoss):
        catch_up(replace(returned, replicas=returned.replicas[1:]), alone)


def test_an_array_that_runs_on_what_the_record_does_not_know_is_refused_in_words() -> None:
    other = replace(report(), members=(MemberReport("r7", GOOD),))
    with pytest.raises(DataLoss, match="It does not know that r7 are in sync"):
        catch_up(volume(), other)


@pytest.mark.parametrize(
    ("headers", "claim"),
    [
        ({"a": "r0", "b": "r1"}, "r1 on node b"),
        ({"a": "r0"}, ""),
        ({}, ""),
        ({"b": "r5"}, ""),
    ],
)
def test_replicas_elsewhere_say_that_a_volume_was_not_deleted(headers: dict[str, str], claim: str) -> None:
    found = {node: facts(node, header(name, node, epoch=1)) for node, name in headers.items()}
    assert find_claim(report(GOOD, GOOD), "a", found) == claim


def test_of_an_array_that_is_wholly_local_its_own_replica_says_so() -> None:
    mine, fenced = header("r0", "a", epoch=1), header("r0", "a", epoch=2)
    assert find_claim(report(GOOD), "a", {"a": facts("a", mine)}) == "r0 on node a"
    assert find_claim(report(GOOD), "a", {"a": facts("a", fenced)}) == ""


def restore(lab: Lab, backup: tuple[int, object]) -> None:
    """The store's row, as it was."""
    version, record = backup
    lab.store._volumes[lab.id] = replace(lab.store.get_volume(lab.id), volume=record, version=version)  # type: ignore[arg-type]


def clear_away(lab: Lab, node: str) -> None:
    """The agent forgets a member that it has dropped."""
    del lab.cluster.node("a").arrays[lab.id].members[lab.replica_on(node)]


def back_up(lab: Lab) -> tuple[int, object]:
    found = lab.store.get_volume(lab.id)
    return found.version, found.volume


def test_a_replica_lost_since_the_backup_is_stale_again_as_soon_as_its_array_is_heard() -> None:
    lab = Lab()
    backup = back_up(lab)
    lab.lose("b")
    clear_away(lab, "b")
    known = lab.store.get_volume(lab.id).version
    restore(lab, backup)
    lab.handle()
    assert {r.node for r in in_sync(lab.record())} == {"a", "c"}
    assert lab.store.get_volume(lab.id).version >= known
    lab.lose("c")
    assert lab.health("c") is DROPPED


def test_so_it_is_when_the_agent_has_just_begun() -> None:
    """It is told a word; what it says after that cannot be from before a return."""
    lab = Lab()
    backup = back_up(lab)
    lab.lose("b")
    clear_away(lab, "b")
    restore(lab, backup)
    lab.cluster.node("a").arrays[lab.id].record_version = 0
    lab.handle()
    assert {r.node for r in in_sync(lab.record())} == {"a", "c"}


@pytest.mark.parametrize("begun", [False, True], ids=["", "and its agent has just begun"])
def test_detaching_does_not_forget_what_only_the_array_knows(begun: bool) -> None:
    lab = Lab()
    backup = back_up(lab)
    lab.lose("b")
    clear_away(lab, "b")
    restore(lab, backup)
    if begun:
        lab.cluster.node("a").arrays[lab.id].record_version = 0
    lab.control.volumes.detach(lab.id)
    record = lab.record()
    assert (record.attachment, {r.node for r in in_sync(record)}) == (Attachment.DETACHED, {"a", "c"})
    assert lab.state("b") is ReplicaState.STALE


def test_an_epoch_that_the_disks_have_been_in_is_not_begun_again() -> None:
    """Headers refuse older epochs only: the next one of an old record may be the one they have."""
    lab = Lab()
    backup = back_up(lab)
    lab.control.volumes.detach(lab.id)
    lab.control.volumes.attach(lab.id, "b")
    restore(lab, backup)
    control = build_control(lab.store, lab.cluster.connect, LaterClock())
    control.volumes.detach(lab.id)
    before = lab.record()
    with pytest.raises(DataLoss, match=r"\(epoch 1\) is older than its disks.* on a: its header has epoch 2"):
        control.volumes.attach(lab.id, "c")
    assert lab.record() == before
    assert lab.cluster.node("b").arrays[lab.id].spec.epoch == 2


def test_a_consumer_is_not_fenced_by_a_record_that_is_older_than_the_disks() -> None:
    lab = Lab()
    backup = back_up(lab)
    lab.control.volumes.detach(lab.id)
    lab.control.volumes.attach(lab.id, "b")
    restore(lab, backup)
    lab.cluster.node("a").silent = True
    control = build_control(lab.store, lab.cluster.connect, LaterClock())
    with pytest.raises(DataLoss, match="is older than its disks"):
        control.volumes.detach(lab.id)
    assert all(export.epoch == 2 for export in lab.cluster.node("c").exports.values())


def test_who_has_looked_at_the_whole_cluster_asks_nobody_again() -> None:
    lab = Lab()
    lab.control.volumes.detach(lab.id)
    control = build_control(lab.store, lab.cluster.connect, LaterClock())
    facts = {name: lab.cluster.node(name).describe() for name in "abc"}
    control.first_look.learn(facts, {lab.id: lab.record()})
    lab.cluster.node("c").calls.clear()
    control.volumes.attach(lab.id, "a")
    assert "describe" not in lab.cluster.node("c").calls


@pytest.mark.parametrize("missing", ["", "b"])
def test_a_look_that_found_a_later_epoch_or_missed_a_node_is_made_again(missing: str) -> None:
    lab = Lab()
    backup = back_up(lab)
    lab.control.volumes.detach(lab.id)
    lab.control.volumes.attach(lab.id, "b")
    restore(lab, backup)
    control = build_control(lab.store, lab.cluster.connect, LaterClock())
    facts = {name: lab.cluster.node(name).describe() for name in "abc" if name != missing}
    control.first_look.learn(facts, {lab.id: lab.record()})
    control.volumes.detach(lab.id)
    with pytest.raises(DataLoss, match="is older than its disks"):
        control.volumes.attach(lab.id, "c")


def test_who_is_slow_to_say_which_epoch_he_has_seen_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node of many replicas, or of a disk that errs: its replica will start all the same."""
    lab = Lab()
    backup = back_up(lab)
    lab.control.volumes.detach(lab.id)
    lab.cluster.node("c").silent = True
    lab.control.volumes.attach(lab.id, "b")
    lab.cluster.node("c").silent = False
    restore(lab, backup)
    control = build_control(lab.store, lab.cluster.connect, LaterClock())
    control.volumes.detach(lab.id)
    for node in (lab.cluster.node("a"), lab.cluster.node("b")):
        monkeypatch.setattr(node, "describe", partial(describe_slowly, node.describe))
    monkeypatch.setattr(first_look, "LOOK", replace(first_look.LOOK, unknown=1.5, sign=0.1))
    with pytest.raises(DataLoss, match="on b: its header has epoch 2"):
        control.volumes.attach(lab.id, "c")
    assert not lab.cluster.node("b").exports


def describe_slowly(describe: Callable[[str | None], NodeFacts], only: str | None = None) -> NodeFacts:
    if only is None:
        SystemClock().sleep(2.0)
    return describe(only)


class LaterClock(SystemClock):
    """Of a process that began after everything else."""

    def wall(self) -> float:
        return super().wall() + 60


def test_an_array_that_no_record_knows_is_left_alone_while_its_replicas_are_there() -> None:
    lab = Lab()
    del lab.store._volumes[lab.id]
    lab.reconciler.run_once()
    told = [event.message for event in lab.control.events.list(lab.id)]
    assert any("which no record knows, and its replicas are there" in message for message in told)
    assert lab.cluster.node("a").arrays
    assert all(node.replicas for node in lab.cluster.nodes.values())


def test_an_array_that_no_record_knows_waits_for_nodes_that_do_not_answer_and_is_ended_then() -> None:
    lab = Lab()
    del lab.store._volumes[lab.id]
    for node in "abc":
        lab.cluster.node(node).replicas.clear()
    lab.cluster.node("c").silent = True
    lab.reconciler.run_once()
    assert lab.cluster.node("a").arrays
    assert any("replicas may be on c" in event.message for event in lab.control.events.list(lab.id))
    lab.cluster.node("c").silent = False
    Reconciler(lab.control, SystemClock()).run_once()  # another: nothing has failed there yet
    assert not lab.cluster.node("a").arrays
