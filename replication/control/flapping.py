"""Replicas that are lost again and again: how long one waits before it is taken back. Pure.

The first returns cost no wait: a node that reboots once or twice is as welcome as ever. One that goes on
waits longer each time, so that a link that comes and goes does not make writes stand still all the time.
"""

from collections.abc import Collection

WINDOW = 600.0  # seconds that a return is remembered
FREE = 2
SHORTEST, LONGEST = 5.0, 60.0


def find_wait(returns: Collection[float], now: float) -> float:
    """Seconds that are left to wait, by the times of earlier returns."""
    recent = list_recent(returns, now)
    excess = len(recent) - FREE
    if excess < 0:
        return 0.0
    pause = min(SHORTEST * float(1 << min(excess, 8)), LONGEST)
    return max(0.0, max(recent) + pause - now)


def list_recent(returns: Collection[float], now: float) -> tuple[float, ...]:
    return tuple(each for each in returns if now - each < WINDOW)
