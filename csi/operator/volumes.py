"""The statuses of Volumes, kept in step with their records and with what the nodes say."""

import logging
import threading

from csi.operator.describing import Look, describe, is_transient
from csi.operator.statuses import Statuses
from replication.clock import Clock
from replication.control.control import Control
from replication.control.settings import DEFAULTS
from replication.control.store.resources import VOLUMES
from replication.control.survey import Survey
from replication.errors import TrilithError
from replication.kubernetes.client import Client
from replication.model import ArrayReport, Versioned

INTERVAL = 1.0
SETTLED_SECONDS = 3.0  # what is over sooner is not told
PAGE = "500"

logger = logging.getLogger(__name__)


class VolumeStatuses:
    """Of one term as leader. Of each volume it looks at what is new: its record, or the whole survey."""

    def __init__(self, control: Control, client: Client, clock: Clock, statuses: Statuses) -> None:
        self._control = control
        self._client = client
        self._clock = clock
        self._statuses = statuses
        self._newest: Survey | None = None
        self._survey: Survey | None = None  # that was looked at last
        self._reports: dict[str, tuple[ArrayReport, ...]] = {}
        self._versions: dict[str, int] = {}  # of the records when it was
        self._told: dict[str, Versioned] = {}  # by id, what its status is about
        self._unsettled: dict[str, float] = {}  # since when

    def note(self, survey: Survey) -> None:
        """From any thread."""
        self._newest = survey

    def run(self, stop: threading.Event) -> None:
        learned = False
        while not stop.wait(INTERVAL):
            try:
                learned = learned or self._learn()
                self._look()
            except TrilithError as error:
                logger.warning("statuses of volumes wait: %s", error)

    def _learn(self) -> bool:
        """What they are now: asked once, since only we write them."""
        query = {"limit": PAGE}
        while True:
            page = self._client.get(VOLUMES, **query)
            for item in page["items"]:
                metadata = item["metadata"]
                self._statuses.learn(_path(metadata["name"]), item.get("status") or {}, metadata["uid"])
            if not page["metadata"].get("continue"):
                return True
            query["continue"] = page["metadata"]["continue"]

    def _look(self) -> None:
        newest = self._newest
        if newest is None:
            return
        found = {each.volume.id: each for each in self._control.store.list_volumes()}
        everything = newest is not self._survey
        if everything:
            self._survey, self._reports = newest, _by_volume(newest)
            self._statuses.keep(map(_path, found), f"{VOLUMES}/")
        for volume_id, record in found.items():
            if (everything or self._told.get(volume_id) is not record) and self._is_settled(record):
                later = everything and self._versions.get(volume_id) == record.version
                self._tell(record, newest, later=later)
        if everything:
            self._versions = {key: record.version for key, record in found.items()}
            self._told = {key: record for key, record in self._told.items() if key in found}
            self._unsettled = {key: since for key, since in self._unsettled.items() if key in found}

    def _is_settled(self, record: Versioned) -> bool:
        """Attaching and the like are told when they last: most are over before anybody looks."""
        if not is_transient(record.volume):
            self._unsettled.pop(record.volume.id, None)
            return True
        now = self._clock.now()
        return now - self._unsettled.setdefault(record.volume.id, now) >= SETTLED_SECONDS

    def _tell(self, record: Versioned, survey: Survey, *, later: bool) -> None:
        volume = record.volume
        policy, reports = survey.policies.get(volume.pool, DEFAULTS), self._reports.get(volume.id, ())
        look = Look(survey.facts, reports, policy, later)
        told = describe(volume, look)
        path = _path(volume.id)
        known = self._statuses.get(path).get("health")
        self._statuses.offer(path, told.status, told.conditions, urgent=known != told.status.get("health"))
        self._told[volume.id] = record


def _by_volume(survey: Survey) -> dict[str, tuple[ArrayReport, ...]]:
    found: dict[str, tuple[ArrayReport, ...]] = {}
    for facts in survey.facts.values():
        for report in facts.arrays:
            found[report.volume_id] = (*found.get(report.volume_id, ()), report)
    return found


def _path(volume_id: str) -> str:
    return f"{VOLUMES}/{volume_id}"
