"""Which rights were used, as tests of whole clusters read it from roles and an audit log."""

import json

from replication.kubernetes.access import Json
from tests.kubernetes.rights import Right, find_used, list_asked, list_rights

USER = "system:serviceaccount:trilith:control"
STORAGE = "storage.k8s.io"


def role(name: str, *rules: Json, namespace: str = "") -> list[Json]:
    """And its binding to the account `control`."""
    kind = "Role" if namespace else "ClusterRole"
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    reference = {"kind": kind, "name": name}
    subjects = [{"kind": "ServiceAccount", "name": "control"}]
    return [
        {"kind": kind, "metadata": metadata, "rules": list(rules)},
        {"kind": f"{kind}Binding", "metadata": metadata, "roleRef": reference, "subjects": subjects},
    ]


def rule(group: str, resource: str, *verbs: str, **more: list[str]) -> Json:
    return {"apiGroups": [group], "resources": [resource], "verbs": list(verbs), **more}


def event(
    verb: str, resource: str, *, agent: str = "csi-attacher/v4.12.0 (linux/amd64)", **more: Json
) -> str:
    """A line of the log, as kube-apiserver 1.35 writes it, without what nobody reads."""
    reference = {"resource": resource, "apiVersion": "v1", **more.get("reference", {})}
    found = {
        "user": {"username": USER},
        "verb": verb,
        "userAgent": agent,
        "requestURI": "/apis/x",
        "objectRef": reference,
        "annotations": {"authorization.k8s.io/decision": "allow"},
    }
    return json.dumps({**found, **more.get("event", {})})


def test_a_roles_rights_are_those_of_its_binding() -> None:
    documents = [
        *role("wide", rule("", "nodes", "get", "list")),
        *role("narrow", rule("", "secrets", "get", resourceNames=["a", "b"]), namespace="trilith"),
        {"kind": "Service", "metadata": {"name": "wide"}},
    ]
    assert list_rights(documents, "control") == {
        Right("get", "", "nodes"),
        Right("list", "", "nodes"),
        Right("get", "", "secrets", "trilith", "a"),
        Right("get", "", "secrets", "trilith", "b"),
    }
    assert list_rights(documents, "somebody") == set()


def test_what_was_asked_for_is_of_one_account_and_was_allowed() -> None:
    lines = [
        event("patch", "volumeattachments", reference={"apiGroup": STORAGE, "subresource": "status"}),
        event("get", "nodes", event={"user": {"username": "somebody"}}),
        event("list", "nodes", event={"annotations": {"authorization.k8s.io/decision": "forbid"}}),
    ]
    assert list_asked(lines, USER) == {Right("patch", STORAGE, "volumeattachments/status")}


def test_what_others_asked_for_with_the_same_account_can_be_left_out() -> None:
    lines = [event("watch", "nodes"), event("get", "nodes", agent="trilith")]
    assert list_asked(lines, USER, {"csi-attacher"}) == {Right("watch", "", "nodes")}
    assert len(list_asked(lines, USER)) == 2


def test_an_apply_asks_to_make_the_object_as_well() -> None:
    lines = [event("patch", "configmaps", event={"requestURI": "/x?fieldManager=trilith&force=true"})]
    assert list_asked(lines, USER) == {Right("patch", "", "configmaps"), Right("create", "", "configmaps")}


def test_a_path_that_is_no_objects_asks_for_nothing() -> None:
    line = json.loads(event("get", "nodes"))
    del line["objectRef"]
    assert list_asked([json.dumps(line)], USER) == set()


def test_the_narrowest_right_that_allows_it_was_used() -> None:
    everywhere, here = Right("get", "", "leases"), Right("get", "", "leases", "trilith")
    named = Right("get", "", "leases", "trilith", "leader")
    given = {everywhere, here, named, Right("update", "", "leases")}
    assert find_used(given, [Right("get", "", "leases", "trilith", "leader")]) == {named}
    assert find_used(given, [Right("get", "", "leases", "trilith", "other")]) == {here}
    assert find_used(given, [Right("get", "", "leases", "default", "leader")]) == {everywhere}
    assert find_used(given, [Right("delete", "", "leases", "trilith", "leader")]) == set()
