"""One agent of a machine at a time, whoever starts them.

What one has read of a header another must not write meanwhile: the older of two epochs would be the last to
be written, and its consumer let in again. The port alone does not keep them apart: whoever is told to end
gives it back at once, and only then sees to the end of what is under way.
"""

import fcntl
import os

from replication.clock import Clock, wait_until
from replication.errors import FailedPrecondition, TimedOut
from replication.kernel.sysfs import Tree, refuse

LOCK = "/run/trilith/agent.lock"
PATIENCE = 30.0  # seconds; an agent that is told to end takes a few


def ensure_alone(tree: Tree, clock: Clock) -> int:
    """Return a descriptor that nobody closes: the lock ends with the process.

    FailedPrecondition while another agent runs.
    """
    path = tree.path(LOCK)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        refuse(f"open {path}", error)
    try:
        wait_until(
            lambda: _try_to_lock(descriptor),
            "another agent to end",
            timeout=PATIENCE,
            clock=clock,
            interval=0.1,
        )
    except TimedOut as error:
        os.close(descriptor)
        raise FailedPrecondition(f"another agent runs on this machine: it holds {path}") from error
    return descriptor


def _try_to_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
