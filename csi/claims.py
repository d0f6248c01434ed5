"""Whether a claim may be met: what lies on local disks goes when the machines of all replicas are.

The API server asks the same when a claim is made, without us: the chart's policy claims.trilith.io has
this rule and its words in CEL. A claim that was there before the policy or its class gets by; CreateVolume
asks here, before anything is made. csi-provisioner tells whose claim it is when it runs with
--extra-create-metadata; what else there is to know of it, Kubernetes tells.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol
from urllib.parse import quote

from replication.errors import InvalidRequest, NotFound, Unavailable
from replication.kubernetes.access import Json
from replication.kubernetes.client import Client

NAME, NAMESPACE = "csi.storage.k8s.io/pvc/name", "csi.storage.k8s.io/pvc/namespace"
ANNOTATION = "trilith.io/accept-ephemeral-storage"
ANNOTATIONS = (
    ANNOTATION,
    "acstor.azure.com/accept-ephemeral-storage",
    "localdisk.csi.acstor.io/accept-ephemeral-storage",
)
"""Ours, and those of the products that users come from."""


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


def parse_claim(found: Json) -> Claim:
    """As the Kubernetes API gives it."""
    metadata = found["metadata"]
    owners, annotations = metadata.get("ownerReferences") or [], metadata.get("annotations") or {}
    return Claim(
        ephemeral=any(_is_pod(owner) and owner.get("controller") is True for owner in owners),
        accepted=any(annotations.get(key) == "true" for key in ANNOTATIONS),
    )


def path_of(namespace: str, name: str) -> str:
    """Of a claim in the API."""
    return f"/api/v1/namespaces/{quote(namespace, safe='')}/persistentvolumeclaims/{quote(name, safe='')}"


class KubernetesClaims:
    """Asked of the API server each time: claims are met seldom, and what counts is how they are now."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def get(self, namespace: str, name: str) -> Claim:
        what = f"claim {namespace}/{name}"
        try:
            return parse_claim(self._client.get(path_of(namespace, name)))
        except NotFound as error:
            raise NotFound(f"{what}: there is no such claim") from error
        except Unavailable as error:
            raise Unavailable(f"{what}: {error}") from error


def _is_pod(owner: Json) -> bool:
    return (owner.get("apiVersion"), owner.get("kind")) == ("v1", "Pod")
