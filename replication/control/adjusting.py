"""Running arrays, and records, are kept as the settings want them, whatever agents remember."""

from dataclasses import replace
from functools import partial

from replication.control.executor import Executor
from replication.control.rebuild import choose_tuning
from replication.control.records import Records
from replication.control.repair import Plan
from replication.control.settings import find_minimum
from replication.control.survey import Survey
from replication.model import ArrayReport, Attachment, Volume
from replication.tuning import Tuning


def plan_minimums(records: Records, survey: Survey) -> Plan:
    """Of volumes whose record says another number of replicas that writes need: it holds at the next loss."""
    wanted = {v.id: find_minimum(v, survey.policies[v.pool]) for v in survey.volumes.values()}
    return {
        ("minimum", v.id): partial(records.change, v.id, partial(_set_minimum, wanted[v.id]))
        for v in survey.volumes.values()
        if v.min_in_sync != wanted[v.id]
    }


def _set_minimum(count: int, volume: Volume) -> Volume:
    return replace(volume, min_in_sync=count)


def plan_tunings(executor: Executor, survey: Survey) -> Plan:
    """Of arrays that are not as wanted; what does not fit yet is asked for again."""
    wanted = {v.id: choose_tuning(v, survey.policies[v.pool]) for v in survey.volumes.values()}
    return {
        ("tune", v.id): partial(executor.tune, v, wanted[v.id])
        for v in survey.volumes.values()
        if _differs(v, survey, wanted[v.id])
    }


def _differs(volume: Volume, survey: Survey, wanted: Tuning) -> bool:
    facts = survey.facts.get(str(volume.consumer))
    if volume.attachment is not Attachment.ATTACHED or facts is None:
        return False
    return any(_is_of(array, volume) and array.tuning != wanted for array in facts.arrays)


def _is_of(array: ArrayReport, volume: Volume) -> bool:
    return (array.volume_id, array.epoch) == (volume.id, volume.epoch)
