"""What is wrong with a volume, by its record and the answers of its nodes."""

from dataclasses import replace

import pytest

from replication.control.health import HELD_SECONDS, judge, list_nodes
from replication.errors import TrilithError, Unavailable
from replication.model import (
    AilmentKind,
    ArrayReport,
    MemberHealth,
    MemberReport,
    NodeFacts,
    ReplicaFacts,
    Volume,
)
from tests.unit.control.records import detached, volume

LOST = MemberReport("r1", MemberHealth.LOST, "silent for 4 s")


def facts(node: str, *replicas: str, arrays: tuple[ArrayReport, ...] = ()) -> NodeFacts:
    found = tuple(ReplicaFacts("v0", replica, "vg", 1, 1, 1, False, False) for replica in replicas)
    return NodeFacts(node, "cluster", "boot", "6.12", True, (), (), found, arrays)


def whole() -> dict[str, NodeFacts | TrilithError]:
    return {"a": facts("a", "r0"), "b": facts("b", "r1"), "c": facts("c", "r2")}


def found(record: Volume, **changes: NodeFacts | TrilithError) -> list[tuple[AilmentKind, str]]:
    return [(each.kind, each.reason) for each in judge(record, whole() | changes)]


def array(held: float = 0.0, epoch: int = 1) -> NodeFacts:
    return facts("a", "r0", arrays=(ArrayReport("v0", epoch, 1, (LOST,), True, held),))


def test_a_whole_volume_has_no_ailments() -> None:
    assert found(volume("iii")) == []


def test_what_the_record_lacks_is_told_with_node_and_time() -> None:
    record = volume("isr")
    dated = replace(record, replicas=tuple(replace(r, since=1_700_000_000.0) for r in record.replicas))
    stale, rebuilding = judge(dated, whole())
    assert stale.message == "replica r1 on node b is stale (its record is of 2023-11-14T22:13:20+00:00)"
    assert (stale.reason, rebuilding.reason) == ("ReplicaStale", "ReplicaRebuilding")


def test_what_is_left_of_a_replacement_is_no_ailment() -> None:
    assert found(replace(volume("isi"), replica_count=2)) == []
    assert found(replace(volume("isi"), replica_count=3)) == [(AilmentKind.DEGRADED, "ReplicaStale")]


SILENT = Unavailable("no answer")


@pytest.mark.parametrize(
    ("states", "changes", "expected"),
    [
        ("iii", {"b": SILENT}, [(AilmentKind.DEGRADED, "NodeUnreachable")]),
        ("iii", {"b": facts("b")}, [(AilmentKind.DEGRADED, "ReplicaMissing")]),
        ("i", {"a": SILENT}, [(AilmentKind.INACCESSIBLE, "NodeUnreachable")]),
        ("i", {"a": facts("a")}, [(AilmentKind.DATA_LOSS, "NoReplicaLeft")]),
        (
            "iss",
            {"a": SILENT},
            [
                (AilmentKind.DEGRADED, "ReplicaStale"),
                (AilmentKind.DEGRADED, "ReplicaStale"),
                (AilmentKind.INACCESSIBLE, "NodeUnreachable"),
            ],
        ),
    ],
)
def test_copies_that_cannot_be_had(
    states: str, changes: dict[str, NodeFacts | TrilithError], expected: list[tuple[AilmentKind, str]]
) -> None:
    assert found(volume(states), **changes) == expected


def test_what_the_consumer_reports_before_the_record_knows_it() -> None:
    assert found(volume("iii"), a=array()) == [(AilmentKind.DEGRADED, "ReplicaLost")]
    assert found(volume("iii"), a=array(held=HELD_SECONDS)) == [
        (AilmentKind.DEGRADED, "ReplicaLost"),
        (AilmentKind.INACCESSIBLE, "WritesWait"),
    ]


def test_an_array_of_another_epoch_says_nothing() -> None:
    assert found(volume("iii"), a=array(epoch=0)) == []


def test_only_who_can_say_something_is_asked() -> None:
    assert list_nodes([volume("iss"), volume("sis")]) == {"a", "b"}
    assert list_nodes([]) == frozenset()


def suspect(node: str, replica: str) -> NodeFacts:
    found = facts(node, replica)
    return replace(found, replicas=tuple(replace(each, suspect=True) for each in found.replicas))


INACCESSIBLE = AilmentKind.INACCESSIBLE


@pytest.mark.parametrize(
    ("record", "changes", "ailments"),
    [
        (
            detached(),
            {"a": SILENT, "b": suspect("b", "r1"), "c": suspect("c", "r2")},
            [
                (INACCESSIBLE, "NodeUnreachable"),
                (INACCESSIBLE, "ReplicaSuspect"),
                (INACCESSIBLE, "ReplicaSuspect"),
            ],
        ),
        (
            detached("iis"),
            {"a": SILENT, "b": suspect("b", "r1")},
            [
                (AilmentKind.DEGRADED, "ReplicaStale"),
                (INACCESSIBLE, "NodeUnreachable"),
                (INACCESSIBLE, "ReplicaSuspect"),
            ],
        ),
        (detached(), {"a": SILENT, "b": suspect("b", "r1")}, [(AilmentKind.DEGRADED, "NodeUnreachable")]),
        (detached(), {"b": suspect("b", "r1"), "c": suspect("c", "r2")}, []),
        (volume("iii"), {"b": suspect("b", "r1"), "c": SILENT}, [(AilmentKind.DEGRADED, "NodeUnreachable")]),
    ],
    ids=["of three", "of two", "one is not suspect", "nobody is silent", "in use"],
)
def test_a_volume_that_waits_rather_than_start_with_suspects_is_told(
    record: Volume, changes: dict[str, NodeFacts | TrilithError], ailments: list[tuple[AilmentKind, str]]
) -> None:
    assert found(record, **changes) == ailments
