"""Programs that run beside a test, and end with it, however it ends."""

import concurrent.futures
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from hack.lab.errors import LabError

GRACE = 10.0
_TAIL = 2000

_launcher = concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="launcher")
"""One thread that lives as long as the process: a program dies with the thread that started it."""


class Daemon:
    """A program that can be ended, killed, held still, and started again with the same words."""

    def __init__(self, argv: Sequence[str], log: Path) -> None:
        self.log = log
        self._argv = tuple(argv)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = _launcher.submit(self._start).result()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as output:
            return subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *self._argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # an interrupt at the keyboard is ours to act on
            )

    def end(self) -> None:
        """Politely, and for good after a while. Nothing to do when it has ended."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            try:
                self._process.wait(GRACE)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def pause(self) -> None:
        """It keeps its connections, and answers nothing: when this returns, all its threads have stopped."""
        process = self._running()
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)

    def resume(self) -> None:
        self._running().send_signal(signal.SIGCONT)

    def require_alive(self) -> None:
        """LabError with the last words of a program that has ended."""
        status = self._running().poll()
        if status is not None:
            words = self.log.read_text(errors="replace")[-_TAIL:]
            raise LabError(f"{self.log.stem} ended with status {status}: {words}")

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise LabError(f"{self.log.stem} was never started")
        return self._process
