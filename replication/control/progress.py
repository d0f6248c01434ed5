"""Copies as events tell them: every fourth part of the way, and the end, with bytes, rate and time. Pure."""

from dataclasses import dataclass

from replication.model import MIB, ArrayReport, MemberHealth

STEPS = 4


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy under way, as far as it has been told."""

    replica: str
    began: float  # on the clock of the process that watches
    total_bytes: int = 0
    told: int = 0  # steps of the way that have been told


def find_copied(report: ArrayReport) -> str | None:
    """The replica that is being copied to; one at a time."""
    found = (m.replica_id for m in report.members if m.health is MemberHealth.RECOVERING)
    return next(found, None)


def tell(copy: Copy | None, report: ArrayReport, now: float) -> tuple[Copy | None, str]:
    """What is known after `report`, and what is to be told, if anything.

    A frozen array copies nothing, and its agent believes md of no member.
    """
    if report.activity == "frozen":
        return copy, ""
    replica = find_copied(report)
    if replica is None:
        return None, "" if copy is None else _describe_end(copy, report, now)
    current = copy if copy is not None and copy.replica == replica else Copy(replica, now)
    total = report.recovery_total_bytes or current.total_bytes
    step = report.recovery_done_bytes * STEPS // total if total else 0
    words = _describe_step(replica, report) if step > current.told else ""
    return Copy(replica, current.began, total, max(step, current.told)), words


def _describe_step(replica: str, report: ArrayReport) -> str:
    total, done = report.recovery_total_bytes, report.recovery_done_bytes
    rate = report.recovery_bytes_per_second
    pace = f", {rate / MIB:.0f} MiB/s, {(total - done) / rate:.0f} s left" if rate else ""
    return f"replica {replica}: {100 * done // total} %, {done // MIB} of {total // MIB} MiB{pace}"


def _describe_end(copy: Copy, report: ArrayReport, now: float) -> str:
    healths = {m.replica_id: m.health for m in report.members}
    done = healths.get(copy.replica) in {MemberHealth.RECOVERED, MemberHealth.GOOD}
    seconds = max(now - copy.began, 0.001)
    if not done:
        return f"replica {copy.replica}: the copy ended early, after {seconds:.0f} s"
    rate = copy.total_bytes / seconds / MIB
    return f"replica {copy.replica}: {copy.total_bytes // MIB} MiB in {seconds:.1f} s, {rate:.0f} MiB/s"
