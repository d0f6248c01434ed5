"""Claims that the API server refuses by itself: what CreateVolume would refuse, in the same words."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from csi.admission.pods import BETA_CLASS
from csi.claims import ANNOTATION, ANNOTATIONS, Policy, judge, parse_claim
from hack.kubernetes.manifests import path_of
from replication.clock import SystemClock, wait_until
from replication.errors import InvalidRequest
from replication.kubernetes.access import Json
from replication.kubernetes.client import Client
from tests.kubernetes.admission_stand import CLAIMS, CLASSES, Stand, list_admission, shopping

EFFECTIVE_SECONDS = 30.0
NAME = "claims.trilith.io"
OURS = "trilith-nvme"
POD = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "0"}
KINDS: list[Json] = [
    {},
    *({"annotations": {annotation: "true"}} for annotation in ANNOTATIONS),
    {"annotations": {ANNOTATION: "yes"}},
    {"annotations": {"example.com/accept-ephemeral-storage": "true"}},
    {"ownerReferences": [{**POD, "controller": True}]},
    {"ownerReferences": [{**POD, "controller": False}]},
    {"ownerReferences": [POD]},
    {"ownerReferences": [{**POD, "apiVersion": "apps/v1", "kind": "StatefulSet", "controller": True}]},
]
"""Metadata of claims: accepted or not, pods' own or not."""


@pytest.fixture
def stand(admin: Client) -> Iterator[Stand]:
    with shopping(admin) as shop:
        shop.make_class(OURS, pool="nvme")
        shop.make_class("other", "csi.example.com")
        yield shop


@pytest.mark.parametrize("policy", [Policy.WITH_ANNOTATION, Policy.NEVER])
def test_the_api_server_refuses_what_createvolume_would(stand: Stand, policy: Policy) -> None:
    with in_force(stand, policy):
        for number, metadata in enumerate(KINDS):
            name = f"data-{number}"
            claim = parse_claim({"metadata": metadata})
            wanted = find_words(partial(judge, policy, claim, f"claim shop/{name}"))
            said = find_words(partial(stand.make_claim, name, OURS, **metadata))
            assert wanted in said, metadata
            assert bool(wanted) is bool(said), metadata


def test_the_class_is_the_one_that_kubernetes_takes(stand: Stand) -> None:
    with in_force(stand, Policy.WITH_ANNOTATION):
        stand.make_claim("theirs", "other")
        stand.make_claim("early", "trilith-later")
        stand.make_claim("by-hand", "")
        stand.make_claim("beta-theirs", OURS, annotations={BETA_CLASS: "other"})
        with pytest.raises(InvalidRequest, match="claim shop/beta: its data does not survive"):
            stand.make_claim("beta", "other", annotations={BETA_CLASS: OURS})


def test_a_claim_that_names_no_class_is_of_the_default_one(stand: Stand) -> None:
    marked = {"storageclass.kubernetes.io/is-default-class": "true"}
    with in_force(stand, Policy.WITH_ANNOTATION):
        stand.admin.patch(
            f"{CLASSES}/{OURS}", [{"op": "add", "path": "/metadata/annotations", "value": marked}]
        )
        wait_for(
            lambda: "claim shop/plain-" in find_words(lambda: make_plain(stand, generateName="plain-")),
            "the default is known",
        )


def test_a_claim_whose_name_is_made_up_is_called_by_it(stand: Stand) -> None:
    with in_force(stand, Policy.WITH_ANNOTATION), pytest.raises(InvalidRequest, match="claim shop/data-"):
        make_plain(stand, OURS, generateName="data-")


def test_an_installation_that_takes_all_has_no_policy() -> None:
    named = {each["metadata"]["name"] for each in list_admission("claims=Always")}
    assert NAME not in named
    assert "storagepools.trilith.io" in named


@contextmanager
def in_force(stand: Stand, policy: Policy) -> Iterator[None]:
    """The policy, as the chart has it; no controller runs."""
    documents = [each for each in list_admission(f"claims={policy}") if each["metadata"]["name"] == NAME]
    for document in documents:
        stand.admin.apply(path_of(document), document)
    refusal = find_words(partial(judge, policy, parse_claim({"metadata": {}}), "")).removeprefix(": ")
    try:
        wait_for(lambda: refusal in ask(stand), "the policy in force")
        yield
    finally:
        for document in documents:
            stand.admin.delete(path_of(document))
        wait_for(lambda: not ask(stand), "no policy")


def ask(stand: Stand) -> str:
    """What is said of a claim that is made for this; if it gets by it is removed in the end."""
    return find_words(lambda: make_plain(stand, OURS, generateName="probe-"))


def wait_for(condition: Callable[[], bool], what: str) -> None:
    wait_until(condition, what, timeout=EFFECTIVE_SECONDS, clock=SystemClock())


def find_words(act: Callable[[], object]) -> str:
    """Of its refusal; "" without one."""
    try:
        act()
    except InvalidRequest as refusal:
        return str(refusal)
    return ""


def make_plain(stand: Stand, storage_class: str | None = None, **metadata: Any) -> Json:  # noqa: ANN401
    spec: Json = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    if storage_class is not None:
        spec["storageClassName"] = storage_class
    return stand.admin.create(CLAIMS, {"kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec})
