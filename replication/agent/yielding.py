"""Copies and scrubs stand still for a part of the time while somebody uses the volume.

md gives way only once somebody has read or written 32 KiB, and only until what it is just copying is written
(drivers/md/md.c: is_mddev_idle, md_do_sync). So it takes most of what there is from small writes.
"""

from replication.agent.assembled import Assembled, Turn
from replication.agent.slowness import Counters, parse_counters
from replication.agent.tuning import find_bound
from replication.kernel import md
from replication.kernel.md_state import SYNCS, stat_path
from replication.kernel.sysfs import Tree

BUSY = 20.0  # users' reads and writes a second; or some under way at both ends of a run
RUN_SECONDS = 1.5
PAUSE_SECONDS = 1.0  # both are longer by as much as it takes until the next look, and md's next half second
PAUSE_SPEED = 1024  # bytes a second; md does its `sync_speed_min` all the same, 1 MB/s as a rule


def take_turns(tree: Tree, array: Assembled, activity: str, now: float) -> None:
    """Called at each look, two a second while an array copies, now and then by two threads at once.

    An agent may have died in a pause.
    """
    last, limit = array.turn, md.read_sync_limit(tree, array.volume_id)
    if activity not in SYNCS:
        if last is not None and last.paused:
            md.limit_sync_speed(tree, array.volume_id, _find_running(array, limit))
        array.turn = None
        return
    counters = parse_counters(tree.read(stat_path(array.volume_id)))
    if last is None:
        paused = limit == PAUSE_SPEED
    elif now - last.begun >= (PAUSE_SECONDS if last.paused else RUN_SECONDS):
        paused = not last.paused and is_used(last.counters, counters, now - last.begun)
    else:
        return
    running = _find_running(array, limit)
    if limit != (PAUSE_SPEED if paused else running):
        md.limit_sync_speed(tree, array.volume_id, PAUSE_SPEED if paused else running)
    array.turn = Turn(now, paused, counters, running)


def _find_running(array: Assembled, limit: int) -> int:
    """As we were told; else as it is, or was before the pause."""
    if array.tuning is None and limit != PAUSE_SPEED:
        return limit
    if array.tuning is None and array.turn is not None:
        return array.turn.bound
    return find_bound(array.tuning)


def is_used(before: Counters, after: Counters, seconds: float) -> bool:
    """By what users did meanwhile. Those whom the copy holds up most get little done, and always wait."""
    return (after.ended - before.ended) / seconds >= BUSY or bool(before.under_way and after.under_way)
