"""AdmissionReview, admission.k8s.io/v1: what the API server asks, and what it is answered."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from replication.errors import InvalidRequest
from replication.kubernetes.access import Json

API_VERSION, KIND = "admission.k8s.io/v1", "AdmissionReview"

Step = Mapping[str, object]
"""Of a JSON patch (RFC 6902)."""


@dataclass(frozen=True, slots=True)
class Review:
    """Something that is about to be written; what is deleted is in `old`."""

    uid: str
    operation: str  # CREATE, UPDATE, DELETE
    namespace: str  # "" for what is in none
    name: str  # "" when the server is to make one up
    new: Json = field(default_factory=dict)
    old: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Nothing said: let it through as it is."""

    refusal: str = ""  # for people
    patch: tuple[Step, ...] = ()
    warnings: tuple[str, ...] = ()  # kubectl prints them


ADMITTED = Verdict()


def parse_review(body: bytes) -> Review:
    """InvalidRequest when it is none."""
    try:
        message = json.loads(body)
        if (message["apiVersion"], message["kind"]) != (API_VERSION, KIND):
            raise InvalidRequest(f"{message['apiVersion']} {message['kind']}: must be {API_VERSION} {KIND}")
        request = message["request"]
        return Review(
            uid=str(request["uid"]),
            operation=str(request["operation"]),
            namespace=str(request.get("namespace") or ""),
            name=str(request.get("name") or ""),
            new=_object(request, "object"),
            old=_object(request, "oldObject"),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidRequest(f"not an {KIND}: {error!r}") from error


def to_answer(review: Review, verdict: Verdict) -> bytes:
    response: Json = {"uid": review.uid, "allowed": not verdict.refusal}
    if verdict.refusal:
        response["status"] = {"message": verdict.refusal, "code": 422, "reason": "Invalid"}
    if verdict.patch:
        response |= {"patchType": "JSONPatch", "patch": base64.b64encode(_dump(verdict.patch)).decode()}
    if verdict.warnings:
        response["warnings"] = list(verdict.warnings)
    return _dump({"apiVersion": API_VERSION, "kind": KIND, "response": response})


def _object(request: Json, key: str) -> Json:
    found = request.get(key) or {}
    if not isinstance(found, dict):
        raise InvalidRequest(f"{key} is not an object")
    return found


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
