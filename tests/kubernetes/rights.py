"""What roles allow, and which of it was asked for: by documents of a chart, and by lines of an audit log."""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from replication.kubernetes.access import Json

UPSTREAM = "trilith-sidecars"
"""The role of other projects' programs: those run in a whole cluster only (tests/cluster)."""


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


def list_rights(documents: Iterable[Json], account: str) -> set[Right]:
    """By all roles that are bound to it."""
    known = tuple(documents)
    roles = {(each["kind"], each["metadata"]["name"]): each for each in known if "rules" in each}
    bound = [
        (roles[each["roleRef"]["kind"], each["roleRef"]["name"]], each["metadata"].get("namespace", ""))
        for each in known
        if each["kind"].endswith("Binding")
        and any(one["name"] == account for one in each.get("subjects", ()))
    ]
    return {
        Right(verb, group, resource, namespace, name)
        for role, namespace in bound
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [""])
    }


def list_asked(lines: Iterable[str], user: str, programs: Collection[str] = ()) -> set[Right]:
    """What `user` asked for, and was allowed; by any program, or by `programs` only."""
    return {
        right
        for event in map(json.loads, lines)
        if event["user"]["username"] == user and "objectRef" in event and _is_allowed(event)
        if not programs or event["userAgent"].partition("/")[0] in programs
        for right in _list_rights(event)
    }


def find_used(given: Iterable[Right], asked: Iterable[Right]) -> set[Right]:
    """Of the rights that allow what was asked for, each time the narrowest."""
    rights = tuple(given)
    allowing = [[right for right in rights if right.covers(each)] for each in asked]
    return {min(found, key=_width) for found in allowing if found}


def _width(right: Right) -> tuple[bool, bool]:
    return not right.namespace, not right.name


def _is_allowed(event: Json) -> bool:
    return bool(event["annotations"]["authorization.k8s.io/decision"] == "allow")


def _list_rights(event: Json) -> list[Right]:
    """An apply is logged as a patch; where it makes the object, the right to create it is looked at, too."""
    found = event["objectRef"]
    part = f"/{found['subresource']}" if "subresource" in found else ""
    verbs = [str(event["verb"]), *(["create"] if "fieldManager=" in event["requestURI"] else [])]
    place = (found.get("namespace", ""), found.get("name", ""))
    return [Right(verb, found.get("apiGroup", ""), f"{found['resource']}{part}", *place) for verb in verbs]
