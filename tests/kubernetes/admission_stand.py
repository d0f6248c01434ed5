"""Admission as it is installed, on loopback, and what a cluster has for it to look at."""

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from csi.admission.admission import Admission, Options
from hack.helm.chart import render
from hack.kubernetes.manifests import path_of
from hack.kubernetes.pki import Authority
from hack.kubernetes.plane import ControlPlane
from replication.clock import SystemClock, wait_until
from replication.errors import AlreadyExists, NotFound, TrilithError
from replication.kubernetes.access import Json, read_kubeconfig
from replication.kubernetes.client import Client
from replication.model import Volume
from replication.pki import Identity
from tests.kubernetes.conftest import ACCOUNT, NAMESPACE
from tests.kubernetes.patience import patiently

SHOP = "shop"
CLAIMS = f"/api/v1/namespaces/{SHOP}/persistentvolumeclaims"
PODS = f"/api/v1/namespaces/{SHOP}/pods"
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
ATTRIBUTES = "/apis/storage.k8s.io/v1/volumeattributesclasses"
POOLS = f"/apis/trilith.io/v1alpha1/namespaces/{NAMESPACE}/storagepools"
DISK_POOLS = "/apis/trilith.io/v1alpha1/diskpools"
ADMISSION = {
    "MutatingWebhookConfiguration",
    "Service",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration",
}
WEBHOOKS = {"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"}
EFFECTIVE_SECONDS = 30.0


