"""A command of ours as a process of its own, for what only a process has: signals."""

import os
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


class Process:
    """`python -m MODULE WORDS`, its standard error in a file."""

    def __init__(self, log: Path, module: str, *words: str) -> None:
        self._log = log
        argv = [sys.executable, "-m", module, *words]
        opened = (os.POSIX_SPAWN_OPEN, 2, str(log), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self._pid = os.posix_spawn(sys.executable, argv, _environment(), file_actions=[opened])

    @property
    def pid(self) -> int:
        return self._pid

    @property
    def said(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send the signal, and return the exit status."""
        os.kill(self._pid, number)
        _, status = os.waitpid(self._pid, 0)
        return os.waitstatus_to_exitcode(status)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def run_python(code: str) -> int:
    """The exit status of a Python process that runs `code`."""
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", code], _environment())
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
