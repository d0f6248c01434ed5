"""Tokens of pods, as the kubelet asks for them: bound to a pod, which is bound to a node."""

import ssl
from contextlib import suppress

from hack.kubernetes.plane import ControlPlane
from replication.errors import AlreadyExists
from replication.kubernetes.access import Access, Json
from replication.kubernetes.client import Client


class PodsOfNodes:
    """What the chart's DaemonSet would have on each node. Nobody runs them."""

    def __init__(self, plane: ControlPlane, admin: Client, namespace: str, account: str) -> None:
        self._plane = plane
        self._admin = admin
        self._path = f"/api/v1/namespaces/{namespace}"
        self._account = account

    def read_token(self, node: str) -> str:
        """Of the pod on `node`; both are made when they are not there."""
        pod = self._ensure_pod(node)
        bound = {key: pod[key] for key in ("apiVersion", "kind")}
        bound |= {key: pod["metadata"][key] for key in ("name", "uid")}
        wanted = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"boundObjectRef": bound},
        }
        made = self._admin.create(f"{self._path}/serviceaccounts/{self._account}/token", wanted)
        return str(made["status"]["token"])

    def connect(self, node: str) -> Client:
        token = self.read_token(node)
        trust = ssl.create_default_context(cafile=str(self._plane.ca_file))
        return Client(Access(self._plane.server, trust, lambda: token))

    def _ensure_pod(self, node: str) -> Json:
        with suppress(AlreadyExists):
            self._admin.create("/api/v1/nodes", {"metadata": {"name": node}})
        container = {"name": "agent", "image": "localhost/trilith:0"}
        spec = {"nodeName": node, "serviceAccountName": self._account, "containers": [container]}
        with suppress(AlreadyExists):
            self._admin.create(f"{self._path}/pods", {"metadata": {"name": f"node-{node}"}, "spec": spec})
        return self._admin.get(f"{self._path}/pods/node-{node}")
