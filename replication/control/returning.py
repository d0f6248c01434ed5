"""Volumes of a node that lost power and came back: attached to it again, since nobody else will ask.

To an orchestrator the volume has been attached all the time: after the boot it stages it, and expects a
device. Nobody is in a hurry yet, so that other replicas are waited for: one whose node did not lose power
may hold writes that this node's disk has forgotten, and whoever does not answer does not start.
"""

from functools import partial

from replication.control.insync import in_sync
from replication.control.lifecycle import has_booted
from replication.control.repair import Plan
from replication.control.survey import Survey
from replication.control.volumes import Volumes
from replication.model import Volume

PATIENCE = 60.0  # for replicas that do not answer


class Returns:
    """Remembers since when each volume could be attached again."""

    def __init__(self, volumes: Volumes) -> None:
        self._volumes = volumes
        self._since: dict[str, float] = {}

    def plan(self, survey: Survey) -> Plan:
        booted = [volume for volume in survey.volumes.values() if _is_back(volume, survey)]
        self._since = {volume.id: self._since.get(volume.id, survey.time) for volume in booted}
        return {
            ("reattach", volume.id): partial(self._volumes.reattach, volume.id)
            for volume in booted
            if survey.time - self._since[volume.id] >= PATIENCE or _all_answer(volume, survey)
        }


def _is_back(volume: Volume, survey: Survey) -> bool:
    facts = survey.facts.get(volume.consumer or "")
    return facts is not None and has_booted(volume, facts.boot_id)


def _all_answer(volume: Volume, survey: Survey) -> bool:
    return all(replica.node in survey.facts for replica in in_sync(volume))
