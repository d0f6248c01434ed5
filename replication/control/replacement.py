"""Which replicas are away and for how long, and which are added, made anew, forgotten or retired. Pure.

A volume wants as many replicas that *stay* as it was made with: that are neither away for too long nor
leaving. While it has fewer, one is added; once enough of them are in sync, what they replace is given up. So
redundancy is never lowered on the way, and a replica that returns before its replacement is used again.

What it has to keep of I1 to I4 (insync.py):

* I1  A replica is retired only while more are in sync than are wanted, and another has it all by its header;
      it is forgotten only when it is stale.
* I3  What is added or made anew is stale: it comes into sync by a copy alone (rebuild.py).
* I4  As many stay in sync as there were, up to those that are wanted.
"""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from replication.control.insync import in_sync
from replication.control.placement import NO_DOMAINS, SPREAD, Place, Want, choose_places
from replication.control.rebuild import find_facts, is_old, list_staying
from replication.errors import OutOfRange, OutOfSpace
from replication.model import (
    Attachment,
    NodeFacts,
    Phase,
    Pool,
    Replica,
    ReplicaState,
    Volume,
)

GRACE_SECONDS = 10.0  # a node that has just started may not see all of its disks yet

Key = tuple[str, str]  # volume, replica


class Absence(StrEnum):
    """Why nothing can be done with a replica now."""

    SILENT = "its node does not answer"
    MISSING = "its disk does not have it"
    DISK_GONE = "its disk is gone"
    NODE_GONE = "its node has left the cluster"
    OLD = "its disk is an old copy of itself"
    FAILING = "it was to be brought back again and again, in vain"


@dataclass(frozen=True, slots=True)
class Absent:
    """`since` when, on the clock of the process that watches, and why now."""

    why: Absence
    since: float


class Act(StrEnum):
    """What is done about a volume's replicas."""

    FORGET = "forget"  # remove what is left of it, and take it out of the record
    RETIRE = "retire"  # in sync, and one too many
    MAKE = "make"  # recorded, and not on its disk
    ADD = "add"


@dataclass(frozen=True, slots=True)
class Change:
    """One act, and whom it is about; None for a replica that is to be added."""

    act: Act
    replica: Replica | None = None


def find_absence(
    volume: Volume, replica: Replica, nodes: Collection[str], facts: Mapping[str, NodeFacts]
) -> Absence | None:
    """`nodes` of the cluster, and `facts` of those that answered."""
    if replica.node not in nodes:
        return Absence.NODE_GONE
    if replica.node not in facts:
        return Absence.SILENT
    found = facts[replica.node]
    kept = find_facts(found, volume.id, replica.id)
    if kept is not None:
        return Absence.OLD if replica.state is ReplicaState.IN_SYNC and is_old(replica, kept) else None
    there = {group.name for group in found.volume_groups}
    return Absence.MISSING if there.issuperset(replica.groups) else Absence.DISK_GONE


def follow_absences(
    known: Mapping[Key, Absent],
    volumes: Collection[Volume],
    nodes: Collection[str],
    facts: Mapping[str, NodeFacts],
    now: float,
    failing: Collection[Key] = (),
) -> dict[Key, Absent]:
    """Everybody who is away at `now`, each since he was first missed without a break; `failing` count too."""
    away = {(v.id, r.id): find_absence(v, r, nodes, facts) for v in volumes for r in v.replicas}
    away = {key: why or (Absence.FAILING if key in failing else None) for key, why in away.items()}
    return {key: Absent(why, known[key].since if key in known else now) for key, why in away.items() if why}


def is_overdue(absent: Absent, delay: float, now: float) -> bool:
    """Whether it is away for too long to be waited for."""
    patience = {Absence.NODE_GONE: 0.0, Absence.DISK_GONE: min(delay, GRACE_SECONDS)}
    return now - absent.since >= patience.get(absent.why, delay)


def is_lost(volume: Volume, absent: Mapping[str, Absent], now: float, suspects: Collection[str] = ()) -> bool:
    """Whether every replica in sync is known to be gone for good; a node that is silent may come back.

    Or all but `suspects`, whose disks refused what those that are gone may have acknowledged (starting.py).
    """
    if volume.phase not in {Phase.READY, Phase.EXPANDING}:
        return False
    found = [absent.get(r.id) for r in in_sync(volume) if r.id not in suspects]
    return bool(found) and all(
        a and a.why is not Absence.SILENT and now - a.since >= GRACE_SECONDS for a in found
    )


