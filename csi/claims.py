"""Whether a claim may be met: what lies on local disks goes when the machines of all replicas are.

Admission asks the same question earlier and with a better answer; it can be down or gone round, so it is
asked again here, before anything is made. csi-provisioner tells whose claim it is when it runs with
--extra-create-metadata; what else there is to know of it, Kubernetes tells.
"""

import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from os import environ
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from replication.errors import FailedPrecondition, InvalidRequest, NotFound, Unavailable

NAME, NAMESPACE = "csi.storage.k8s.io/pvc/name", "csi.storage.k8s.io/pvc/namespace"
ANNOTATION = "trilith.io/accept-ephemeral-storage"
ANNOTATIONS = (
    ANNOTATION,
    "acstor.azure.com/accept-ephemeral-storage",
    "localdisk.csi.acstor.io/accept-ephemeral-storage",
)
"""Ours, and those of the products that users come from."""

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TIMEOUT = 5.0


class Policy(StrEnum):
    """Which claims are met, beside those of generic ephemeral volumes."""

    ALWAYS = "Always"
    WITH_ANNOTATION = "WithAnnotation"
    NEVER = "Never"


@dataclass(frozen=True, slots=True)
class Claim:
    """A PersistentVolumeClaim."""

    ephemeral: bool  # it belongs to a pod, and goes with it
    accepted: bool  # its owner has said that its data may go


class Claims(Protocol):
    """Where claims are looked up."""

    def get(self, namespace: str, name: str) -> Claim:
        """NotFound, or Unavailable."""


CheckClaim = Callable[[Mapping[str, str]], None]
"""Raises when the parameters of a CreateVolume are of a claim that is not to be met."""


def admit_all(parameters: Mapping[str, str]) -> None:
    """Outside of Kubernetes there are no claims."""


def make_check(policy: Policy, claims: Claims) -> CheckClaim:
    def check(parameters: Mapping[str, str]) -> None:
        namespace, name = parameters.get(NAMESPACE, ""), parameters.get(NAME, "")
        if not namespace or not name:
            raise InvalidRequest(
                f"parameters {NAMESPACE!r} and {NAME!r}: missing: with claims {policy}, csi-provisioner has "
                f"to run with --extra-create-metadata"
            )
        judge(policy, find_claim(claims, namespace, name), f"claim {namespace}/{name}")

    return admit_all if policy is Policy.ALWAYS else check


def find_claim(claims: Claims, namespace: str, name: str) -> Claim:
    """A claim that is gone needs no volume."""
    try:
        return claims.get(namespace, name)
    except NotFound as error:
        raise InvalidRequest(str(error)) from error


def judge(policy: Policy, claim: Claim, what: str) -> None:
    """InvalidRequest says what to add."""
    if policy is Policy.ALWAYS or claim.ephemeral:
        return
    if policy is Policy.NEVER:
        raise InvalidRequest(
            f"{what}: this installation takes no claims for local disks (claims: {policy}); use a generic "
            f"ephemeral volume in the pod"
        )
    if not claim.accepted:
        raise InvalidRequest(
            f"{what}: its data does not survive when the machines of all replicas are given back; to accept "
            f'that, add the annotation {ANNOTATION}: "true" to the claim'
        )


def parse_claim(text: bytes) -> Claim:
    return read_claim(json.loads(text))


def read_claim(found: Mapping[str, Any]) -> Claim:
    """As the Kubernetes API gives it."""
    metadata = found["metadata"]
    owners, annotations = metadata.get("ownerReferences") or [], metadata.get("annotations") or {}
    return Claim(
        ephemeral=any(owner.get("kind") == "Pod" and owner.get("controller") for owner in owners),
        accepted=any(annotations.get(key) == "true" for key in ANNOTATIONS),
    )


class KubernetesClaims:
    """Asked of the API server, one connection for a question: claims are made seldom."""

    def __init__(self, connect: Callable[[], HTTPConnection], read_token: Callable[[], str]) -> None:
        self._connect = connect
        self._read_token = read_token

    def get(self, namespace: str, name: str) -> Claim:
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/persistentvolumeclaims/{quote(name, safe='')}"
        what = f"claim {namespace}/{name}"
        try:
            status, body = self._ask(path)
            if status == 200:
                return parse_claim(body)
        except (OSError, HTTPException, ValueError, KeyError, AttributeError) as error:
            raise Unavailable(f"{what}: Kubernetes cannot be asked: {error}") from error
        raise _refusal(status, what)

    def _ask(self, path: str) -> tuple[int, bytes]:
        connection = self._connect()
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {self._read_token()}"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


def _refusal(status: int, what: str) -> NotFound | FailedPrecondition | Unavailable:
    if status == 404:
        return NotFound(f"{what}: there is no such claim")
    if status in {401, 403}:
        return FailedPrecondition(
            f"{what}: this plugin's account may not get persistentvolumeclaims ({status})"
        )
    return Unavailable(f"{what}: Kubernetes answers with status {status}")


def in_cluster() -> KubernetesClaims:
    """With the account of the pod that this runs in. FailedPrecondition outside of a pod."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (ACCOUNT / "ca.crt").exists():
        raise FailedPrecondition("claims can be looked up only in a pod with a service account")
    trust = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))

    def connect() -> HTTPConnection:
        return HTTPSConnection(host, int(port), timeout=TIMEOUT, context=trust)

    return KubernetesClaims(connect, (ACCOUNT / "token").read_text)
