"""A controller's certificates: its own, the webhooks', and those that it signs for nodes."""

import logging
import socket
import threading
from collections.abc import Callable

from csi.certificates.authority import ensure_authority, ensure_trust
from csi.certificates.places import DAYS, Places
from csi.certificates.signer import Signer
from replication.clock import Clock
from replication.errors import TrilithError, Unavailable
from replication.kubernetes.client import Client
from replication.pki import CertificateAuthority, Identity, Role
from replication.signing import is_due

LOOK = 60.0
"""Seconds between looks at the authority and at who is told of it: three requests each time."""

START_INTERVAL = 1.0

log = logging.getLogger(__name__)


def open_keeper(client: Client, namespace: str, clock: Clock, is_over: Callable[[], bool]) -> "Keeper | None":
    """As soon as the API server answers; None when it is over before that.

    FailedPrecondition when what is there is no authority.
    """
    told = ""
    while not is_over():
        try:
            return Keeper(client, namespace, clock)
        except Unavailable as error:
            if str(error) != told:
                told = str(error)
                log.warning("waiting for the cluster's authority: %s", told)
        clock.sleep(START_INTERVAL)
    return None


class Keeper:
    """Made when a controller starts; `run` in every one of them, leader or not. Threads may share it."""

    def __init__(self, client: Client, namespace: str, clock: Clock, name: str = "") -> None:
        """Unavailable or FailedPrecondition when there is no authority and none can be made."""
        self._client = client
        self._places = Places(namespace)
        self._clock = clock
        self._name = name or socket.gethostname().lower()
        self._lock = threading.Lock()
        self._authority = ensure_authority(client, self._places, clock)
        self._issue()
        self._signer = Signer(client, self._places, self.read_authority, clock)

    @property
    def cluster_id(self) -> str:
        return self._authority.cluster_id

    def read_authority(self) -> CertificateAuthority:
        with self._lock:
            return self._authority

    def read_control(self) -> Identity:
        """What this controller shows to nodes. Of now: it is renewed."""
        with self._lock:
            return self._control

    def read_webhook(self) -> Identity:
        """What its webhooks show to the API server. Of now: it is renewed."""
        with self._lock:
            return self._webhook

    def run(self, stop: threading.Event) -> None:
        signing = threading.Thread(target=self._signer.run, args=(stop,), name="signer", daemon=True)
        signing.start()
        self.look()
        while not stop.wait(LOOK):
            self.look()
        signing.join()

    def look(self) -> None:
        """Renew what is due, follow an authority that was replaced, tell whoever has to trust it."""
        try:
            authority = ensure_authority(self._client, self._places, self._clock)
            with self._lock:
                if authority.ca_pem != self._authority.ca_pem or self._is_due():
                    self._authority = authority
                    self._issue()
            ensure_trust(self._client, self._places, authority.ca_pem)
        except TrilithError as error:
            log.warning("certificates are not looked after: %s", error)

    def _is_due(self) -> bool:
        return any(is_due(each.certificate_pem, self._clock) for each in (self._control, self._webhook))

    def _issue(self) -> None:
        self._control = self._authority.issue(self._name, Role.CONTROL, DAYS)
        self._webhook = self._authority.issue_server(self._places.webhook, DAYS)
