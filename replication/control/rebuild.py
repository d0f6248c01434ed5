"""Bringing stale replicas back: which one next, how, and which never. What is nobody's. Pure.

What it has to keep of I1 to I4 (insync.py), and tests/simulation checks after every step:

* I1  A copy by bitmap is chosen only where the bitmaps mark all that the replica may lack. An array is given
      up only when the record has superseded it, and a replica removed only when the record never needs it.
* I3  A replica is brought back into a running array, one at a time, and never while it is a member there.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from replication.control.settings import Policy
from replication.model import (
    ArrayReport,
    Attachment,
    CopyMode,
    MemberHealth,
    NodeFacts,
    Phase,
    Prepared,
    Replica,
    ReplicaFacts,
    ReplicaState,
    Volume,
)
from replication.tuning import Tuning


@dataclass(frozen=True, slots=True)
class Rebuild:
    """A replica to bring back, and how."""

    replica: Replica
    copy: CopyMode
    boot_id: str
    volatile: bool
    grow: bool  # it missed an expansion


@dataclass(frozen=True, slots=True)
class Orphan:
    """A replica on a node that no record names. `keep` says why it is not ours to remove."""

    facts: ReplicaFacts
    keep: str = ""


def choose_copy(replica: Replica, boot_id: str, *, volatile: bool) -> CopyMode:
    """A disk with a volatile cache may have forgotten, when its node booted, what is marked written."""
    if replica.copy is not CopyMode.UNLESS_BOOTED:
        return replica.copy
    forgot = boot_id != replica.boot_id and (volatile or replica.volatile_cache)
    return CopyMode.FULL if forgot else CopyMode.BITMAP


def find_refusal(volume: Volume, replica: Replica, facts: NodeFacts) -> str | None:
    """Why what lies on the node must not be touched as this replica, if so."""
    found = find_facts(facts, volume.id, replica.id)
    if found is None:
        return f"node {replica.node} does not have it"
    if found.groups != replica.groups:
        there, said = ", ".join(found.groups), ", ".join(replica.groups)
        return f"it lies on {there}, the record says {said}"
    if found.epoch > volume.epoch:
        return f"its header has epoch {found.epoch}, the record {volume.epoch}: was the store restored?"
    return None


def is_old(replica: Replica, found: ReplicaFacts) -> bool:
    """Whether its disk is an old copy of itself: since then bits of what it lacks may have been cleared."""
    return found.record_version < replica.marked


def find_facts(facts: NodeFacts, volume_id: str, replica_id: str) -> ReplicaFacts | None:
    ours = (r for r in facts.replicas if r.volume_id == volume_id and r.replica_id == replica_id)
    return next(ours, None)


def list_suspects(volume: Volume, facts: Mapping[str, NodeFacts]) -> tuple[Replica, ...]:
    """Those in sync that may lack what their disks refused: starting.py starts nothing with these alone."""
    if volume.attachment is Attachment.ATTACHED:
        return ()
    here = [r for r in volume.replicas if r.state is ReplicaState.IN_SYNC and r.node in facts]
    found = [(replica, find_facts(facts[replica.node], volume.id, replica.id)) for replica in here]
    return tuple(replica for replica, header in found if header is not None and header.suspect)


def is_rebuilding(volume: Volume) -> bool:
    return any(r.state is ReplicaState.REBUILDING for r in volume.replicas)


def list_staying(volume: Volume) -> tuple[Replica, ...]:
    """Those in sync whose place is not to be emptied."""
    return tuple(r for r in volume.replicas if r.state is ReplicaState.IN_SYNC and not r.leaving)


def is_complete(volume: Volume) -> bool:
    """Whether as many stay in sync as are wanted: what is stale besides is left of a replacement."""
    return len(list_staying(volume)) >= volume.replica_count


def wants_rebuild(volume: Volume) -> tuple[Replica, ...]:
    """Stale replicas of a running array, none while another is being copied: one at a time per volume.

    None either when there are enough without them. An array of a volume that grows has the new size already,
    if one before it may have been written to beyond the old one: lifecycle.show_growth.
    """
    running = volume.attachment is Attachment.ATTACHED and volume.phase in {Phase.READY, Phase.EXPANDING}
    if not running or is_complete(volume) or is_rebuilding(volume):
        return ()
    return tuple(r for r in volume.replicas if r.state is ReplicaState.STALE)


def list_rebuilds(volume: Volume, facts: Mapping[str, NodeFacts]) -> tuple[Rebuild, ...]:
    """The quickest first: those whose bitmap suffices, then full copies, in the record's order.

    One is begun at a time. Where the first has to wait, another's turn has come.
    """
    plans = [_rebuild(volume, r, facts[r.node]) for r in wants_rebuild(volume) if r.node in facts]
    return tuple(sorted(filter(None, plans), key=lambda plan: plan.copy is CopyMode.FULL))


def _rebuild(volume: Volume, replica: Replica, facts: NodeFacts) -> Rebuild | None:
    found = find_facts(facts, volume.id, replica.id)
    if found is None or find_refusal(volume, replica, facts) is not None:
        return None
    volatile = found.volatile_cache or replica.volatile_cache
    unknown = found.suspect or is_old(replica, found)
    copy = CopyMode.FULL if unknown else choose_copy(replica, facts.boot_id, volatile=volatile)
    return Rebuild(replica, copy, facts.boot_id, volatile, grow=found.size_bytes < volume.size_bytes)


def find_surprise(boot_id: str, copy: CopyMode, prepared: Prepared) -> str:
    """What became of the replica since its copy was chosen, which may be too little by now; or nothing."""
    if prepared.boot_id != boot_id:
        return "its node has booted just now"
    refused = prepared.facts.suspect and copy is not CopyMode.FULL
    return "its disk has refused a write just now" if refused else ""


def list_copying(volume: Volume, target: Replica) -> tuple[str, ...]:
    """Nodes that a copy to `target` writes to, passes through, or may read from.

    md reads the consumer's own replica if that is in sync. If not, it reads one of the others, and which one
    depends on slots that only its agent knows: so each of them counts.
    """
    sources = {r.node for r in volume.replicas if r.state is ReplicaState.IN_SYNC}
    ends = {target.node, str(volume.consumer)}
    return (*sorted(ends), *sorted(sources - ends if volume.consumer not in sources else ()))


def list_copies(volume: Volume) -> tuple[tuple[str, ...], ...]:
    """Of each copy under way the nodes that take part in it."""
    return tuple(list_copying(volume, r) for r in volume.replicas if r.state is ReplicaState.REBUILDING)


def count_copies(volumes: Iterable[Volume]) -> Counter[str]:
    """How many each node takes part in."""
    return Counter(node for each in volumes for copy in list_copies(each) for node in copy)


def find_crowd(copies: Counter[str], volume: Volume, replica: Replica, limit: int) -> str | None:
    """A node that copies enough already, of those that a copy to `replica` needs."""
    return next((node for node in list_copying(volume, replica) if copies[node] >= limit), None)


def choose_tuning(volume: Volume, policy: Policy) -> Tuning:
    """Room for every replica that the record wants in the array, and what the settings say."""
    members = sum(r.state is not ReplicaState.STALE for r in volume.replicas)
    return Tuning(
        slots=max(volume.replica_count, members),
        rebuild_bandwidth=policy.rebuild_bandwidth,
        write_latency_bound=policy.write_latency_bound,
    )


def find_running(facts: NodeFacts, volume: Volume) -> ArrayReport | None:
    """Its array of the record's epoch."""
    wanted = (volume.id, volume.epoch)
    return next((array for array in facts.arrays if (array.volume_id, array.epoch) == wanted), None)


