"""Which requests the API server was asked, and allowed: by its own audit log."""

import json
from dataclasses import dataclass
from pathlib import Path

import yaml

WATCHED = ("trilith-control", "trilith-node")
"""Accounts whose requests are logged."""


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """What RBAC gives: one verb on one resource of one group."""

    verb: str
    group: str
    resource: str  # with its subresource, as in pods/status


def write_policy(folder: Path, namespace: str) -> tuple[str, ...]:
    """The API server's options. A watch goes on: that it started is enough."""
    users = [f"system:serviceaccount:{namespace}:{name}" for name in WATCHED]
    policy = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata", "users": users}, {"level": "None"}],
    }
    (folder / "policy.yaml").write_text(yaml.safe_dump(policy))
    return (f"--audit-policy-file={folder / 'policy.yaml'}", f"--audit-log-path={folder / 'audit.log'}")


def read_used(folder: Path, user: str) -> set[Right]:
    """What `user` asked for, and was allowed."""
    lines = (folder / "audit.log").read_text().splitlines()
    return {
        right
        for event in map(json.loads, lines)
        if event["user"]["username"] == user and "objectRef" in event and _is_allowed(event)
        for right in _list_rights(event)
    }


def _is_allowed(event: dict[str, dict[str, str]]) -> bool:
    return event["annotations"]["authorization.k8s.io/decision"] == "allow"


def _list_rights(event: dict[str, dict[str, str]]) -> list[Right]:
    """An apply is logged as a patch; where it makes the object, the right to create it is looked at, too."""
    found = event["objectRef"]
    part = f"/{found['subresource']}" if "subresource" in found else ""
    verbs = [str(event["verb"]), *(["create"] if "fieldManager=" in event["requestURI"] else [])]
    return [Right(verb, found.get("apiGroup", ""), f"{found['resource']}{part}") for verb in verbs]
