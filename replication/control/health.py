"""What is wrong with a volume, by its record and by what the nodes of its replicas say. Pure."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from replication.control.rebuild import find_running, is_complete, list_suspects
from replication.errors import TrilithError
from replication.model import (
    Ailment,
    AilmentKind,
    ArrayReport,
    Attachment,
    MemberHealth,
    NodeFacts,
    Replica,
    ReplicaState,
    Volume,
)

Answers = Mapping[str, NodeFacts | TrilithError]

_SUSPECT = "suspect, as its disk refused a write: another, that is not there, may alone have it"
HELD_SECONDS = 5.0  # writes that wait longer than losing a replica normally takes


def list_nodes(volumes: Iterable[Volume]) -> frozenset[str]:
    """Whom to ask: those that hold a replica in sync, and consumers."""
    holders = {r.node for v in volumes for r in v.replicas if r.state is ReplicaState.IN_SYNC}
    return frozenset(holders | {v.consumer for v in volumes if v.consumer is not None})


def judge(volume: Volume, answers: Answers) -> tuple[Ailment, ...]:
    """`answers` of the nodes in `list_nodes`; one that is not there has left the cluster."""
    return (*_judge_replicas(volume), *_judge_copies(volume, answers), *_judge_array(volume, answers))


def _judge_replicas(volume: Volume) -> tuple[Ailment, ...]:
    """What the record says: which are not in sync, and since when; none where others took their place."""
    if is_complete(volume):
        return ()
    missing = [r for r in volume.replicas if r.state is not ReplicaState.IN_SYNC]
    kinds = {ReplicaState.STALE: "ReplicaStale", ReplicaState.REBUILDING: "ReplicaRebuilding"}
    return tuple(Ailment(AilmentKind.DEGRADED, kinds[r.state], _describe(r, r.state)) for r in missing)


def _judge_copies(volume: Volume, answers: Answers) -> tuple[Ailment, ...]:
    """Of those in sync: whose node is silent, and whose disk has lost it."""
    in_sync = [r for r in volume.replicas if r.state is ReplicaState.IN_SYNC]
    silent = [r for r in in_sync if not isinstance(answers.get(r.node), NodeFacts)]
    gone = [r for r in in_sync if r not in silent and not _is_there(volume, r, answers)]
    if not silent and not gone:
        return ()
    if len(gone) == len(in_sync):
        named = "; ".join(_describe(r, "missing on its disk") for r in gone)
        return (Ailment(AilmentKind.DATA_LOSS, "NoReplicaLeft", f"no replica in sync is left: {named}"),)
    facts = {node: found for node, found in answers.items() if isinstance(found, NodeFacts)}
    suspect = list_suspects(volume, facts)
    whole = len(silent) + len(gone) + len(suspect) < len(in_sync)
    kind = AilmentKind.DEGRADED if whole else AilmentKind.INACCESSIBLE
    found = [Ailment(kind, "NodeUnreachable", _describe(r, "not reached")) for r in silent]
    found += [Ailment(kind, "ReplicaMissing", _describe(r, "missing on its disk")) for r in gone]
    found += [Ailment(kind, "ReplicaSuspect", _describe(r, _SUSPECT)) for r in suspect if not whole]
    return tuple(found)


def _judge_array(volume: Volume, answers: Answers) -> tuple[Ailment, ...]:
    """What the consumer's agent says of its members that the record does not know yet."""
    report = _find_report(volume, answers)
    if report is None:
        return ()
    in_sync = {r.id: r for r in volume.replicas if r.state is ReplicaState.IN_SYNC}
    lost = [m for m in report.members if m.health is MemberHealth.LOST and m.replica_id in in_sync]
    found = [
        Ailment(AilmentKind.DEGRADED, "ReplicaLost", _describe(in_sync[m.replica_id], f"lost: {m.reason}"))
        for m in lost
    ]
    if report.held_seconds >= HELD_SECONDS:
        held = f"writes have been waiting for {report.held_seconds:.0f} s on node {volume.consumer}"
        found.append(Ailment(AilmentKind.INACCESSIBLE, "WritesWait", held))
    return tuple(found)


def _find_report(volume: Volume, answers: Answers) -> ArrayReport | None:
    facts = answers.get(volume.consumer or "")
    if volume.attachment is not Attachment.ATTACHED or not isinstance(facts, NodeFacts):
        return None
    return find_running(facts, volume)


def _is_there(volume: Volume, replica: Replica, answers: Answers) -> bool:
    facts = answers.get(replica.node)
    if not isinstance(facts, NodeFacts):
        return False
    return any((f.volume_id, f.replica_id) == (volume.id, replica.id) for f in facts.replicas)


def _describe(replica: Replica, how: str) -> str:
    since = datetime.fromtimestamp(replica.since, UTC).isoformat(timespec="seconds")
    return f"replica {replica.id} on node {replica.node} is {how} (its record is of {since})"