def choose_stuck(volume: Volume, report: ArrayReport | None) -> tuple[str, ...]:
    """Replicas that the record calls rebuilding, and the consumer's array does not.

    It does not know them, has dropped them, or takes them for members like the others: a word that came late
    has counted them.
    """
    if volume.attachment is not Attachment.ATTACHED or report is None or report.epoch != volume.epoch:
        return ()
    absent = {MemberHealth.DROPPED, MemberHealth.GOOD}
    present = {m.replica_id for m in report.members if m.health not in absent}
    rebuilding = (r.id for r in volume.replicas if r.state is ReplicaState.REBUILDING)
    return tuple(replica for replica in rebuilding if replica not in present)


def choose_superseded(facts: NodeFacts, volumes: Mapping[str, Volume]) -> tuple[ArrayReport, ...]:
    """Arrays on a node that the record has given up. `volumes` must have been read after `facts`."""
    return tuple(a for a in facts.arrays if not is_current(a, volumes.get(a.volume_id), facts.node))


def is_current(array: ArrayReport, volume: Volume | None, node: str) -> bool:
    """A record older than the array (a store restored from a backup) has superseded nothing."""
    if volume is None:
        return False
    return array.epoch > volume.epoch or (array.epoch == volume.epoch and volume.consumer == node)


def choose_unfenced(volumes: Mapping[str, Volume], facts: Mapping[str, NodeFacts]) -> tuple[str, ...]:
    """Volumes given up by the fence, of which a replica in sync has not heard of the new epoch yet."""
    given_up = [v for v in volumes.values() if v.attachment is Attachment.DETACHED and v.resync_source]
    return tuple(v.id for v in given_up if any(_is_behind(v, r, facts.get(r.node)) for r in v.replicas))


def _is_behind(volume: Volume, replica: Replica, facts: NodeFacts | None) -> bool:
    found = None if facts is None else find_facts(facts, volume.id, replica.id)
    return found is not None and replica.state is ReplicaState.IN_SYNC and found.epoch < volume.epoch


def choose_orphans(facts: NodeFacts, volumes: Mapping[str, Volume], cluster: str) -> tuple[Orphan, ...]:
    """Replicas that no record names. `volumes` must have been read after `facts`: records come first."""
    if facts.cluster != cluster:
        return ()
    found = (judge_orphan(each, volumes.get(each.volume_id), facts.node) for each in facts.replicas)
    return tuple(orphan for orphan in found if orphan is not None)


def judge_orphan(found: ReplicaFacts, volume: Volume | None, node: str) -> Orphan | None:
    """None when the record of its volume names it there."""
    if volume is not None and _names(volume, found.replica_id, node):
        return None
    return Orphan(found, _keep(found, volume))


def _names(volume: Volume, replica_id: str, node: str) -> bool:
    return any(r.id == replica_id and r.node == node for r in volume.replicas)


def _keep(found: ReplicaFacts, volume: Volume | None) -> str:
    """A record older than the disks (a store restored from a backup) must not cost data."""
    if volume is None:
        return "" if found.epoch == 0 else "it has been attached, and the store does not know its volume"
    if found.epoch > volume.epoch:
        return f"its header has epoch {found.epoch}, the record {volume.epoch}"
    number = found.replica_id.removeprefix("r")
    if not number.isdigit() or int(number) >= volume.next_replica:
        return "the record never made a replica of this number"
    return ""
