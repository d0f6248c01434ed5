"""Admission: every question of the API server to whom it is for. Each controller answers, leader or not."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from csi.admission.classes import review_attributes_class, review_storage_class
from csi.admission.known import Known
from csi.admission.pods import ListVolumes, Pods
from csi.admission.pools import review_deletion
from csi.admission.review import Review, Verdict, parse_review, to_answer
from csi.admission.server import ANYWHERE, ReadIdentity, WebhookServer
from replication.clock import Clock
from replication.errors import NotFound
from replication.kubernetes.access import Access
from replication.kubernetes.client import Client

ANSWER_SECONDS = 0.8  # for each look-up: the API server waits for 2 s, and a pod that has many can do without

Reviewer = Callable[[Review], Verdict]


@dataclass(frozen=True, slots=True)
class Options:
    """What an installation says."""

    namespace: str  # where pools are
    address: tuple[str, int] = (ANYWHERE, 9443)


class Admission:
    """`run` serves until it is told to stop. The chart's admission.yaml says what is asked, and where."""

    def __init__(
        self,
        access: Access,
        options: Options,
        list_volumes: ListVolumes,
        read_identity: ReadIdentity,
        clock: Clock,
    ) -> None:
        """OSError when the address is taken."""
        self._client = Client(access)
        self._quick = Client(access, ANSWER_SECONDS)
        self._known = Known(self._client, options.namespace, clock)
        self._reviewers: dict[str, Reviewer] = {
            "/pods": Pods(self._quick, self._known, list_volumes).review,
            "/storageclasses": partial(review_storage_class, has_pool=self._has_pool),
            "/volumeattributesclasses": review_attributes_class,
            "/storagepools": partial(review_deletion, list_volumes=list_volumes),
        }
        self._server = WebhookServer(options.address, read_identity, self.answer, clock)

    @property
    def port(self) -> int:
        return self._server.port

    def run(self, stop: threading.Event) -> None:
        self._known.start()
        self._server.run(stop)
        self._known.close()
        self._client.close()
        self._quick.close()

    def answer(self, path: str, body: bytes) -> bytes:
        """The API server adds `?timeout=2s`."""
        reviewer = self._reviewers.get(path.partition("?")[0])
        if reviewer is None:
            raise NotFound(f"{path}: must be one of {', '.join(self._reviewers)}")
        review = parse_review(body)
        return to_answer(review, reviewer(review))

    def _has_pool(self, name: str) -> bool:
        return self._known.find_pool(name) is not None
