"""Certificates of nodes, signed by every controller: a node must not wait for a leader."""

import base64
import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from csi.certificates.judging import Next, Request, choose_next, judge, parse_object
from csi.certificates.places import DAYS, REQUESTS, Places
from replication.clock import Clock
from replication.errors import Conflict, InvalidRequest, NotFound, TrilithError, Unauthenticated
from replication.kubernetes.access import Json
from replication.kubernetes.client import Client
from replication.kubernetes.watched import Watched
from replication.pki import CertificateAuthority
from replication.signing import Asked

LOOK = 0.5
"""Seconds between looks at what the watch has brought: no request to the API server."""

log = logging.getLogger(__name__)


class Signer:
    """Judges, approves and signs what nodes ask for."""

    def __init__(
        self, client: Client, places: Places, read_authority: Callable[[], CertificateAuthority], clock: Clock
    ) -> None:
        self._client = client
        self._places = places
        self._read_authority = read_authority
        self._requests = Watched(client, REQUESTS, parse_object, clock)
        self._trouble = ""

    def run(self, stop: threading.Event) -> None:
        try:
            while not stop.wait(LOOK):
                self._look()
        finally:
            self._requests.close()

    def _look(self) -> None:
        try:
            found = [entry.value for entry in self._requests.list()]
        except TrilithError as error:
            self._tell(str(error))
            return
        self._tell("")
        for request in found:
            if isinstance(request, Request) and choose_next(request) is not Next.NOTHING:
                self._answer(request)

    def _answer(self, request: Request) -> None:
        """What fails is tried again at the next look; another controller may have been quicker."""
        try:
            self._decide(request)
        except (Conflict, NotFound, InvalidRequest) as error:  # InvalidRequest: its version is another
            log.debug("request %s: %s", request.name, error)
        except TrilithError as error:
            self._tell(f"request {request.name} is not answered: {error}")

    def _decide(self, request: Request) -> None:
        try:
            asked = judge(request, self._places)
        except Unauthenticated as error:
            log.warning("request %s is refused: %s", request.name, error)
            self._refuse(request, str(error))
            return
        if choose_next(request) is Next.JUDGEMENT:
            text = f"{asked.holder} is asked for by its own agent"
            self._write(request, "approval", "conditions", [_condition("Approved", "BoundToNode", text)])
        else:
            self._sign(request, asked)

    def _sign(self, request: Request, asked: Asked) -> None:
        try:
            certificate = self._read_authority().sign(asked.holder, asked.key, DAYS)
        except InvalidRequest as error:
            self._refuse(request, str(error))
            return
        self._write(request, "status", "certificate", base64.b64encode(certificate).decode())
        log.info("request %s: %s has a certificate for %d days", request.name, asked.holder, DAYS)

    def _refuse(self, request: Request, why: str) -> None:
        """What somebody else has approved cannot be denied any more: it fails."""
        if choose_next(request) is Next.JUDGEMENT:
            self._write(request, "approval", "conditions", [_condition("Denied", "NotAllowed", why)])
        else:
            failed = _condition("Failed", "NotAllowed", why)
            self._write(request, "status", "conditions/-", failed)

    def _write(self, request: Request, part: str, field: str, value: object) -> None:
        """Into what was judged, and nothing that came since."""
        path = f"{REQUESTS}/{request.name}"
        same = {"op": "test", "path": "/metadata/resourceVersion", "value": request.version}
        change = {"op": "add", "path": f"/status/{field}", "value": value}
        self._requests.put(self._client.patch(f"{path}/{part}", [same, change]))

    def _tell(self, trouble: str) -> None:
        """Once, not at every look."""
        if trouble and trouble != self._trouble:
            log.warning("nodes get no certificates: %s", trouble)
        self._trouble = trouble


def _condition(kind: str, reason: str, message: str) -> Json:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "type": kind,
        "status": "True",
        "reason": reason,
        "message": message,
        "lastUpdateTime": now,
        "lastTransitionTime": now,
    }
