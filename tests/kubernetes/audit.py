"""Which requests the API server was asked, and allowed: by its own audit log."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

WATCHED = ("trilith-control", "trilith-node", "trilith-uninstall")
"""Accounts whose requests are logged."""


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """What RBAC gives, or somebody asks for: one verb on one resource of one group."""

    verb: str
    group: str
    resource: str  # with its subresource, as in pods/status
    namespace: str = ""  # all of them
    name: str = ""  # any

    def covers(self, asked: "Right") -> bool:
        same = (self.verb, self.group, self.resource) == (asked.verb, asked.group, asked.resource)
        return same and self.namespace in {"", asked.namespace} and self.name in {"", asked.name}


def write_policy(folder: Path, namespace: str) -> tuple[str, ...]:
    """The API server's options. A watch goes on: that it started is enough."""
    users = [f"system:serviceaccount:{namespace}:{name}" for name in WATCHED]
    policy = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata", "users": users}, {"level": "None"}],
    }
    folder.mkdir(exist_ok=True)
    (folder / "policy.yaml").write_text(yaml.safe_dump(policy))
    return (f"--audit-policy-file={folder / 'policy.yaml'}", f"--audit-log-path={folder / 'audit.log'}")


def find_used(given: Iterable[Right], folder: Path, user: str) -> set[Right]:
    """Of the rights that allow what `user` did, each time the narrowest."""
    allowing = [[right for right in given if right.covers(asked)] for asked in _read_asked(folder, user)]
    return {min(found, key=_width) for found in allowing if found}


def _width(right: Right) -> tuple[bool, bool]:
    return not right.namespace, not right.name


def _read_asked(folder: Path, user: str) -> set[Right]:
    """What `user` asked for, and was allowed, of all servers whose logs are in `folder`."""
    lines = [line for log in folder.rglob("audit.log") for line in log.read_text().splitlines()]
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
    place = (found.get("namespace", ""), found.get("name", ""))
    return [Right(verb, found.get("apiGroup", ""), f"{found['resource']}{part}", *place) for verb in verbs]
