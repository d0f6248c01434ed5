"""What can be changed on a running array, and what holds when nobody has said anything."""

from dataclasses import dataclass

WRITE_LATENCY_BOUND = 5.0  # seconds
SCRUBS = ("check", "repair")  # md's words for what compares all members


@dataclass(frozen=True, slots=True)
class Tuning:
    """All of it is meant: there is no "as before"."""

    slots: int  # members that the array has room for; it never becomes smaller than what is in it
    rebuild_bandwidth: int = 0  # bytes a second that a copy may take; 0: no bound. It yields to users anyway
    write_latency_bound: float = WRITE_LATENCY_BOUND  # a remote member that takes longer is lost; 0: never
