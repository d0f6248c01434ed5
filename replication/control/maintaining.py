"""Volumes that nobody uses are attached by us while they lack replicas, and detached again."""

from functools import partial

from replication.control.records import Records
from replication.control.repair import Plan
from replication.control.replacing import Replacing
from replication.control.survey import Survey
from replication.control.upkeep import QUIET_SECONDS, Sight, choose_consumer, has_work
from replication.control.volumes import Volumes
from replication.model import Attachment, Volume


class Maintaining:
    """Remembers since when volumes are without a user."""

    def __init__(self, records: Records, volumes: Volumes, replacing: Replacing) -> None:
        self._records = records
        self._volumes = volumes
        self._replacing = replacing
        self._quiet: dict[str, float] = {}

    def plan(self, survey: Survey) -> Plan:
        """After Replacing.plan of the same survey, which finds out who is away."""
        volumes = survey.volumes.values()
        unused = [v.id for v in volumes if v.attachment is Attachment.DETACHED]
        self._quiet = {key: self._quiet.get(key, survey.time) for key in unused}
        plan: Plan = {}
        for volume in volumes:
            if volume.upkeep and volume.attachment is Attachment.ATTACHED:
                if self._is_over(volume, survey):
                    plan["end-upkeep", volume.id] = partial(self._volumes.end_upkeep, volume.id)
            elif volume.id in self._quiet and self._is_due(volume, survey):
                plan["upkeep", volume.id] = partial(self._begin, volume, survey)
        return plan

    def _is_due(self, volume: Volume, survey: Survey) -> bool:
        return survey.time - self._quiet[volume.id] >= QUIET_SECONDS and self._has_work(volume, survey)

    def _is_over(self, volume: Volume, survey: Survey) -> bool:
        """Nothing to do, or its array is gone with its node."""
        facts = survey.facts.get(str(volume.consumer))
        wanted = (volume.id, volume.epoch)
        runs = facts is not None and any((a.volume_id, a.epoch) == wanted for a in facts.arrays)
        return not runs or not self._has_work(volume, survey)

    def _has_work(self, volume: Volume, survey: Survey) -> bool:
        pool = self._records.store.get_pool(volume.pool)
        absent = {key: found.why for key, found in self._replacing.list_absent(volume).items()}
        overdue = self._replacing.list_overdue(volume, survey)
        return has_work(volume, pool, Sight(survey.facts, survey.places, absent, overdue))

    def _begin(self, volume: Volume, survey: Survey) -> None:
        """Where the most recent records say that there is room for one more copy."""
        volumes = [found.volume for found in self._records.store.list_volumes()]
        limit = survey.policies[volume.pool].rebuilds_per_node
        node = choose_consumer(volume, volumes, survey.facts, limit)
        if node is not None:
            self._volumes.begin_upkeep(volume.id, node)
