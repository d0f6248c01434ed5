"""YAML documents put into an API server, as `kubectl apply` does."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from hack.lab.errors import LabError
from replication.clock import SystemClock, wait_until
from replication.errors import NotFound, Unavailable
from replication.kubernetes.access import Json
from replication.kubernetes.client import Client

_PLURALS = {
    "CSIDriver": "csidrivers",
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "CustomResourceDefinition": "customresourcedefinitions",
    "DaemonSet": "daemonsets",
    "Deployment": "deployments",
    "Job": "jobs",
    "MutatingWebhookConfiguration": "mutatingwebhookconfigurations",
    "Namespace": "namespaces",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "Service": "services",
    "ServiceAccount": "serviceaccounts",
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
    "ValidatingWebhookConfiguration": "validatingwebhookconfigurations",
}
_SERVED_SECONDS = 60.0


def apply_manifests(client: Client, *paths: Path) -> None:
    """Every document of these files, and of those in these folders."""
    files = [file for path in paths for file in (sorted(path.rglob("*.yaml")) if path.is_dir() else [path])]
    apply_documents(client, [document for file in files for document in yaml.safe_load_all(file.read_text())])


def apply_documents(client: Client, documents: Sequence[Json]) -> None:
    """Kinds that they define can be used when this returns."""
    for document in documents:
        client.apply(path_of(document), document)
    for document in documents:
        if document["kind"] == "CustomResourceDefinition":
            _wait_until_served(client, document["spec"])


def path_of(document: Json) -> str:
    """Of the object in the API."""
    kind, metadata = document["kind"], document["metadata"]
    if kind not in _PLURALS:
        raise LabError(f"{kind} {metadata['name']}: its plural is not known here")
    version = document["apiVersion"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    place = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
    return f"{root}{place}/{_PLURALS[kind]}/{metadata['name']}"


def _wait_until_served(client: Client, definition: Json) -> None:
    """By asking for them: the server says that a kind is established before it can answer."""
    served = [each["name"] for each in definition["versions"] if each["served"]]
    paths = [f"/apis/{definition['group']}/{version}/{definition['names']['plural']}" for version in served]

    def is_served() -> bool:
        try:
            for path in paths:
                client.get(path, limit="1")
        except (NotFound, Unavailable):
            return False
        return True

    wait_until(is_served, f"{paths} served", timeout=_SERVED_SECONDS, clock=SystemClock())
