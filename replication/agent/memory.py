"""Keep the agent able to act while the machine is short of memory.

Writes wait in the kernel until this process lets them go. If it needed memory that can only be had by
writing to one of those volumes, both would wait for ever. So: its pages stay (as they are touched: locking
everything at once takes four times as much), its allocations do not start I/O, and it is the last that the
kernel would kill.
"""

import ctypes
import os
from pathlib import Path

from replication.errors import KernelError

_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4  # include/uapi/asm-generic/mman.h
_PR_SET_IO_FLUSHER = 57  # include/uapi/linux/prctl.h


def protect_from_memory_pressure() -> None:
    """Raise KernelError naming the call that was refused: the agent must not serve unprotected."""
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT), "mlockall(MCL_ONFAULT)")
    _check(libc.prctl(_PR_SET_IO_FLUSHER, 1, 0, 0, 0), "prctl(PR_SET_IO_FLUSHER)")
    Path("/proc/self/oom_score_adj").write_text("-1000", encoding="ascii")


def _check(status: int, call: str) -> None:
    if status != 0:
        raise KernelError(f"{call}: {os.strerror(ctypes.get_errno())}; the agent has to run as root")