@dataclass
class Stand:
    """What a test does by hand, as an administrator."""

    admin: Client
    volumes: list[Volume]  # what the records say

    def make(self, path: str, kind: str, name: str, **fields: object) -> Json:
        return self.admin.create(path, {"kind": kind, "metadata": {"name": name}, **fields})

    def make_class(self, name: str, provisioner: str = "csi.trilith.io", **parameters: str) -> Json:
        return self.make(CLASSES, "StorageClass", name, provisioner=provisioner, parameters=parameters)

    def make_claim(self, name: str, class_name: str, **metadata: object) -> Json:
        spec = {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": class_name,
            "resources": {"requests": {"storage": "1Gi"}},
        }
        wanted = {"kind": "PersistentVolumeClaim", "metadata": {"name": name, **metadata}, "spec": spec}
        return self.admin.create(CLAIMS, wanted)

    def make_pod(self, name: str, *volumes: Json, **spec: object) -> Json:
        """As it was stored; `volumes` without their names."""
        named = [{"name": f"v{number}", **volume} for number, volume in enumerate(volumes)]
        containers = [{"name": "main", "image": "none"}]
        return self.make(PODS, "Pod", name, spec={"containers": containers, "volumes": named, **spec})

    def make_pool(self, name: str, namespace: str = NAMESPACE, **spec: object) -> Json:
        wanted = {"apiVersion": "trilith.io/v1alpha1", "kind": "StoragePool", "spec": spec}
        path = POOLS.replace(f"/{NAMESPACE}/", f"/{namespace}/")
        return self.admin.create(path, {**wanted, "metadata": {"name": name}})

    def make_disk_pool(self, pool: str, node: str, available: int, status: str = "True") -> None:
        name = f"{pool}-{node}"
        wanted = {"apiVersion": "trilith.io/v1alpha1", "kind": "DiskPool", "metadata": {"name": name}}
        self.admin.create(DISK_POOLS, {**wanted, "spec": {"pool": pool, "node": node}})
        words = {"reason": "Told", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        conditions = [{"type": "Ready", "status": status, **words}]
        told = {"available": available, "conditions": conditions}
        self.admin.patch(f"{DISK_POOLS}/{name}/status", [{"op": "add", "path": "/status", "value": told}])

    def bind(self, claim: str, handle: str, driver: str = "csi.trilith.io") -> None:
        """As the provisioner and Kubernetes' controller would."""
        spec = {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "csi": {"driver": driver, "volumeHandle": handle},
        }
        self.make("/api/v1/persistentvolumes", "PersistentVolume", f"pv-{claim}", spec=spec)
        step = {"op": "add", "path": "/spec/volumeName", "value": f"pv-{claim}"}
        self.admin.patch(f"{CLAIMS}/{claim}", [step])


@contextmanager
def shopping(admin: Client) -> Iterator[Stand]:
    """A namespace for claims and pods, emptied in the end."""
    with suppress(AlreadyExists):
        admin.create("/api/v1/namespaces", {"kind": "Namespace", "metadata": {"name": SHOP}})
        account = {"kind": "ServiceAccount", "metadata": {"name": "default"}}  # nobody makes it here
        admin.create(f"/api/v1/namespaces/{SHOP}/serviceaccounts", account)
    try:
        yield Stand(admin, [])
    finally:
        patiently(lambda: _remove_all(admin))


def _remove_all(admin: Client) -> None:
    for path in (PODS, CLAIMS, "/api/v1/persistentvolumes", CLASSES, ATTRIBUTES, POOLS, DISK_POOLS):
        for found in admin.get(path)["items"]:
            place = f"{path}/{found['metadata']['name']}"
            with suppress(NotFound):
                if found["metadata"].get("finalizers"):
                    admin.patch(place, [{"op": "remove", "path": "/metadata/finalizers"}])
                admin.delete(place)


class Serving:
    """Admission in a thread, with the rights of the account that it is installed with."""

    def __init__(self, plane: ControlPlane, volumes: list[Volume]) -> None:
        self.identity = issue()
        access = read_kubeconfig(plane.kubeconfig(ACCOUNT))
        options = Options(NAMESPACE, ("127.0.0.1", 0))
        self.admission = Admission(
            access, options, lambda: tuple(volumes), lambda: self.identity, SystemClock()
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.admission.run, args=(self._stop,))
        self._thread.start()

    def end(self) -> None:
        self._stop.set()
        self._thread.join()


@contextmanager
def admitting(plane: ControlPlane, volumes: list[Volume], *settings: str) -> Iterator[Serving]:
    """And the API server asks it; `settings` of the chart."""
    serving = Serving(plane, volumes)
    admin = Client(read_kubeconfig(plane.admin_kubeconfig))
    try:
        with registered(admin, serving.admission.port, serving.identity.ca_pem, *settings):
            yield serving
    finally:
        serving.end()
        admin.close()


def issue() -> Identity:
    authority = Authority()
    pair = authority.issue_server(("127.0.0.1",), ())
    return Identity(authority.certificate, pair.certificate, pair.key)


@contextmanager
def registered(admin: Client, port: int, ca_pem: bytes, *settings: str) -> Iterator[None]:
    """As the chart has it, with an address instead of a Service: until it is in force, and then not."""
    documents = [to_url(document, port, ca_pem) for document in list_admission(*settings)]
    for document in documents:
        admin.apply(path_of(document), document)
    try:
        wait_until(
            lambda: _is_asked(admin), "webhooks are asked", timeout=EFFECTIVE_SECONDS, clock=SystemClock()
        )
        yield
    finally:
        for document in documents:
            admin.delete(path_of(document))


def list_admission(*settings: str) -> list[Json]:
    return [each for each in render(*settings, hooks=False) if each["kind"] in ADMISSION]


def to_url(document: Json, port: int, ca_pem: bytes) -> Json:
    if document["kind"] not in WEBHOOKS:
        return document
    trust = base64.b64encode(ca_pem).decode()
    for webhook in document["webhooks"]:
        path = webhook["clientConfig"]["service"]["path"]
        webhook["clientConfig"] = {"url": f"https://127.0.0.1:{port}{path}", "caBundle": trust}
    return document


def _is_asked(admin: Client) -> bool:
    """The server takes up each of its configurations by itself."""
    wanted = {"kind": "StorageClass", "metadata": {"name": "probe"}, "provisioner": "csi.trilith.io"}
    pool = {"apiVersion": "trilith.io/v1alpha1", "kind": "StoragePool", "metadata": {"name": "p" * 64}}
    return _is_refused(admin, CLASSES, wanted) and _is_refused(admin, POOLS, pool)


def _is_refused(admin: Client, path: str, wanted: Json) -> bool:
    try:
        admin.create(path, wanted)
    except TrilithError as error:
        return "trilith.io" in str(error)
    admin.delete(f"{path}/{wanted['metadata']['name']}")
    return False
