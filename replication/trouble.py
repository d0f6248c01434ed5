"""Which reports agents tell again until somebody has acted on them, and the control plane counts on it."""

from replication.model import ArrayReport, MemberHealth

_TROUBLE = (MemberHealth.LOST, MemberHealth.RECOVERING, MemberHealth.RECOVERED)


def in_trouble(report: ArrayReport) -> bool:
    """Of an array whose record has to change, or will have to soon."""
    return any(member.health in _TROUBLE for member in report.members) or not report.resync_done
