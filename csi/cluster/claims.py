"""Claims, looked up by the client that everything else in this process uses."""

from urllib.parse import quote

from csi.claims import Claim, read_claim
from replication.errors import NotFound
from replication.kubernetes.client import Client


class ApiClaims:
    """PersistentVolumeClaims of all namespaces."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def get(self, namespace: str, name: str) -> Claim:
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/persistentvolumeclaims/{quote(name, safe='')}"
        try:
            return read_claim(self._client.get(path))
        except NotFound as error:
            raise NotFound(f"claim {namespace}/{name}: there is no such claim") from error
