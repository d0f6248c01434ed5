"""What a member is, judged from what its kernel shows. Pure: the watcher observes, this decides.

A member that is `lost` is reported and waits in its hold layer: nothing is acknowledged without it and
nothing has failed. Only the record may change that. So a wrong verdict costs a recovery, never data.
"""

from dataclasses import dataclass

from replication.model import MemberHealth

SILENT_AFTER = 3.0  # seconds without any answer of the peer's kernel
REFUSED_AFTER = 0.2  # seconds without a connection, while the peer's kernel refuses a new one
UNCONNECTED_AFTER = 6.0  # seconds without a connection, while the peer's kernel answers


@dataclass(frozen=True, slots=True)
class Observation:
    """One member, as seen in one round."""

    joined: bool  # came into the running array, by a rejoin
    faulty: bool  # md's own word
    in_sync: bool  # md's own word; true between `insync` and `slot`, which the wrapper hides
    path_failed: bool  # the hold layer had an error from below
    released: bool  # the hold layer fails instead of holding: we dropped the member
    slotless: bool = False  # md has taken its slot away
    controller: str = "live"  # nvme-tcp's state of the connection; `gone` when there is none; local: `live`
    unconnected: float = 0.0  # seconds since the controller was last live
    silence: float = 0.0  # seconds without an answer of the peer's kernel; 0 when local
    slow: float = 0.0  # seconds that it takes to answer; 0 when local
    bound: float = 0.0  # seconds that it may take; 0: any
    refused: bool = False  # the peer's kernel refuses connections to its target

    @property
    def silent(self) -> bool:
        """Whether its node has not answered for too long."""
        return self.silence >= SILENT_AFTER


def judge(seen: Observation) -> tuple[MemberHealth, str]:
    """The member's health and, when it is lost, why."""
    if seen.released:
        return MemberHealth.DROPPED, ""
    reason = _why_lost(seen)
    if reason:
        return MemberHealth.LOST, reason
    if not seen.in_sync:
        return MemberHealth.RECOVERING, ""
    return (MemberHealth.RECOVERED if seen.joined else MemberHealth.GOOD), ""


def _why_lost(seen: Observation) -> str:
    reasons = (
        (seen.faulty, "an error passed its hold layer and md failed it"),
        (seen.path_failed, "its device reports errors"),
        (seen.slotless, "md has ended the copy to it: what is to be copied cannot be read, as it seems"),
        (seen.controller in ("gone", "deleting", "dead"), f"its connection is {seen.controller}"),
        (seen.silent, f"its node has not answered for {seen.silence:.1f} s"),
        (0.0 < seen.bound <= seen.slow, f"it takes {seen.slow:.1f} s to answer"),
        (seen.refused and seen.unconnected >= REFUSED_AFTER, "its node refuses connections"),
        (seen.unconnected >= UNCONNECTED_AFTER, f"not connected for {seen.unconnected:.1f} s"),
    )
    return next((reason for holds, reason in reasons if holds), "")
