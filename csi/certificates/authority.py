"""The cluster's authority, in a Secret: made by whichever controller is there first, read by all others."""

import base64
import binascii
import secrets

from csi.certificates.places import CERTIFICATE, KEY, NAME, TRUST, WEBHOOK_CONFIGURATIONS, Places
from replication.clock import Clock
from replication.control.store.resources import CLUSTER_NAME, CLUSTERS
from replication.errors import AlreadyExists, FailedPrecondition, NotFound, TrilithError
from replication.kubernetes.access import Json
from replication.kubernetes.client import Client
from replication.pki import CertificateAuthority

_REMEDY = "restore it, or delete it: then a new authority is made, and nodes ask for new certificates"


def ensure_authority(client: Client, places: Places, clock: Clock) -> CertificateAuthority:
    """FailedPrecondition when what is there is none."""
    try:
        return read_authority(client, places, clock)
    except NotFound:
        made = CertificateAuthority.make(_find_cluster_id(client), clock=clock)
    try:
        client.create(places.secrets, _to_secret(made))
    except AlreadyExists:
        return read_authority(client, places, clock)
    return made


def read_authority(client: Client, places: Places, clock: Clock) -> CertificateAuthority:
    """NotFound, or FailedPrecondition."""
    found, what = client.get(places.secret), f"Secret {places.namespace}/{NAME}"
    try:
        ca_pem, key_pem = (base64.b64decode(found["data"][key], validate=True) for key in (CERTIFICATE, KEY))
        return CertificateAuthority.parse(ca_pem, key_pem, what, clock=clock)
    except (KeyError, TypeError, binascii.Error) as error:
        raise FailedPrecondition(f"{what} is not an authority: {error!r}; {_REMEDY}") from error
    except TrilithError as error:
        raise FailedPrecondition(f"{error}; {_REMEDY}") from error


def ensure_trust(client: Client, places: Places, ca_pem: bytes) -> None:
    """Everybody may read whom to trust, and the API server trusts our webhooks. Repeatable."""
    _ensure_config_map(client, places, {TRUST: ca_pem.decode()})
    for path in WEBHOOK_CONFIGURATIONS:
        _ensure_bundle(client, path, base64.b64encode(ca_pem).decode())


def _find_cluster_id(client: Client) -> str:
    """That of the records, if there are any: an authority that was lost is made anew for the same cluster."""
    try:
        return str(client.get(f"{CLUSTERS}/{CLUSTER_NAME}")["spec"]["cluster"])
    except NotFound:
        return f"trilith-{secrets.token_hex(4)}"


def _to_secret(authority: CertificateAuthority) -> Json:
    pems = {CERTIFICATE: authority.ca_pem, KEY: authority.key_pem}
    data = {key: base64.b64encode(pem).decode() for key, pem in pems.items()}
    metadata = {"name": NAME, "labels": {"app.kubernetes.io/name": "trilith"}}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": "kubernetes.io/tls",
        "data": data,
    }


def _ensure_config_map(client: Client, places: Places, data: dict[str, str]) -> None:
    metadata = {"name": NAME, "labels": {"app.kubernetes.io/name": "trilith"}}
    try:
        found = client.get(places.config_map)
    except NotFound:
        new = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
        client.create(places.config_maps, new)
        return
    if found.get("data") != data:
        client.patch(places.config_map, [{"op": "add", "path": "/data", "value": data}])


def _ensure_bundle(client: Client, path: str, bundle: str) -> None:
    """Of every webhook; one patch for all, of the configuration as it was read."""
    try:
        found = client.get(path)
    except NotFound:  # an installation without webhooks
        return
    stale = [
        number
        for number, hook in enumerate(found.get("webhooks", ()))
        if hook["clientConfig"].get("caBundle") != bundle
    ]
    if stale:
        version = found["metadata"]["resourceVersion"]
        same = {"op": "test", "path": "/metadata/resourceVersion", "value": version}
        client.patch(path, [same, *(_set_bundle(number, bundle) for number in stale)])


def _set_bundle(number: int, bundle: str) -> Json:
    return {"op": "add", "path": f"/webhooks/{number}/clientConfig/caBundle", "value": bundle}
