"""What is read of Kubernetes' objects."""

from typing import Any

from csi.operator.resources import AgentPod, Budget, GuardPod, parse_budget, parse_machine, parse_pod

SET = {"kind": "DaemonSet", "name": "trilith-node"}


def pod(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 (as Kubernetes has it)
    found = {
        "metadata": {"name": "p", "ownerReferences": [SET]},
        "spec": {
            "nodeName": "a",
            "containers": [
                {"name": "csi", "image": "csi"},
                {"name": "agent", "image": "i", "ports": [{"name": "agent", "containerPort": 7000}]},
            ],
        },
        "status": {"podIP": "10.0.0.1"},
    }
    return {**found, **changes}


def test_an_agent_is_known_by_its_owner_and_its_container() -> None:
    assert parse_pod(pod()) == AgentPod("a", "10.0.0.1:7000", "10.0.0.1", "i")
    stranger = {"name": "p", "ownerReferences": [{"kind": "ReplicaSet", "name": "trilith-node"}]}
    assert parse_pod(pod(metadata=stranger)) is None
    assert parse_pod(pod(metadata={"name": "p"})) is None
    assert parse_pod(pod(spec={"nodeName": "a", "containers": [{"name": "x", "image": "i"}]})) is None
    going = {"name": "p", "ownerReferences": [SET], "deletionTimestamp": "2026-01-01T00:00:00Z"}
    assert parse_pod(pod(metadata=going)) is None


def test_an_agent_is_reached_over_ipv4_and_has_no_address_before_it_runs() -> None:
    both = {"podIP": "fd00::1", "podIPs": [{"ip": "fd00::1"}, {"ip": "10.0.0.2"}]}
    found = parse_pod(pod(status=both))
    assert isinstance(found, AgentPod)
    assert found.address == "10.0.0.2:7000"
    waiting = parse_pod(pod(status={}))
    assert isinstance(waiting, AgentPod)
    assert waiting.address == ""


def test_a_port_without_a_name_is_the_agents_and_none_is_the_usual_one() -> None:
    for ports, port in (([{"containerPort": 7001}], 7001), ([], 7443)):
        spec = {"nodeName": "a", "containers": [{"name": "agent", "image": "i", "ports": ports}]}
        found = parse_pod(pod(spec=spec))
        assert isinstance(found, AgentPod)
        assert found.address == f"10.0.0.1:{port}"


def test_a_guard_that_has_ended_guards_nothing() -> None:
    labels = {"trilith.io/guard": "a"}
    metadata = {"name": "g", "labels": labels}
    assert parse_pod(pod(metadata=metadata)) == GuardPod("g", "a", ended=False)
    assert parse_pod(pod(metadata=metadata, status={"phase": "Failed"})) == GuardPod("g", "a", ended=True)
    going = {**metadata, "deletionTimestamp": "2026-01-01T00:00:00Z"}
    assert parse_pod(pod(metadata=going)) == GuardPod("g", "a", ended=True)
    static = {**metadata, "ownerReferences": [{"kind": "Node", "name": "a"}]}
    assert parse_pod(pod(metadata=static)) == GuardPod("g", "a", ended=True)


def test_a_budget_of_another_is_nobodys() -> None:
    owner = {"kind": "Node", "name": "a"}
    ours = {"name": "b", "labels": {"trilith.io/guard": "a"}, "ownerReferences": [owner]}
    assert parse_budget({"metadata": ours, "spec": {"minAvailable": 0}}) == Budget("b", "a", 0, "")
    letting = {"minAvailable": 0, "unhealthyPodEvictionPolicy": "AlwaysAllow"}
    assert parse_budget({"metadata": ours, "spec": letting}) == Budget("b", "a", 0, "", "", "AlwaysAllow")
    assert parse_budget({"metadata": {"name": "b"}, "spec": {"maxUnavailable": "50%"}}).node == ""


def test_a_node_says_whether_it_is_cordoned_and_how() -> None:
    metadata = {"name": "a", "uid": "u", "annotations": {"trilith.io/unguarded": "true"}}
    spec = {"unschedulable": True, "taints": [{"key": "x", "effect": "NoSchedule"}]}
    found = parse_machine({"metadata": metadata, "spec": spec})
    assert (found.unschedulable, found.taints, found.unguarded) == (True, frozenset({"x"}), True)
    bare = parse_machine({"metadata": {"name": "a", "uid": "u"}})
    assert (bare.unschedulable, bare.unguarded, bare.zone) == (False, False, "")
