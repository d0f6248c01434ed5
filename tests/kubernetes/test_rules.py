"""The accounts have no right that they do not use: each was used by a test before this one, the last."""

from pathlib import Path

import pytest

from hack.helm.chart import list_rules
from replication.kubernetes.access import Json
from tests.kubernetes.audit import Right, read_used
from tests.kubernetes.conftest import NAMESPACE

UPSTREAM = "trilith-sidecars"  # rules of other projects' programs, which do not run here
UNSEEN = {Right("approve", "certificates.k8s.io", "signers"), Right("sign", "certificates.k8s.io", "signers")}
"""Asked by the API server itself, when a request is approved or signed: no request of its own."""


@pytest.mark.parametrize("account", ["trilith-control", "trilith-node"])
def test_every_right_is_used(audit: Path, account: str) -> None:
    used = read_used(audit, f"system:serviceaccount:{NAMESPACE}:{account}")
    given = list_rights(list_rules(), account)
    assert given
    assert sorted(given - used - UNSEEN) == []


def list_rights(documents: list[Json], account: str) -> set[Right]:
    """By all roles that are bound to it."""
    roles = {(each["kind"], each["metadata"]["name"]): each for each in documents if "rules" in each}
    bound = [
        roles[each["roleRef"]["kind"], each["roleRef"]["name"]]
        for each in documents
        if each["kind"].endswith("Binding") and any(one["name"] == account for one in each["subjects"])
    ]
    return {
        Right(verb, group, resource)
        for role in bound
        if role["metadata"]["name"] != UPSTREAM
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
