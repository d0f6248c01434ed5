"""Whose request is signed, as a function of what the API server says of it."""

import base64
from dataclasses import replace

import pytest

from csi.certificates.judging import NODE_EXTRA, Next, Request, choose_next, judge, parse_object
from csi.certificates.places import SIGNER, Places
from replication.errors import DataLoss, Unauthenticated
from replication.kubernetes.access import Json
from replication.pki import Holder, Role
from replication.signing import make_request

PLACES = Places("storage")
OURS = "system:serviceaccount:storage:trilith-node"
M1 = Holder(Role.NODE, "m1")
REQUEST = Request(
    "r1", "7", SIGNER, OURS, ("m1",), make_request(M1)[1], approved=False, refused=False, signed=False
)


def test_an_agent_gets_the_certificate_of_its_node() -> None:
    assert judge(REQUEST, PLACES).holder == M1


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (
            replace(REQUEST, user="system:serviceaccount:default:trilith-node"),
            "is not system:serviceaccount:storage",
        ),
        (replace(REQUEST, user=""), "only agents"),
        (replace(REQUEST, nodes=()), "not bound to a pod"),
        (replace(REQUEST, nodes=("m1", "m2")), "not bound to a pod"),
        (replace(REQUEST, nodes=("m2",)), "asked for node:m1 by a pod on node m2"),
        (replace(REQUEST, pem=make_request(Holder(Role.CONTROL, "m1"))[1]), "asked for control:m1"),
        (replace(REQUEST, pem=b"junk"), "not a request"),
    ],
)
def test_whoever_else_asks_is_told_why_not(wrong: Request, why: str) -> None:
    with pytest.raises(Unauthenticated, match=why):
        judge(wrong, PLACES)


@pytest.mark.parametrize("approved", [False, True])
@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("signer", [SIGNER, "kubernetes.io/kubelet-serving"])
def test_what_a_request_still_needs(*, approved: bool, refused: bool, signed: bool, signer: str) -> None:
    request = replace(REQUEST, approved=approved, refused=refused, signed=signed, signer=signer)
    if signer != SIGNER or refused or signed:
        assert choose_next(request) is Next.NOTHING
    else:
        assert choose_next(request) is (Next.SIGNATURE if approved else Next.JUDGEMENT)


def make_object(**status: object) -> Json:
    """As the API server gives it."""
    spec = {
        "signerName": SIGNER,
        "request": base64.b64encode(REQUEST.pem).decode(),
        "username": OURS,
        "extra": {NODE_EXTRA: ["m1"], "authentication.kubernetes.io/pod-name": ["p"]},
    }
    return {"metadata": {"name": "r1", "resourceVersion": "7"}, "spec": spec, "status": status}


def test_the_api_servers_object_is_parsed_whole() -> None:
    assert parse_object(make_object()) == REQUEST
    conditions = [{"type": "Approved", "status": "True"}]
    assert parse_object(make_object(conditions=conditions)) == replace(REQUEST, approved=True)
    assert parse_object(make_object(conditions=[{"type": "Failed"}])) == replace(REQUEST, refused=True)
    assert parse_object(make_object(certificate="eA==")) == replace(REQUEST, signed=True)


@pytest.mark.parametrize(
    "broken", [{}, {"metadata": {"name": "r1", "resourceVersion": "7"}, "spec": {"request": 1}}]
)
def test_what_is_no_request_is_named(broken: Json) -> None:
    with pytest.raises(DataLoss, match="CertificateSigningRequest"):
        parse_object(broken)
