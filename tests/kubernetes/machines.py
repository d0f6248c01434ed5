"""Nodes and agent pods, as kubelet and the DaemonSet's controller make them, before fakes that answer."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from csi.operator.resources import GUARD
from replication.errors import AlreadyExists, NotFound
from replication.kubernetes.access import Json
from replication.kubernetes.client import Client
from tests.fakes.node import FakeCluster, FakeNode
from tests.kubernetes.conftest import NAMESPACE

NODES = "/api/v1/nodes"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
SETS = f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets"
ACCOUNTS = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
IMAGE = "trilith.example/trilith:test"


class Machines:
    """What the operator sees of a cluster's machines."""

    def __init__(self, admin: Client, fakes: FakeCluster) -> None:
        self._admin = admin
        self._owner = str(admin.create(SETS, _make_set())["metadata"]["uid"])
        self.fakes = fakes
        self._count = 0

    def add(self, name: str, labels: dict[str, str] | None = None) -> FakeNode:
        """A Node, and an agent on it."""
        if name not in self.fakes.nodes:
            self.fakes.nodes[name] = FakeNode(name=name, cluster=self.fakes)
        self.add_node(name, labels or {})
        self.add_pod(name)
        return self.fakes.node(name)

    def add_node(self, name: str, labels: dict[str, str]) -> None:
        metadata = {"name": name, "labels": {"kubernetes.io/hostname": name, **labels}}
        self._admin.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": metadata})

    def add_pod(self, name: str, address: str = "", port: int = 7443) -> str:
        """With an address of its own, unless one is given; return that."""
        self._count += 1
        address = address or f"10.0.0.{self._count}"
        pod = f"trilith-node-{self._count}"
        self._admin.create(PODS, _make_pod(pod, name, self._owner, port))
        status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
        self._admin.patch(f"{PODS}/{pod}/status", [{"op": "add", "path": "/status", "value": status}])
        return address

    def remove_pod(self, name: str) -> None:
        """Of the agent, as when it is replaced by a newer one."""
        self._remove_pods(name, "trilith-node-")

    def _remove_pods(self, name: str, prefix: str = "") -> None:
        for pod in self._admin.get(PODS)["items"]:
            if pod["spec"].get("nodeName") == name and pod["metadata"]["name"].startswith(prefix):
                self._delete(f"{PODS}/{pod['metadata']['name']}")

    def remove(self, name: str) -> None:
        """The Node and its agent are deleted, and nothing answers any more."""
        self.fakes.node(name).silent = True
        self._remove_pods(name)
        self._admin.delete(f"{NODES}/{name}")

    def change(self, name: str, path: str, value: object) -> None:
        """As `kubectl cordon`, `taint` and `label` do; None takes it away."""
        change = {"path": path, **({"op": "remove"} if value is None else {"op": "add", "value": value})}
        self._admin.patch(f"{NODES}/{name}", [change])

    def clear(self) -> None:
        for pod in self._admin.get(PODS)["items"]:
            self._delete(f"{PODS}/{pod['metadata']['name']}")
        self._admin.delete(f"{SETS}/trilith-node")
        for node in self._admin.get(NODES)["items"]:
            with suppress(NotFound):
                self._admin.delete(f"{NODES}/{node['metadata']['name']}")

    def run_guards(self) -> list[str]:
        """As kubelets do: what is bound to a node runs. Names of the nodes that have a guard."""
        found = []
        for pod in self._admin.get(PODS, labelSelector=GUARD)["items"]:
            found.append(str(pod["spec"]["nodeName"]))
            if (pod.get("status") or {}).get("phase") != "Running":
                ready = {"type": "Ready", "status": "True"}
                status = {"phase": "Running", "conditions": [ready]}
                path = f"{PODS}/{pod['metadata']['name']}/status"
                self._admin.patch(path, [{"op": "add", "path": "/status", "value": status}])
        return sorted(found)

    def lose_kubelet(self, name: str) -> None:
        """As the node lifecycle controller tells of its guard, when a node is not ready any more."""
        for pod in self._admin.get(PODS, labelSelector=GUARD)["items"]:
            if pod["spec"]["nodeName"] == name:
                unready = [{"type": "Ready", "status": "False"}]
                path = f"{PODS}/{pod['metadata']['name']}/status"
                self._admin.patch(path, [{"op": "add", "path": "/status/conditions", "value": unready}])

    def _delete(self, path: str) -> None:
        with suppress(NotFound):
            self._admin.delete(path)


@contextmanager
def machines_of(admin: Client, names: list[str], zones: dict[str, str] | None = None) -> Iterator[Machines]:
    """Nodes of these names, gone when the block ends."""
    machines = Machines(admin, FakeCluster([]))
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "trilith-node"}}
    with suppress(AlreadyExists):
        admin.create(ACCOUNTS, account)
    try:
        for name in names:
            zone = (zones or {}).get(name)
            machines.add(name, {"topology.kubernetes.io/zone": zone} if zone else {})
        yield machines
    finally:
        machines.clear()


def _make_set() -> Json:
    """kubectl looks it up before it leaves its pods alone."""
    labels = {"app": "trilith-node"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "agent", "image": IMAGE}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "trilith-node"},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }


def _make_pod(pod: str, node: str, uid: str, port: int) -> Json:
    owner = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "name": "trilith-node",
        "uid": uid,
        "controller": True,
    }
    agent = {
        "name": "agent",
        "image": IMAGE,
        "ports": [{"name": "agent", "containerPort": port}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": pod, "ownerReferences": [owner]},
        "spec": {
            "nodeName": node,
            "serviceAccountName": "trilith-node",
            "terminationGracePeriodSeconds": 0,  # no kubelet will say that it has ended
            "automountServiceAccountToken": False,
            "containers": [agent],
        },
    }
