"""Volumes that nobody uses and that lack replicas: which we attach ourselves, where, and until when. Pure.

It is an attachment like any other, of an epoch of its own, only that nobody may write and that it gives way
to whoever wants to attach the volume.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from replication.control.insync import in_sync
from replication.control.rebuild import find_facts, find_refusal, is_rebuilding, list_copies, list_staying
from replication.control.replacement import Absence, choose_new_place, lacks_replica
from replication.errors import OutOfSpace
from replication.model import Attachment, NodeFacts, Phase, Pool, Replica, ReplicaState, Volume

QUIET_SECONDS = 30.0  # somebody who has just detached a volume often attaches it again

Facts = Mapping[str, NodeFacts]


@dataclass(frozen=True, slots=True)
class Sight:
    """What is known of one volume's surroundings."""

    facts: Facts  # of nodes that answer
    places: Facts  # the same, without the disks that get no new replicas
    absent: Mapping[str, Absence]  # by replica
    overdue: Collection[str]  # replicas that are away for too long


def has_work(volume: Volume, pool: Pool, sight: Sight) -> bool:
    """Whether an array of this volume would have something to copy, or somebody to give up.

    An expansion waits for every replica in sync: one that is gone for good has to be given up first.
    """
    facts, absent, overdue = sight.facts, sight.absent, sight.overdue
    if volume.phase not in {Phase.READY, Phase.EXPANDING}:
        return False
    synced = {r.id for r in in_sync(volume)}
    if volume.attachment is Attachment.DETACHED and _wants_start(volume, synced, set(overdue)):
        return True
    if len(list_staying(volume)) >= volume.replica_count:
        return False
    return (
        is_rebuilding(volume) or _can_return(volume, facts, absent) or _can_add(volume, pool, facts, overdue)
    )


def _wants_start(volume: Volume, synced: set[str], overdue: set[str]) -> bool:
    """Who starts decides who is given up: one that is gone, or too many where some may have forgotten."""
    surplus = volume.resync_source is not None and len(synced) > volume.replica_count
    return surplus or bool(synced & overdue and synced - overdue)


def _can_return(volume: Volume, facts: Facts, absent: Mapping[str, Absence]) -> bool:
    stale = [r for r in volume.replicas if r.state is ReplicaState.STALE]
    missing = any(absent.get(r.id) is Absence.MISSING for r in stale)
    return missing or any(r.node in facts and not find_refusal(volume, r, facts[r.node]) for r in stale)


def _can_add(volume: Volume, pool: Pool, facts: Facts, overdue: Collection[str]) -> bool:
    if not lacks_replica(volume, overdue):
        return False
    try:
        choose_new_place(volume, pool, facts, overdue)
    except OutOfSpace:
        return False
    return True


def choose_consumer(volume: Volume, volumes: Iterable[Volume], facts: Facts, limit: int) -> str | None:
    """A node with a replica in sync, so that the copy is read there; of these one that copies least."""
    counts = _count_copies(volumes)
    able = [r for r in in_sync(volume) if _can_serve(volume, r, facts) and counts.get(r.node, 0) < limit]
    best = min(able, key=lambda r: (r.leaving, counts.get(r.node, 0), r.id), default=None)
    return None if best is None else best.node


def _can_serve(volume: Volume, replica: Replica, facts: Facts) -> bool:
    """A suspect one only where it is the last in sync: nobody has more, and its disk may have no time."""
    if replica.node not in facts or find_refusal(volume, replica, facts[replica.node]):
        return False
    found = find_facts(facts[replica.node], volume.id, replica.id)
    return found is not None and (not found.suspect or len(in_sync(volume)) == 1)


def _count_copies(volumes: Iterable[Volume]) -> dict[str, int]:
    """By node: volumes that we attached there, and copies of others that it takes part in."""
    counts: dict[str, int] = {}
    for each in volumes:
        ours = {str(each.consumer)} if each.upkeep else set()
        for node in ours.union(*list_copies(each)):
            counts[node] = counts.get(node, 0) + 1
    return counts
