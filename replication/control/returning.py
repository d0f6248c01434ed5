"""Volumes whose consumer has lost their array, to a boot as a rule: attached to it again, unasked.

To an orchestrator the volume has been attached all the time: after the boot it stages it, and expects a
device. A call to detach it that is done late, when the volume was found in use and kept, takes the array too.
Nobody is in a hurry yet, so that other replicas are waited for: one whose node did not lose power may hold
writes that this node's disk has forgotten, and whoever does not answer does not start.
"""

from functools import partial

from replication.control.insync import in_sync
from replication.control.lifecycle import is_in_use
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
        bereft = [volume for volume in survey.volumes.values() if _lacks_array(volume, survey)]
        self._since = {volume.id: self._since.get(volume.id, survey.time) for volume in bereft}
        return {
            ("reattach", volume.id): partial(self._volumes.reattach, volume.id)
            for volume in bereft
            if _is_due(volume, survey, survey.time - self._since[volume.id])
        }


def _lacks_array(volume: Volume, survey: Survey) -> bool:
    facts = survey.facts.get(volume.consumer or "")
    return facts is not None and is_in_use(volume) and all(a.volume_id != volume.id for a in facts.arrays)


def _is_due(volume: Volume, survey: Survey, seconds: float) -> bool:
    """Never in vain, as far as is known: the attachment would be over, and nobody makes another.

    Unless those that are wanted besides are away for so long that others are made: that begins with its end.
    """
    replicas = in_sync(volume)
    there = sum(replica.node in survey.facts for replica in replicas)
    is_late = seconds >= max(PATIENCE, survey.policies[volume.pool].replacement_delay)
    needed = 1 if is_late else min(max(1, volume.min_in_sync), len(replicas))
    return there == len(replicas) or (seconds >= PATIENCE and there >= needed)
