"""Keep the agent prompt on a machine whose processors are busy.

Writes wait for its word when a replica is lost, and the control plane takes a silent agent for a dead node.
It needs little of a processor; that little it has to get before whatever its node runs. Where cgroups share
processors out, this holds within the agent's own: its container needs a weight of its own besides.
"""

import os

from replication.errors import KernelError

NICE = -5
"""Not the most that there is: kernel threads move the bytes, and most of them have 0."""


def ensure_priority() -> None:
    """For this thread, and for all threads and programs that it starts from now on (sched(7)).

    Raise KernelError when it is refused.
    """
    try:
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
    except PermissionError as error:
        raise KernelError(f"setpriority({NICE}): {error.strerror}; the agent has to run as root") from error
