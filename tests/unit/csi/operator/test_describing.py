"""What is told of a volume."""

from dataclasses import replace

import pytest

from csi.operator.conditions import Condition
from csi.operator.describing import Description, Look, describe, is_transient
from replication.control.settings import Policy
from replication.errors import Unavailable
from replication.model import (
    ArrayReport,
    Attachment,
    MemberHealth,
    MemberReport,
    NodeFacts,
    Phase,
    ReplicaFacts,
    Volume,
)
from tests.unit.control.records import detached, volume
from tests.unit.csi.operator.values import facts


def holding(node: str, record: Volume) -> NodeFacts:
    """A node that has its replica."""
    ours = [r for r in record.replicas if r.node == node]
    found = tuple(ReplicaFacts(record.id, r.id, r.volume_group, 1, 1, 1, False, False) for r in ours)
    return replace(facts(node), replicas=found)


def look(record: Volume, silent: str = "", reports: tuple[ArrayReport, ...] = (), later: bool = True) -> Look:
    answers: dict[str, object] = {r.node: holding(r.node, record) for r in record.replicas}
    answers |= {node: Unavailable("down") for node in silent}
    return Look(answers, reports, Policy(), later)  # type: ignore[arg-type]


def report(record: Volume, **changes: object) -> ArrayReport:
    members = (MemberReport("r1", MemberHealth.RECOVERING),)
    found = ArrayReport(record.id, record.epoch, 1, members, True)
    return replace(found, **changes)  # type: ignore[arg-type]


def condition(told: Description, kind: str) -> Condition:
    return next(each for each in told.conditions if each.type == kind)


def test_a_healthy_volume() -> None:
    told = describe(volume(), look(volume()))
    assert told.status == {
        "health": "Healthy",
        "inSync": "3/3",
        "replicas": [{"id": f"r{n}", "node": "abc"[n], "state": "InSync"} for n in range(3)],
    }
    assert [each.met for each in told.conditions] == [True, True]


def test_a_stale_replica_whose_node_is_silent_says_since_when_and_what_will_be_done() -> None:
    record = volume("isi")
    stale = replace(record.replicas[1], since=60.0)
    record = replace(record, replicas=(record.replicas[0], stale, record.replicas[2]))
    told = describe(record, look(record, silent="b"))
    assert (told.status["health"], told.status["inSync"]) == ("Degraded", "2/3")
    assert told.status["replicas"][1] == {
        "id": "r1",
        "node": "b",
        "state": "Stale",
        "since": "1970-01-01T00:01:00Z",
    }
    assert told.status["doing"] == (
        "replica r1 on node b is brought back when its node answers, or replaced after 600 s"
    )
    assert condition(told, "Ready").met
    redundant = condition(told, "Redundant")
    assert (redundant.met, redundant.reason) == (False, "ReplicaStale")
    assert redundant.message == "replica r1 on node b is stale (its record is of 1970-01-01T00:01:00+00:00)"


def test_a_replica_that_was_replaced_while_its_node_is_silent_degrades_nothing() -> None:
    record = replace(volume("isi"), replica_count=2)
    told = describe(record, look(record, silent="b"))
    assert (told.status["health"], told.status["inSync"]) == ("Healthy", "2/2")
    assert [each.met for each in told.conditions] == [True, True]
    assert told.status["doing"] == (
        "replica r1 on node b is replaced, and removed when its node answers or leaves the cluster"
    )


def test_a_copy_is_told_in_steps_of_ten_percent() -> None:
    record = volume("iri")
    first, second = (
        describe(
            record, look(record, reports=(report(record, recovery_total_bytes=100, recovery_done_bytes=n),))
        )
        for n in (41, 49)
    )
    assert first == second
    assert first.status["replicas"][1]["copiedPercent"] == 40
    assert first.status["doing"] == "replica r1 on node b gets what it lacks, 40 % is copied"


def test_a_copy_of_an_attachment_that_is_over_says_nothing() -> None:
    record = volume("iri")
    old = report(record, epoch=record.epoch - 1, recovery_total_bytes=100, recovery_done_bytes=41)
    assert describe(record, look(record, reports=(old,))).status["doing"] == (
        "replica r1 on node b gets what it lacks"
    )


def test_what_the_nodes_did_not_have_before_the_record_was_written_is_not_missing() -> None:
    record = volume()
    nothing = {r.node: facts(r.node) for r in record.replicas}
    told = describe(record, Look(nothing, (), Policy(), later=False))
    assert told.status["health"] == "Healthy"
    told = describe(record, Look(nothing, (), Policy()))
    assert (told.status["health"], condition(told, "Ready").reason) == ("Lost", "NoReplicaLeft")


def test_a_volume_that_nobody_answers_for_is_inaccessible() -> None:
    told = describe(volume(), look(volume(), silent="abc"))
    assert (told.status["health"], condition(told, "Ready").reason) == ("Inaccessible", "NodeUnreachable")


def test_writes_that_wait_are_told_without_seconds() -> None:
    record = volume()
    held = {"arrays": (report(record, members=(), held_seconds=17.0),)}
    answers = {**look(record).facts, "a": replace(holding("a", record), **held)}  # type: ignore[arg-type]
    told = describe(record, Look(answers, (), Policy()))
    assert condition(told, "Ready") == Condition("Ready", False, "WritesWait", "writes wait on node a")


def test_a_lost_volume_says_how_to_go_on() -> None:
    told = describe(volume(lost_since=60.0), look(volume()))
    assert told.status["health"] == "Lost"
    assert "1970-01-01T00:01:00Z; `trilith volume recover`" in condition(told, "Ready").message


def test_a_replica_that_moves_away_says_so() -> None:
    record = volume()
    leaving = replace(record, replicas=(replace(record.replicas[0], leaving=True), *record.replicas[1:]))
    told = describe(leaving, look(leaving))
    assert told.status["replicas"][0]["leaving"] is True
    assert told.status["doing"] == "replica r0 on node a moves away, because its place is drained"


@pytest.mark.parametrize(
    ("record", "doing", "ready"),
    [
        (detached(phase=Phase.CREATING), "its replicas are made", "Creating"),
        (detached(phase=Phase.DELETING), "its replicas are removed", "Deleting"),
        (volume(phase=Phase.EXPANDING), "it grows", "Usable"),
        (volume(attachment=Attachment.ATTACHING), "it is attached to node a", "Usable"),
        (volume(attachment=Attachment.DETACHING), "it is detached from node a", "Usable"),
    ],
)
def test_what_is_being_done_with_the_whole(record: Volume, doing: str, ready: str) -> None:
    told = describe(record, look(record))
    assert (told.status["doing"], condition(told, "Ready").reason) == (doing, ready)
    assert is_transient(record)
    assert not is_transient(volume())


def test_fewer_replicas_than_wanted_are_no_redundancy() -> None:
    record = volume("ii", replica_count=3)
    assert condition(describe(record, look(record)), "Redundant").reason == "TooFewReplicas"
