"""Which nodes may be stopped now: cordoned ones, one after another, as far as every volume allows. Pure.

A volume allows it while all but one of its replicas are in sync on nodes that stay. So copies that were taken
away are made good before the next node goes, however quickly somebody drains one after another.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from csi.operator.judging import shorten
from replication.model import Phase, ReplicaState, Volume


@dataclass(frozen=True, slots=True)
class Candidate:
    """A cordoned node. `gone`: it was let go before, and may be down at any time."""

    node: str
    leaves: bool  # for good, so that what can move has to move first
    gone: bool = False
    allowed: bool = False  # it was told so, and has not gone yet


@dataclass(frozen=True, slots=True)
class Ground:
    """`open_nodes`: by pool, those that take new replicas. `down`: those that do not answer.

    `members`: nodes of pools, whether a replica is on them or not.
    """

    volumes: Collection[Volume]
    open_nodes: Mapping[str, frozenset[str]]
    down: frozenset[str]
    members: frozenset[str] = frozenset()


def choose_waits(candidates: Iterable[Candidate], ground: Ground) -> dict[str, str]:
    """By node, what it waits for; empty for those that may go."""
    known = sorted(candidates, key=lambda each: (not each.gone, not each.allowed, each.node))
    away = set(ground.down) | {each.node for each in known if each.gone}
    waits = {}
    for candidate in known:
        waits[candidate.node] = "" if candidate.gone else find_waits(candidate, ground, frozenset(away))
        if not waits[candidate.node]:
            away.add(candidate.node)
    return waits


def find_waits(candidate: Candidate, ground: Ground, away: frozenset[str]) -> str:
    """For which volumes, and why."""
    there = [v for v in ground.volumes if v.phase in {Phase.READY, Phase.EXPANDING}]
    reasons = [_find_reason(volume, candidate, ground, away) for volume in there]
    return "; ".join(shorten([reason for reason in reasons if reason]))


def _find_reason(volume: Volume, candidate: Candidate, ground: Ground, away: frozenset[str]) -> str:
    here = {r.state for r in volume.replicas if r.node == candidate.node}
    if not here & {ReplicaState.IN_SYNC, ReplicaState.REBUILDING}:
        return ""
    left = [r for r in volume.replicas if r.node not in away | {candidate.node}]
    in_sync = sum(r.state is ReplicaState.IN_SYNC for r in left)
    needed = count_needed(volume)
    if in_sync < needed:
        return f"volume {volume.name}: {in_sync} in sync on nodes that stay, {needed} needed"
    holders = {r.node for r in volume.replicas}
    free = ground.open_nodes.get(volume.pool, frozenset()) - holders - away
    return f"volume {volume.name}: its replica moves first" if candidate.leaves and free else ""


def count_needed(volume: Volume) -> int:
    """Replicas in sync that have to stay: one may be away, but never the last, nor below the minimum."""
    return max(volume.replica_count - 1, volume.min_in_sync, 1)
