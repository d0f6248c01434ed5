"""How volumes are, judged from the record and from what the nodes report: pure functions of values."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from replication.model import ArrayReport, MemberHealth, MemberReport, Phase, Replica, ReplicaState, Volume

HELD_SECONDS = 1.0
"""Shorter waits are blips that cost nothing; nobody has to hear of them."""


class Health(StrEnum):
    """In the order of how soon somebody should look."""

    LOST = "lost"  # no replica in sync is left
    WAITING = "waiting"  # writes stand still
    DEGRADED = "degraded"  # fewer copies than wanted, and none on its way
    REBUILDING = "rebuilding"
    REDUNDANT = "redundant"
    CREATING = "creating"
    DELETING = "deleting"


@dataclass(frozen=True, slots=True)
class Rebuild:
    """A copy on its way to the replicas that need it. Unknown numbers are 0."""

    replicas: tuple[str, ...]
    total_bytes: int
    done_bytes: int
    bytes_per_second: int

    @property
    def percent(self) -> float:
        return 100.0 * self.done_bytes / self.total_bytes if self.total_bytes else 0.0

    @property
    def seconds_left(self) -> float | None:
        """None as long as nothing can be said."""
        if not self.total_bytes or not self.bytes_per_second:
            return None
        return max(0, self.total_bytes - self.done_bytes) / self.bytes_per_second


@dataclass(frozen=True, slots=True)
class VolumeHealth:
    """What can be said of one volume now."""

    volume: Volume
    health: Health
    missing: tuple[Replica, ...]  # that are not in sync
    rebuild: Rebuild | None
    held_seconds: float
    waits_for: str = ""  # which replicas writes wait for, and why no fewer will do


def judge_volume(volume: Volume, reports: Iterable[ArrayReport]) -> VolumeHealth:
    """`reports` may be of any volume and epoch: those of an attachment that is over say nothing."""
    report = find_report(volume, reports)
    rebuild = find_rebuild(report) if report else None
    held = report.held_seconds if report else 0.0
    missing = tuple(replica for replica in volume.replicas if replica.state is not ReplicaState.IN_SYNC)
    waits = find_waits(volume, report) if report and held >= HELD_SECONDS else ""
    return VolumeHealth(volume, _judge(volume, missing, rebuild, held), missing, rebuild, held, waits)


def find_waits(volume: Volume, report: ArrayReport) -> str:
    """What has to answer before writes go on; nothing when the record is only about to be changed."""
    lost = {m.replica_id for m in report.members if m.health is MemberHealth.LOST}
    synced = [r for r in volume.replicas if r.state is ReplicaState.IN_SYNC]
    waiting = [f"{r.id} on {r.node}" for r in synced if r.id in lost]
    lacking = volume.min_in_sync - (len(synced) - len(waiting))
    if lacking <= 0 or not waiting:
        return ""
    return f"for {lacking} of {', '.join(waiting)} (min-in-sync-replicas is {volume.min_in_sync})"


def find_report(volume: Volume, reports: Iterable[ArrayReport]) -> ArrayReport | None:
    return next((r for r in reports if r.volume_id == volume.id and r.epoch == volume.epoch), None)


def find_rebuild(report: ArrayReport) -> Rebuild | None:
    members = tuple(m.replica_id for m in report.members if _is_recovering(m))
    if not members:
        return None
    return Rebuild(
        members,
        report.recovery_total_bytes,
        report.recovery_done_bytes,
        report.recovery_bytes_per_second,
    )


def count_in_sync(volume: Volume) -> int:
    return sum(replica.state is ReplicaState.IN_SYNC for replica in volume.replicas)


def is_redundant(volume: Volume) -> bool:
    return count_in_sync(volume) >= volume.replica_count


def _is_recovering(member: MemberReport) -> bool:
    return member.health is MemberHealth.RECOVERING


def _judge(volume: Volume, missing: tuple[Replica, ...], rebuild: Rebuild | None, held: float) -> Health:
    phases = {Phase.CREATING: Health.CREATING, Phase.DELETING: Health.DELETING}
    if volume.phase in phases:
        return phases[volume.phase]
    if volume.lost_since:
        return Health.LOST
    if held >= HELD_SECONDS:
        return Health.WAITING
    if is_redundant(volume):
        return Health.REDUNDANT
    copying = rebuild or any(replica.state is ReplicaState.REBUILDING for replica in missing)
    return Health.REBUILDING if copying else Health.DEGRADED
