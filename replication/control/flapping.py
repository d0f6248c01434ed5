"""Replicas that are lost again and again: how long one waits before it is taken back. Pure.

The first returns cost no wait: a node that reboots once or twice is as welcome as ever. One that goes on
waits longer each time, so that a link that comes and goes does not make writes stand still all the time.

One that was slow waits from the first time, and longer: nothing says whether it still is until users' writes
wait for it again.
"""

from collections.abc import Collection

WINDOW = 600.0  # seconds that a return is remembered
FREE = 2
SHORTEST, LONGEST = 5.0, 60.0
SLOW_WINDOW = 3600.0
SLOW_SHORTEST, SLOW_LONGEST = 30.0, 600.0
_SLOW = " s to answer"  # the end of an agent's reason (agent/judge.py); a report has no other word for it


def is_slowness(reason: str) -> bool:
    """Whether that is why its agent calls a member lost."""
    return reason.endswith(_SLOW)


def find_wait(returns: Collection[float], now: float) -> float:
    """Seconds that are left to wait, by the times of earlier returns."""
    recent = list_recent(returns, now)
    excess = len(recent) - FREE
    if excess < 0:
        return 0.0
    return max(0.0, max(recent) + _pause(SHORTEST, excess, LONGEST) - now)


def find_wait_of_slow(losses: Collection[float], now: float) -> float:
    """Seconds that are left to wait, by the times at which it was lost because it was slow."""
    recent = [each for each in losses if now - each < SLOW_WINDOW]
    if not recent:
        return 0.0
    return max(0.0, max(recent) + _pause(SLOW_SHORTEST, len(recent) - 1, SLOW_LONGEST) - now)


def add_slowness(losses: tuple[float, ...], returns: Collection[float], now: float) -> tuple[float, ...]:
    """It is slow `now`: the same loss still, unless it has come back since."""
    again = not losses or max(returns, default=losses[-1]) > losses[-1]
    earlier = losses if again else losses[:-1]
    return (*(each for each in earlier if now - each < SLOW_WINDOW), now)


def list_recent(returns: Collection[float], now: float) -> tuple[float, ...]:
    return tuple(each for each in returns if now - each < WINDOW)


def _pause(shortest: float, doublings: int, longest: float) -> float:
    return min(shortest * float(1 << min(doublings, 8)), longest)
