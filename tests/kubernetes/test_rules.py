"""The accounts have no right that they do not use: each was used by a test before this one, the last."""

from pathlib import Path

import pytest

from hack.helm.chart import render
from replication.kubernetes.access import Json
from tests.kubernetes.audit import WATCHED, Right, find_used
from tests.kubernetes.conftest import NAMESPACE

UPSTREAM = "trilith-sidecars"  # rules of other projects' programs, which do not run here
UNSEEN = {
    Right(verb, "certificates.k8s.io", "signers", name="trilith.io/agent") for verb in ("approve", "sign")
}
"""Asked by the API server itself, when a request is approved or signed: no request of its own."""


@pytest.mark.parametrize("account", WATCHED)
def test_every_right_is_used(audit: Path, account: str) -> None:
    given = list_rights(render("uninstall.removeEverything=true"), account)
    assert given
    used = find_used(given, audit, f"system:serviceaccount:{NAMESPACE}:{account}")
    assert sorted(given - used - UNSEEN) == []


def list_rights(documents: list[Json], account: str) -> set[Right]:
    """By all roles that are bound to it."""
    roles = {(each["kind"], each["metadata"]["name"]): each for each in documents if "rules" in each}
    bound = [
        (roles[each["roleRef"]["kind"], each["roleRef"]["name"]], each["metadata"].get("namespace", ""))
        for each in documents
        if each["kind"].endswith("Binding")
        and any(one["name"] == account for one in each.get("subjects", ()))
    ]
    return {
        Right(verb, group, resource, namespace, name)
        for role, namespace in bound
        if role["metadata"]["name"] != UPSTREAM
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [""])
    }
