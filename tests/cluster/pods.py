"""Pods and claims as users write them, and waiting for what becomes of them."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from csi.claims import ANNOTATION
from hack.kubernetes.images import BUSYBOX
from hack.kubernetes.kubectl import Kubectl
from hack.lab.cluster import Cluster as Machines
from replication.clock import SystemClock, wait_until
from replication.errors import NotFound
from replication.kubernetes.client import Client

Json = dict[str, Any]

POOL = "nvme"
STORAGE_CLASS = f"trilith-{POOL}"
PATH = "/data"
DEVICE = "/dev/data"
PATIENCE = 300.0
"""Seconds; under software emulation a pod takes ten, and a busy machine five times as long."""

_CLOCK = SystemClock()
_ENDED = ("Succeeded", "Failed")
_FOREVER = "trap exit TERM; sleep 2000000000 & wait"


@dataclass(frozen=True, slots=True)
class Cluster:
    """One namespace of a cluster, asked quickly, and by kubectl where users do."""

    client: Client
    kubectl: Kubectl
    machines: Machines
    namespace: str = "default"

    def apply(self, *documents: Json) -> None:
        self.kubectl.apply(*documents)

    def get(self, kind: str, name: str) -> Json:
        return self.client.get(f"{self._path(kind)}/{name}")

    def list(self, kind: str) -> list[Json]:
        items: list[Json] = self.client.get(self._path(kind))["items"]
        return items

    def delete(self, kind: str, name: str) -> None:
        """And wait until it is gone."""
        self.client.delete(f"{self._path(kind)}/{name}")
        self.wait(lambda: self.is_gone(kind, name), f"{kind} {name} gone")

    def end(self, pod: str, timeout: float = PATIENCE) -> None:
        """Its containers are told to end, and it stays, with what they said."""
        path = f"{self._path('pods')}/{pod}"
        self.client.patch(path, [{"op": "add", "path": "/spec/activeDeadlineSeconds", "value": 1}])
        self.wait(
            lambda: self.get("pods", pod)["status"]["phase"] in _ENDED, f"the end of pod {pod}", timeout
        )

    def is_gone(self, kind: str, name: str) -> bool:
        try:
            self.get(kind, name)
        except NotFound:
            return True
        return False

    def wait(self, condition: Callable[[], bool], what: str, timeout: float = PATIENCE) -> None:
        wait_until(condition, what, timeout=timeout, clock=_CLOCK, interval=0.2)

    def wait_for_condition(self, pod: str, kind: str = "Ready", timeout: float = PATIENCE) -> None:
        self.wait(lambda: is_so(self.get("pods", pod), kind), f"pod {pod} {kind}", timeout)

    def wait_for_all_ready(self, count: int, timeout: float = PATIENCE) -> None:
        """So many pods, and no others."""
        self.wait(
            lambda: [is_so(pod, "Ready") for pod in self.list("pods")] == [True] * count,
            f"{count} pods Ready",
            timeout,
        )

    def clean(self) -> None:
        """No pod and no claim of a test is left, and nothing that was made for them."""
        for kind in ("statefulsets", "pods", "persistentvolumeclaims"):
            for each in self.list(kind):
                with suppress(NotFound):
                    self.client.delete(f"{self._path(kind)}/{each['metadata']['name']}")
        for kind in ("pods", "persistentvolumeclaims", "persistentvolumes", "volumeattachments", "volumes"):
            self.wait(lambda kind=kind: self.list(kind) == [], f"no {kind}")  # type: ignore[misc]

    def run(self, pod: str, command: str) -> str:
        """A line for the shell in the pod: what it printed."""
        return self.kubectl.run("exec", "-n", self.namespace, pod, "--", "sh", "-c", command)

    def _path(self, kind: str) -> str:
        if kind in _CLUSTER_WIDE:
            return f"{_CLUSTER_WIDE[kind]}/{kind}"
        group = "apis/apps/v1" if kind == "statefulsets" else "api/v1"
        return f"/{group}/namespaces/{self.namespace}/{kind}"


_CLUSTER_WIDE = {
    "persistentvolumes": "/api/v1",
    "nodes": "/api/v1",
    "volumeattachments": "/apis/storage.k8s.io/v1",
    "csinodes": "/apis/storage.k8s.io/v1",
    "customresourcedefinitions": "/apis/apiextensions.k8s.io/v1",
    "storageclasses": "/apis/storage.k8s.io/v1",
    "volumeattributesclasses": "/apis/storage.k8s.io/v1",
    "volumes": "/apis/trilith.io/v1alpha1",
}


def is_so(found: Json, kind: str) -> bool:
    """Whether an object says of itself that it is so."""
    return bool(find_condition(found, kind).get("status") == "True")


def find_condition(found: Json, kind: str) -> Json:
    """Empty when it says nothing of that."""
    conditions = found.get("status", {}).get("conditions", [])
    return next((each for each in conditions if each["type"] == kind), {})


def why_not_scheduled(cluster: Cluster, pod: str) -> str:
    return str(find_condition(cluster.get("pods", pod), "PodScheduled").get("message", ""))


def make_pod(name: str, volume: Json, *, node: str = "", block: bool = False, **spec: Any) -> Json:  # noqa: ANN401
    """It does nothing but have the volume, at PATH or as DEVICE, where it is told to run or anywhere."""
    where = {"kubernetes.io/hostname": node} if node else {}
    mounted = {"name": "data", "mountPath": PATH}
    container = {"name": "main", "image": BUSYBOX, "command": ["sh", "-c", _FOREVER]}
    use = (
        {"volumeDevices": [{"name": "data", "devicePath": DEVICE}]} if block else {"volumeMounts": [mounted]}
    )
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "nodeSelector": where,
            "containers": [{**container, **use}],
            "volumes": [{"name": "data", **volume}],
            **spec,
        },
    }


def ephemeral(storage_class: str, size: str = "64Mi", *, block: bool = False) -> Json:
    """A volume that lives as long as its pod; of a file system, or as a device."""
    mode = {"volumeMode": "Block"} if block else {}
    return {"ephemeral": {"volumeClaimTemplate": {"spec": {**claim_spec(storage_class, size), **mode}}}}


def of_claim(name: str) -> Json:
    return {"persistentVolumeClaim": {"claimName": name}}


def make_claim(name: str, storage_class: str, size: str = "64Mi", **spec: Any) -> Json:  # noqa: ANN401
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "default", "annotations": {ANNOTATION: "true"}},
        "spec": {**claim_spec(storage_class, size), **spec},
    }


def claim_spec(storage_class: str, size: str) -> Json:
    return {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": storage_class,
        "resources": {"requests": {"storage": size}},
    }


def make_set(name: str, volume: Json, *, block: bool = False) -> Json:
    """A StatefulSet of one pod, NAME-0."""
    labels = {"app": name}
    pod = make_pod(name, volume, block=block)
    spec = {
        "selector": {"matchLabels": labels},
        "serviceName": name,
        "template": {"metadata": {"labels": labels}, "spec": {**pod["spec"], "restartPolicy": "Always"}},
    }
    metadata = {"name": name, "namespace": pod["metadata"]["namespace"]}
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": spec}
