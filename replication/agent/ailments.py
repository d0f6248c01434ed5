"""What a node's observations mean for volumes and storage. Pure."""

from collections.abc import Iterable, Mapping

from replication.kernel.mounts import Mount
from replication.model import Ailment, AilmentKind, ArrayReport, MemberHealth, MemberReport

HELD_SECONDS = 5.0  # losing a replica normally takes less

_REASONS = {
    MemberHealth.LOST: "ReplicaLost",
    MemberHealth.DROPPED: "ReplicaDropped",
    MemberHealth.RECOVERING: "ReplicaRecovering",
}


def judge_array(report: ArrayReport) -> tuple[Ailment, ...]:
    """Members that are not whole, and writes that wait for a decision or for the last replica."""
    found = [_judge_member(member, report) for member in report.members if member.health in _REASONS]
    if report.held_seconds >= HELD_SECONDS:
        held = f"writes have been waiting for {report.held_seconds:.0f} s"
        found.append(Ailment(AilmentKind.INACCESSIBLE, "WritesWait", held))
    if not report.resync_done:
        resync = "its replicas are being made equal after an unclean stop"
        found.append(Ailment(AilmentKind.DEGRADED, "Resync", resync))
    return tuple(found)


def _judge_member(member: MemberReport, report: ArrayReport) -> Ailment:
    reason = _REASONS[member.health]
    said = f"replica {member.replica_id} is {member.health}"
    if member.health is MemberHealth.RECOVERING and report.recovery_total_bytes:
        said += f", {100 * report.recovery_done_bytes // report.recovery_total_bytes} % done"
    return Ailment(AilmentKind.DEGRADED, reason, f"{said}: {member.reason}" if member.reason else said)


def judge_mount(mount: Mount, fault: str) -> tuple[Ailment, ...]:
    """`fault`: why its directory cannot be read, if so."""
    found = []
    if "ro" in mount.super_options and "ro" not in mount.options:
        became = f"the file system at {mount.path} has met an error and is read-only since"
        found.append(Ailment(AilmentKind.INACCESSIBLE, "FileSystemReadOnly", became))
    if fault:
        found.append(Ailment(AilmentKind.INACCESSIBLE, "FileSystemFailed", fault))
    return tuple(found)


def judge_disks(faults: Mapping[str, str]) -> tuple[Ailment, ...]:
    """By disk of this node's pools: why it cannot be read, or ""."""
    dead = {disk: fault for disk, fault in faults.items() if fault}
    if not dead:
        return ()
    kind = AilmentKind.INACCESSIBLE if len(dead) == len(faults) else AilmentKind.DEGRADED
    named = "; ".join(f"{disk}: {fault}" for disk, fault in sorted(dead.items()))
    return (Ailment(kind, "DiskFailed", f"{len(dead)} of {len(faults)} disks of this node: {named}"),)


def judge_peers(reports: Iterable[ArrayReport]) -> tuple[Ailment, ...]:
    """Replicas of volumes that are attached here, and are not reached."""
    lost = [
        f"{member.replica_id} of {report.volume_id}"
        for report in reports
        for member in report.members
        if member.health in {MemberHealth.LOST, MemberHealth.DROPPED}
    ]
    if not lost:
        return ()
    return (Ailment(AilmentKind.DEGRADED, "ReplicasNotReached", f"not reached: {', '.join(sorted(lost))}"),)
