"""What admission reads of the API's objects."""

import base64
import json

import pytest

from csi.admission.classes import review_storage_class
from csi.admission.known import (
    DEFAULT,
    KnownClass,
    KnownDiskPool,
    choose_default,
    parse_class,
    parse_disk_pool,
    parse_pool,
)
from csi.admission.pods import class_of
from csi.admission.quantity import parse_quantity
from csi.admission.review import Review, Verdict, parse_review, to_answer
from replication.errors import DataLoss, InvalidRequest
from replication.kubernetes.access import Json


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("5", 5),
        ("10Gi", 10 << 30),
        ("1.5Gi", 3 << 29),
        ("3k", 3000),
        ("3e9", 3 * 10**9),
        ("2E", 2 * 10**18),
        ("1Ei", 1 << 60),
        ("500m", 1),
        ("1E3", 1000),
        (7, 7),
        ("", 0),
        ("10GB", 0),
        (None, 0),
    ],
)
def test_a_quantity_is_read_as_kubernetes_means_it(text: object, value: int) -> None:
    assert parse_quantity(text) == value


def asked(**request: object) -> bytes:
    message = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    return json.dumps(message).encode()


def test_a_review_is_read() -> None:
    body = asked(uid="u", operation="DELETE", name="n", object=None, oldObject={"a": 1})
    assert parse_review(body) == Review("u", "DELETE", namespace="", name="n", old={"a": 1})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"\xff",
        b"{}",
        asked(uid="u"),
        asked(uid="u", operation="CREATE", object=[1]),
        asked().replace(b"k8s.io/v1", b"k8s.io/v2"),
        b'{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": null}',
    ],
)
def test_what_is_no_review_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse_review(body)


def test_an_answer_names_its_question() -> None:
    review = Review("u1", "CREATE", "shop", "data")
    assert json.loads(to_answer(review, Verdict()))["response"] == {"uid": "u1", "allowed": True}
    refused = json.loads(to_answer(review, Verdict("no")))["response"]
    assert (refused["allowed"], refused["status"]["message"]) == (False, "no")
    step = {"op": "add", "path": "/spec", "value": {}}
    patched = json.loads(to_answer(review, Verdict(patch=(step,), warnings=("mind",))))["response"]
    assert json.loads(base64.b64decode(patched["patch"])) == [step]
    assert (patched["allowed"], patched["patchType"], patched["warnings"]) == (True, "JSONPatch", ["mind"])


@pytest.mark.parametrize(
    ("metadata", "spec", "name"),
    [
        ({}, {}, ""),
        ({}, {"storageClassName": ""}, ""),
        ({}, {"storageClassName": "a"}, "a"),
        ({"annotations": {"volume.beta.kubernetes.io/storage-class": "b"}}, {"storageClassName": "a"}, "b"),
        ({"annotations": {"volume.beta.kubernetes.io/storage-class": ""}}, {"storageClassName": "a"}, ""),
    ],
)
def test_the_class_of_a_claim(metadata: Json, spec: Json, name: str) -> None:
    assert class_of({"metadata": metadata, "spec": spec}) == name


def test_a_class_is_read() -> None:
    found = {"metadata": {"name": "a"}, "provisioner": "csi.example.com"}
    assert parse_class(found) == KnownClass("a", ours=False)
    metadata = {"name": "b", "annotations": {DEFAULT: "true"}, "creationTimestamp": "2026"}
    found = {"metadata": metadata, "provisioner": "csi.trilith.io", "parameters": {"pool": "p"}}
    assert parse_class(found) == KnownClass("b", ours=True, pool="p", default_since="2026")
    for said, meant in (("true", True), ("false", False)):
        found["parameters"] = {"hyperconverged": said}
        assert parse_class(found).hyperconverged is meant


def test_of_several_default_classes_the_newest_is_it() -> None:
    classes = [
        KnownClass("c", ours=True, default_since="2"),
        KnownClass("a", ours=True, default_since="2"),
        KnownClass("old", ours=True, default_since="1"),
        KnownClass("none", ours=True),
    ]
    chosen = choose_default(classes)
    assert chosen is not None
    assert chosen.name == "a"
    assert choose_default([KnownClass("none", ours=True)]) is None


def test_pools_are_read() -> None:
    assert parse_pool({"metadata": {"name": "p"}}).hyperconverged is False
    assert parse_pool({"metadata": {"name": "p"}, "spec": {"hyperconverged": True}}).hyperconverged is True
    found: Json = {"metadata": {"name": "p-n"}, "spec": {"pool": "p", "node": "n"}}
    assert parse_disk_pool(found) == KnownDiskPool("p", "n", ready=False, room_bytes=0)
    conditions = [{"type": "Other", "status": "False"}, {"type": "Ready", "status": "True"}]
    found["status"] = {"available": 3, "reserved": 4, "conditions": conditions}
    assert parse_disk_pool(found) == KnownDiskPool("p", "n", ready=True, room_bytes=7)
    with pytest.raises(DataLoss, match="DiskPool p-n"):
        parse_disk_pool({"metadata": {"name": "p-n"}})


def test_what_may_become_right_is_a_warning() -> None:
    new: Json = {"parameters": {"pool": "later"}, "volumeBindingMode": "Immediate"}
    review = Review("u", "CREATE", "", "fast", new)
    verdict = review_storage_class(review, set[str]().__contains__)
    assert verdict.refusal == ""
    assert len(verdict.warnings) == 2
    assert "there is no StoragePool 'later' yet" in verdict.warnings[0]
    assert "Immediate" in verdict.warnings[1]
    new["volumeBindingMode"] = "WaitForFirstConsumer"
    assert review_storage_class(review, {"later"}.__contains__) == Verdict()
