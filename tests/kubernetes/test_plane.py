"""A control plane of a test leaves nothing behind, however its process ends."""

import signal
import subprocess  # noqa: TID251  it is this process's end that is tested
import sys
from pathlib import Path

import pytest

from hack.lab.paths import REPOSITORY
from hack.lab.rundir import sweep
from replication.clock import SystemClock, wait_until

RUN = """
import threading
from hack.kubernetes.plane import ControlPlane
with ControlPlane() as plane:
    print(plane.folder, flush=True)
    threading.Event().wait()
"""


def list_users(folder: Path) -> list[str]:
    """Processes that were started with a file of this folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:  # it has ended meanwhile
            continue
        if str(folder).encode() in words:
            found.append(path.parent.name)
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_programs_and_files_go_with_the_process_that_wanted_them(number: signal.Signals) -> None:
    argv = [sys.executable, "-c", RUN]
    with subprocess.Popen(argv, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        assert len(list_users(folder)) == 2
        process.send_signal(number)
        process.wait(60)
    wait_until(lambda: list_users(folder) == [], "both have ended", timeout=60, clock=SystemClock())
    if number is signal.SIGKILL:
        sweep()  # as the next run does
    assert not folder.exists()
