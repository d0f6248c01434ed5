"""Who gets a node's certificate: a pod of ours on that node, and nobody else.

The API server says who asks: it writes user and extra of a CertificateSigningRequest itself. A token of a pod
names the node that the pod is bound to (KEP-4193, in every cluster from 1.32 on).
"""

import base64
import binascii
from dataclasses import dataclass
from enum import Enum, auto

from csi.certificates.places import SIGNER, Places
from replication.errors import DataLoss, InvalidRequest, Unauthenticated
from replication.kubernetes.access import Json
from replication.pki import Holder, Role
from replication.signing import Asked, parse_request

NODE_EXTRA = "authentication.kubernetes.io/node-name"


@dataclass(frozen=True, slots=True)
class Request:
    """A CertificateSigningRequest."""

    name: str
    version: str  # its resourceVersion
    signer: str
    user: str
    nodes: tuple[str, ...]  # that the token of `user` is bound to: one, if any
    pem: bytes
    approved: bool
    refused: bool  # denied, or failed
    signed: bool


class Next(Enum):
    """What a request still needs."""

    NOTHING = auto()
    JUDGEMENT = auto()
    SIGNATURE = auto()


def parse_object(found: Json) -> Request:
    """DataLoss when it is none."""
    try:
        metadata, spec, status = found["metadata"], found["spec"], found.get("status") or {}
        kinds = {each["type"] for each in status.get("conditions") or ()}
        return Request(
            name=metadata["name"],
            version=metadata["resourceVersion"],
            signer=spec["signerName"],
            user=spec.get("username", ""),
            nodes=tuple((spec.get("extra") or {}).get(NODE_EXTRA) or ()),
            pem=base64.b64decode(spec["request"], validate=True),
            approved="Approved" in kinds,
            refused=bool(kinds & {"Denied", "Failed"}),
            signed=bool(status.get("certificate")),
        )
    except (KeyError, TypeError, binascii.Error) as error:
        raise DataLoss(f"a CertificateSigningRequest that is none: {error!r}") from error


def choose_next(request: Request) -> Next:
    if request.signer != SIGNER or request.refused or request.signed:
        return Next.NOTHING
    return Next.SIGNATURE if request.approved else Next.JUDGEMENT


def judge(request: Request, places: Places) -> Asked:
    """What to sign. Unauthenticated says why not, whoever may have approved it."""
    ours = places.node_account
    if request.user != ours:
        raise Unauthenticated(f"{request.user} is not {ours}: only agents get certificates of nodes")
    if len(request.nodes) != 1:
        raise Unauthenticated(
            "the token is not bound to a pod on a node: ask with the one that a pod is given"
        )
    try:
        asked = parse_request(request.pem)
    except InvalidRequest as error:
        raise Unauthenticated(str(error)) from error
    allowed = Holder(Role.NODE, request.nodes[0])
    if asked.holder != allowed:
        raise Unauthenticated(f"asked for {asked.holder} by a pod on node {allowed.name}: it is {allowed}")
    return asked