def choose_change(
    volume: Volume, absent: Mapping[str, Absence], overdue: Collection[str], *, room: bool = True
) -> Change | None:
    """The next act, if any. By replica's id: who is away, and who for too long.

    `room`: somewhere else there is place for one more. If not, one whose disk is there, and empty, is made
    anew however long it was away.
    """
    if volume.phase is not Phase.READY or volume.attachment not in {Attachment.ATTACHED, Attachment.DETACHED}:
        return None
    if len(list_staying(volume)) >= volume.replica_count:
        return _choose_surplus(volume, absent)
    if volume.attachment is not Attachment.ATTACHED:
        return None
    missing = [r for r in volume.replicas if absent.get(r.id) is Absence.MISSING]
    anew = next((Change(Act.MAKE, r) for r in missing if r.state is ReplicaState.STALE), None)
    return Change(Act.ADD) if lacks_replica(volume, overdue) and (room or anew is None) else anew


def _choose_surplus(volume: Volume, absent: Mapping[str, Absence]) -> Change | None:
    """One that nobody answers for stays until its node does: what is left of it would be left for good.

    And none is forgotten while nobody in sync is there: if they never come, a person may go on from it.
    """
    stale = [r for r in volume.replicas if r.state is ReplicaState.STALE]
    reached = [r for r in stale if absent.get(r.id) is not Absence.SILENT]
    synced = in_sync(volume)
    if reached:
        return Change(Act.FORGET, reached[0]) if any(r.id not in absent for r in synced) else None
    leaving = (r for r in synced if r.leaving)
    spare = next(leaving, synced[-1])
    return Change(Act.RETIRE, spare) if len(synced) > volume.replica_count else None


def lacks_replica(volume: Volume, overdue: Collection[str]) -> bool:
    """Whether fewer stay than are wanted, those that are given up not counted."""
    return len(_list_kept(volume, overdue)) < volume.replica_count


def _list_kept(volume: Volume, overdue: Collection[str]) -> tuple[Replica, ...]:
    """Neither leaving nor given up."""
    stale = ReplicaState.STALE
    return tuple(r for r in volume.replicas if not r.leaving and not (r.state is stale and r.id in overdue))


def has_other(volume: Volume, replica_id: str, facts: Mapping[str, NodeFacts]) -> bool:
    """Whether another in sync answers whose disk has refused nothing, as far as its header says.

    Nor, after an unclean end, may have forgotten what this one's has not: starting.py starts without it then.
    """
    own = any(r.id == replica_id and _has_booted(volume, r, facts) for r in volume.replicas)
    here = [r for r in in_sync(volume) if r.id != replica_id and r.node in facts]
    others = [r for r in here if own or not _has_booted(volume, r, facts)]
    found = [find_facts(facts[r.node], volume.id, r.id) for r in others]
    return any(header is not None and not header.suspect for header in found)


def _has_booted(volume: Volume, replica: Replica, facts: Mapping[str, NodeFacts]) -> bool:
    """As far as is known, since an array of this volume ended in a crash."""
    unclean = volume.attachment is Attachment.DETACHED and volume.resync_source is not None
    return unclean and replica.node in facts and facts[replica.node].boot_id != replica.boot_id


def choose_new_place(
    volume: Volume,
    pool: Pool,
    facts: Mapping[str, NodeFacts],
    overdue: Collection[str],
    domains: Mapping[str, str] = NO_DOMAINS,
) -> Place:
    """For one more replica: a node without one; else another disk of a node whose replica is given up.

    In a domain (a zone, as a rule) where no replica is, if there is room; a volume that was made with its
    replicas apart takes no other. A single replica stays on its node: it is used there only, as its
    PersistentVolume says, and that never changes (csi/topology.py). OutOfSpace when there is none.
    """
    here, bound = {r.node for r in volume.replicas}, volume.replica_count == 1
    kept = {r.node for r in _list_kept(volume, overdue)}
    given_up = {(r.node, group) for r in volume.replicas for group in r.groups}
    groups = {
        node: tuple(g for g in facts[node].volume_groups if (node, g.name) not in given_up)
        for node in pool.nodes
        if node in facts and node not in kept and (node in here or not bound)
    }
    fresh = {node: found for node, found in groups.items() if node not in {n for n, _ in given_up}}
    free = {node for node in groups if domains.get(node) and domains[node] not in map(domains.get, kept)}
    apart = tuple({node: found for node, found in each.items() if node in free} for each in (fresh, groups))
    want = Want(pool, volume.size_bytes, 1)
    for candidates in apart if SPREAD in dict(volume.parameters) else (apart[0], fresh, groups):
        with suppress(OutOfSpace, OutOfRange):
            return choose_places(want, candidates, {})[0]
    if bound:
        raise OutOfSpace(
            f"volume {volume.name}: a single replica never leaves its node, and no other disk of pool "
            f"{pool.name} there has room for it"
        )
    raise OutOfSpace(
        f"volume {volume.name}: no other node or disk of pool {pool.name} that answers has room for a replica"
    )
