"""A node's certificate: asked for by the node itself, renewed while everything goes on.

Its key is made here and never leaves the node. What is in the folder is used as long as it is good: a node
whose agent starts anew needs neither controllers nor the API server.
"""

import base64
import logging
import random
import threading
from pathlib import Path

from csi.certificates.places import DAYS, REQUESTS, SIGNER, TRUST, Places
from replication.clock import Clock
from replication.errors import NotFound, TrilithError, Unauthenticated, Unavailable
from replication.kubernetes.access import Json
from replication.kubernetes.client import Client
from replication.pki import Holder, Identity, Role, check_identity, holder_of, read_identity, write_identity
from replication.signing import is_due, make_request

ANSWER_SECONDS = 600.0  # for a controller to sign; then it is asked anew
INTERVAL = 1.0
RENEWAL_LOOK = 300.0
"""Seconds between looks at whether it is due, and whether the authority is another: one request."""

log = logging.getLogger(__name__)


class Asker:
    """Of one node, for the folder that its agent and node plugin read."""

    def __init__(self, client: Client, places: Places, node: str, folder: Path, clock: Clock) -> None:
        self._client = client
        self._places = places
        self._holder = Holder(Role.NODE, node)
        self._folder = folder
        self._clock = clock

    def wait(self, stop: threading.Event) -> bool:
        """Until there is a good certificate; True then, False when `stop` was set before."""
        told = ""
        while not stop.is_set():
            try:
                self.ensure()
            except Unauthenticated:
                raise
            except TrilithError as error:
                if str(error) != told:
                    told = str(error)
                    log.warning("%s has no certificate yet: %s", self._holder, told)
                stop.wait(INTERVAL)
            else:
                return True
        return False

    def run(self, stop: threading.Event) -> None:
        """Renew it in time. Not all nodes at once. A folder that takes nothing now may do so next time."""
        while not stop.wait(RENEWAL_LOOK * random.uniform(0.8, 1.2)):  # noqa: S311 - to spread load
            try:
                self.ensure()
            except (TrilithError, OSError) as error:
                log.warning("the certificate of %s is not looked after: %s", self._holder, error)

    def ensure(self) -> bool:
        """Whether a new one was asked for. Unavailable when nobody signs; Unauthenticated when refused."""
        found = self._find()
        if found is not None and not self._is_doubtful(found):
            return False
        write_identity(self._folder, self._ask(), overwrite=True)
        log.info("%s has a certificate for %d days", self._holder, DAYS)
        return True

    def _find(self) -> Identity | None:
        """What is in the folder, if it can be used at all."""
        try:
            identity = read_identity(self._folder, clock=self._clock)
            return identity if holder_of(identity.certificate_pem) == self._holder else None
        except TrilithError:
            return None

    def _is_doubtful(self, found: Identity) -> bool:
        """Due, or of an authority that is another now. Believed while the API server cannot be asked."""
        if is_due(found.certificate_pem, self._clock):
            return True
        try:
            return self._read_trust() != found.ca_pem
        except Unavailable as error:
            log.warning("whom to trust is not known for certain: %s", error)
            return False

    def _read_trust(self) -> bytes:
        """Unavailable until a controller has said it."""
        try:
            return str(self._client.get(self._places.config_map)["data"][TRUST]).encode()
        except (NotFound, KeyError) as error:
            raise Unavailable(
                f"ConfigMap {self._places.config_map}: no controller has made it yet"
            ) from error

    def _ask(self) -> Identity:
        ca_pem, (key_pem, request_pem) = self._read_trust(), make_request(self._holder)
        made = self._client.create(REQUESTS, make_object(self._holder, request_pem))
        certificate = self._wait_signed(made["metadata"]["name"])
        identity = Identity(ca_pem, certificate, key_pem)
        check_identity(identity, where="what was signed", clock=self._clock)
        return identity

    def _wait_signed(self, name: str) -> bytes:
        deadline = self._clock.now() + ANSWER_SECONDS
        while self._clock.now() < deadline:
            certificate = _find_certificate(self._client.get(f"{REQUESTS}/{name}"))
            if certificate is not None:
                return certificate
            self._clock.sleep(INTERVAL)
        raise Unavailable(f"CertificateSigningRequest {name}: no controller has signed it")


def make_object(holder: Holder, request_pem: bytes) -> Json:
    spec = {
        "signerName": SIGNER,
        "request": base64.b64encode(request_pem).decode(),
        "usages": ["digital signature", "server auth", "client auth"],
        "expirationSeconds": DAYS * 86400,
    }
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"generateName": f"trilith-{holder.name}-"},
        "spec": spec,
    }


def _find_certificate(found: Json) -> bytes | None:
    """Unauthenticated, with the reason, when it was refused."""
    status = found.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition["type"] in {"Denied", "Failed"}:
            name = found["metadata"]["name"]
            raise Unauthenticated(
                f"CertificateSigningRequest {name}: refused: {condition.get('message', '')}"
            )
    certificate = status.get("certificate")
    return None if certificate is None else base64.b64decode(certificate)
