"""What is told of a volume: how it is, each of its replicas, and what is being done. Pure.

Numbers that change all the time are rounded, or left out: each new status is a request.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from csi.health import merge
from csi.operator.conditions import READY, Condition, to_time
from replication.control.health import judge
from replication.control.rebuild import is_complete
from replication.control.redundancy import Rebuild, count_in_sync, find_rebuild, find_report, is_redundant
from replication.control.settings import Policy
from replication.errors import TrilithError
from replication.kubernetes.access import Json
from replication.model import (
    Ailment,
    AilmentKind,
    ArrayReport,
    Attachment,
    NodeFacts,
    Phase,
    Replica,
    ReplicaState,
    Volume,
)

REDUNDANT = "Redundant"
STEP = 10  # percent
STATES = {
    ReplicaState.IN_SYNC: "InSync",
    ReplicaState.STALE: "Stale",
    ReplicaState.REBUILDING: "Rebuilding",
}
HEALTHS = {
    AilmentKind.DATA_LOSS: "Lost",
    AilmentKind.INACCESSIBLE: "Inaccessible",
    AilmentKind.DEGRADED: "Degraded",
}
PHASES = {
    Phase.CREATING: "its replicas are made",
    Phase.EXPANDING: "it grows",
    Phase.DELETING: "its replicas are removed",
}
RECORDED = {"ReplicaStale", "ReplicaRebuilding"}
ATTACHMENTS = {
    Attachment.ATTACHING: "it is attached to node {node}",
    Attachment.DETACHING: "it is detached from node {node}",
}


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen last: by node what those said that answered, and what holds for the volume's pool."""

    facts: Mapping[str, NodeFacts | TrilithError]
    reports: tuple[ArrayReport, ...]  # of this volume
    policy: Policy
    later: bool = True  # than the record: what the nodes did not have then may be there by now


@dataclass(frozen=True, slots=True)
class Description:
    """A status, all but its conditions, and those."""

    status: Json
    conditions: tuple[Condition, ...]


def describe(volume: Volume, look: Look) -> Description:
    report = find_report(volume, look.reports)
    rebuild = find_rebuild(report) if report is not None else None
    ailments = _find_ailments(volume, look)
    health = _find_health(volume, ailments)
    doing = "; ".join(_list_doings(volume, look, rebuild))
    status: Json = {
        "inSync": f"{count_in_sync(volume)}/{volume.replica_count}",
        "replicas": [_describe_replica(replica, rebuild) for replica in volume.replicas],
        **({"health": health} if health else {}),
        **({"doing": doing} if doing else {}),
    }
    return Description(status, (_judge_ready(volume, ailments), _judge_redundancy(volume, ailments)))


def is_transient(volume: Volume) -> bool:
    """Whether something is being done that mostly ends within a second or two."""
    return volume.phase is not Phase.READY or volume.attachment in ATTACHMENTS


def _find_ailments(volume: Volume, look: Look) -> tuple[Ailment, ...]:
    """What only the nodes know is believed where they said it after the record was written."""
    if volume.phase not in {Phase.READY, Phase.EXPANDING}:
        return ()
    found = judge(volume, look.facts)
    return merge(each for each in found if look.later or each.reason in RECORDED)


def _find_health(volume: Volume, ailments: tuple[Ailment, ...]) -> str:
    if volume.phase in {Phase.CREATING, Phase.DELETING}:
        return ""
    if volume.lost_since:
        return "Lost"
    return HEALTHS[ailments[0].kind] if ailments else "Healthy"


def _describe_replica(replica: Replica, rebuild: Rebuild | None) -> Json:
    copying = rebuild is not None and replica.id in rebuild.replicas
    return {
        "id": replica.id,
        "node": replica.node,
        "state": STATES[replica.state],
        **({"since": to_time(replica.since)} if replica.since else {}),
        **({"copiedPercent": _round(rebuild)} if copying and rebuild is not None else {}),
        **({"leaving": True} if replica.leaving else {}),
    }


def _round(rebuild: Rebuild) -> int:
    return int(rebuild.percent) // STEP * STEP


def _list_doings(volume: Volume, look: Look, rebuild: Rebuild | None) -> Iterable[str]:
    if volume.phase in PHASES:
        yield PHASES[volume.phase]
    if volume.attachment in ATTACHMENTS:
        yield ATTACHMENTS[volume.attachment].format(node=volume.consumer)
    if volume.phase in {Phase.CREATING, Phase.DELETING}:
        return
    for replica in volume.replicas:
        what = _find_doing(volume, replica, look, rebuild)
        if what:
            yield f"replica {replica.id} on node {replica.node} {what}"


def _find_doing(volume: Volume, replica: Replica, look: Look, rebuild: Rebuild | None) -> str:
    """What becomes of one replica."""
    if rebuild is not None and replica.id in rebuild.replicas:
        return f"gets what it lacks, {_round(rebuild)} % is copied"
    if replica.state is ReplicaState.REBUILDING:
        return "gets what it lacks"
    if replica.state is ReplicaState.IN_SYNC:
        return "moves away, because its place is drained" if replica.leaving else ""
    return _find_fate(volume, replica, look)


def _find_fate(volume: Volume, replica: Replica, look: Look) -> str:
    """What becomes of a stale one."""
    if is_complete(volume):
        return "is replaced, and removed when its node answers or leaves the cluster"
    if isinstance(look.facts.get(replica.node), NodeFacts):
        return "is to be brought back or replaced"
    return f"is brought back when its node answers, or replaced after {look.policy.replacement_delay:g} s"


def _judge_ready(volume: Volume, ailments: tuple[Ailment, ...]) -> Condition:
    if volume.phase in {Phase.CREATING, Phase.DELETING}:
        return Condition(READY, False, volume.phase.capitalize(), PHASES[volume.phase])
    if volume.lost_since:
        since = to_time(volume.lost_since)
        words = (
            f"every replica in sync is gone since {since}; `trilith volume recover` goes on from a stale one"
        )
        return Condition(READY, False, "Lost", words)
    worst = [each for each in ailments if each.kind is not AilmentKind.DEGRADED]
    if worst:
        return Condition(READY, False, worst[0].reason, "; ".join(_word(each, volume) for each in worst))
    return Condition(READY, True, "Usable", "reads and writes are answered")


def _judge_redundancy(volume: Volume, ailments: tuple[Ailment, ...]) -> Condition:
    words = "; ".join(_word(each, volume) for each in ailments)
    if volume.phase in {Phase.CREATING, Phase.DELETING}:
        return Condition(REDUNDANT, None, volume.phase.capitalize(), PHASES[volume.phase])
    if ailments:
        return Condition(REDUNDANT, False, ailments[0].reason, words)
    if not is_redundant(volume):
        return Condition(REDUNDANT, False, "TooFewReplicas", "fewer replicas are in sync than are wanted")
    return Condition(REDUNDANT, True, "AllInSync", "every replica holds every acknowledged write")


def _word(ailment: Ailment, volume: Volume) -> str:
    """Without seconds, which would make each look another one."""
    return f"writes wait on node {volume.consumer}" if ailment.reason == "WritesWait" else ailment.message
