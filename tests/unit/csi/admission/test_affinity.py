"""Which nodes a pod is drawn to, and how its object is changed for that."""

from typing import Any

import pytest

from csi.admission.affinity import MOST_NODES, PATH, PREFERRED, Use, choose_terms, make_patch
from csi.admission.known import KnownDiskPool
from replication.kubernetes.access import Json

POOLS = (
    KnownDiskPool("nvme", "m1", ready=True, room_bytes=10),
    KnownDiskPool("nvme", "m2", ready=True, room_bytes=20),
    KnownDiskPool("nvme", "m3", ready=False, room_bytes=30),
    KnownDiskPool("other", "m4", ready=True, room_bytes=40),
)
TERMS = choose_terms([Use("nvme")], POOLS)


def nodes_of(*uses: Use) -> list[list[str]]:
    terms = choose_terms(uses, POOLS)
    assert all(term["weight"] == 1 for term in terms)
    return [term["preference"]["matchExpressions"][0]["values"] for term in terms]


@pytest.mark.parametrize(
    ("uses", "nodes"),
    [
        ([], []),
        ([Use("nvme")], [["m1", "m2"]]),
        ([Use("nvme", 15)], [["m2"]]),
        ([Use("nvme", 50)], []),
        ([Use("unknown")], []),
        ([Use("nvme", replicas=frozenset({"m2", "m3"}))], [["m1", "m2"], ["m2", "m3"]]),
        ([Use("nvme"), Use("nvme"), Use("other")], [["m1", "m2"], ["m4"]]),
        ([Use("x", replicas=frozenset("ab")), Use("x", replicas=frozenset("bc"))], [["a", "b"], ["b", "c"]]),
    ],
)
def test_a_point_for_a_usable_disk_pool_and_one_for_a_replica(
    uses: list[Use], nodes: list[list[str]]
) -> None:
    assert nodes_of(*uses) == nodes


def test_of_very_many_nodes_those_with_most_room_are_named() -> None:
    rooms = range(MOST_NODES + 50)
    many = [KnownDiskPool("nvme", f"n{room:04}", ready=True, room_bytes=room) for room in rooms]
    (term,) = choose_terms([Use("nvme")], many)
    named = term["preference"]["matchExpressions"][0]["values"]
    assert named == [f"n{room:04}" for room in range(50, MOST_NODES + 50)]


def test_a_name_that_is_no_label_value_is_hashed_as_the_node_plugin_does() -> None:
    (term,) = choose_terms([Use("nvme", replicas=frozenset({"n" * 70}))], ())
    (value,) = term["preference"]["matchExpressions"][0]["values"]
    assert value.startswith("sha256-")
    assert len(value) <= 63


def apply(document: Any, steps: Any) -> Any:  # noqa: ANN401
    """Adds, as RFC 6902 has them."""
    for step in steps:
        assert step["op"] == "add"
        *parents, last = step["path"].split("/")[1:]
        place = document
        for key in parents:
            place = place[key]
        if last == "-":
            place.append(step["value"])
        else:
            place[last] = step["value"]
    return document


THEIRS = {"weight": 9, "preference": {}}
REQUIRED: Json = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}


@pytest.mark.parametrize(
    ("affinity", "kept"),
    [
        ({}, {}),
        ({"affinity": None}, {}),
        ({"affinity": {}}, {}),
        ({"affinity": {"podAffinity": {"x": 1}}}, {"podAffinity": {"x": 1}}),
        ({"affinity": {"nodeAffinity": REQUIRED}}, {"nodeAffinity": REQUIRED}),
        ({"affinity": {"nodeAffinity": {PREFERRED: []}}}, {}),
        ({"affinity": {"nodeAffinity": {PREFERRED: [THEIRS]}}}, {"nodeAffinity": {PREFERRED: [THEIRS]}}),
    ],
)
def test_terms_are_added_to_whatever_is_there(affinity: Json, kept: Json) -> None:
    patched = apply({"spec": affinity}, make_patch({"spec": affinity}, TERMS))["spec"]["affinity"]
    preferred = patched["nodeAffinity"].pop(PREFERRED)
    before = (kept.get("nodeAffinity") or {}).get(PREFERRED, [])
    assert preferred == [*before, *TERMS]
    assert {key: value for key, value in patched.items() if value} == {
        key: found
        for key, value in kept.items()
        if (found := {k: v for k, v in value.items() if k != PREFERRED})
    }


def test_what_is_there_already_is_not_added_again() -> None:
    pod = {"spec": {PATH[0]: {PATH[1]: {PATH[2]: list(TERMS)}}}}
    assert make_patch(pod, TERMS) == ()
    assert make_patch({"spec": {}}, ()) == ()
