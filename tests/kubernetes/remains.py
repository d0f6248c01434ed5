"""What tests leave in the API server, and its removal."""

from contextlib import suppress

from csi.certificates.places import REQUESTS, WEBHOOK_CONFIGURATIONS, Places
from csi.operator.resources import DISK_POOLS, STORAGE_POOLS
from replication.control.store import eventlog
from replication.control.store.resources import (
    CLUSTERS,
    CORDONS,
    NODES,
    POOLS,
    SETTINGS,
    VOLUME_NAMES,
    VOLUMES,
)
from replication.errors import NotFound
from replication.kubernetes.access import Json
from replication.kubernetes.client import Client

CLASSES = ("storageclasses", "volumeattributesclasses")
OURS = (
    *(f"/apis/storage.k8s.io/v1/{plural}" for plural in CLASSES),
    DISK_POOLS,
    CLUSTERS,
    VOLUMES,
    VOLUME_NAMES,
    *(resource.path for resource in (NODES, POOLS, CORDONS, SETTINGS)),
)


def remove_everything(client: Client, namespace: str) -> None:
    """By a user who may: finalizers do not keep it."""
    leases = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    pods = f"/api/v1/namespaces/{namespace}/pods"
    events = [f"/api/v1/namespaces/{place}/events" for place in (eventlog.NAMESPACE, namespace)]
    for found in client.get(STORAGE_POOLS)["items"]:
        place = f"{STORAGE_POOLS.rpartition('/')[0]}/namespaces/{found['metadata']['namespace']}/storagepools"
        _remove(client, f"{place}/{found['metadata']['name']}", found)
    for path in (*OURS, leases, *events, "/api/v1/nodes", REQUESTS):
        for found in client.get(path)["items"]:
            _remove(client, f"{path}/{found['metadata']['name']}", found)
    for found in client.get(pods)["items"]:
        with suppress(NotFound):  # no kubelet will say that it has ended
            client.delete(f"{pods}/{found['metadata']['name']}", grace_seconds=0)
    places = Places(namespace)
    for path in (places.secret, places.config_map, *WEBHOOK_CONFIGURATIONS):
        with suppress(NotFound):
            client.delete(path)


def _remove(client: Client, path: str, found: Json) -> None:
    with suppress(NotFound):
        if found["metadata"].get("finalizers"):
            client.patch(path, [{"op": "remove", "path": "/metadata/finalizers"}])
        client.delete(path, grace_seconds=0)  # no kubelet says that a pod has ended
