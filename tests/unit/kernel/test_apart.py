"""Each in a process of its own, as in the agent: one that has not used gRPC, whose hooks a fork would run."""

import os
import signal
import threading
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import pytest

from replication.clock import SystemClock, wait_until
from replication.errors import KernelError, NotFound
from replication.kernel.apart import Apart


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    alone(ask_for_what_is_not_there, tmp_path)


def test_one_that_waits_delays_no_other(tmp_path: Path) -> None:
    alone(ask_while_another_waits, tmp_path)


def test_the_child_has_nothing_else_open(tmp_path: Path) -> None:
    alone(look_at_what_is_open, tmp_path)


def test_a_signal_to_both_is_left_to_the_parent(tmp_path: Path) -> None:
    alone(ask_after_a_signal, tmp_path)


def test_the_end_of_the_child_is_told_to_whoever_waits(tmp_path: Path) -> None:
    alone(wait_while_it_ends, tmp_path)


def test_the_child_is_in_a_cgroup_of_its_own_where_one_is_named(tmp_path: Path) -> None:
    alone(look_where_it_is, tmp_path)


def test_it_works_where_no_cgroup_can_be_made(tmp_path: Path) -> None:
    alone(ask_without_a_cgroup, tmp_path)


def alone(scenario: Callable[[Path], None], folder: Path) -> None:
    process = get_context("spawn").Process(target=scenario, args=(folder,))
    process.start()
    process.join(60)
    assert process.exitcode == 0


def ask_for_what_is_not_there(folder: Path) -> None:
    expect_nothing_there(Apart(), folder)


def ask_while_another_waits(folder: Path) -> None:
    apart = Apart()
    waiting = Waiting(apart, folder)
    expect_nothing_there(apart, folder)
    assert waiting.is_alive()
    os.close(os.open(waiting.fifo, os.O_WRONLY))
    waiting.join(10)
    assert waiting.error.startswith(f"direct access to {waiting.fifo}"), "a pipe cannot be flushed"


def ask_without_a_cgroup(folder: Path) -> None:
    expect_nothing_there(Apart(folder / "none" / "trilith"), folder)


def look_where_it_is(folder: Path) -> None:
    """A folder stands for the cgroup; what is written there, a kernel would obey."""
    apart = Apart(folder / "trilith")
    expect_nothing_there(apart, folder)
    assert (folder / "trilith" / "cgroup.procs").read_text() == str(apart.pid)


def look_at_what_is_open(_: Path) -> None:
    descriptors = Path(f"/proc/{Apart().pid}/fd")
    wait_until(lambda: len(list(descriptors.iterdir())) == 4, "it to let go", timeout=20, clock=SystemClock())
    targets = sorted(str(each.readlink()).split(":")[0] for each in descriptors.iterdir())
    assert targets == ["/dev/null", "/dev/null", "/dev/null", "socket"]


def ask_after_a_signal(folder: Path) -> None:
    apart = Apart()
    os.kill(apart.pid, signal.SIGTERM)
    expect_nothing_there(apart, folder)


def wait_while_it_ends(folder: Path) -> None:
    """And of a thread: replication/threads.py makes it the agent's."""
    apart, ended = Apart(), threading.Event()
    threading.excepthook = lambda _: ended.set()
    waiting = Waiting(apart, folder)
    os.kill(apart.pid, signal.SIGKILL)
    waiting.join(10)
    assert "has ended" in waiting.error
    assert ended.wait(10)


def expect_nothing_there(apart: Apart, folder: Path) -> None:
    with pytest.raises(NotFound, match="no-such-device"):
        apart.flush(str(folder / "no-such-device"))


class Waiting(threading.Thread):
    """Flushes a pipe: to open it waits for somebody who writes."""

    def __init__(self, apart: Apart, folder: Path) -> None:
        super().__init__(daemon=True)
        self._apart, self.fifo, self.error = apart, folder / "fifo", ""
        os.mkfifo(self.fifo)
        self.start()

    def run(self) -> None:
        try:
            self._apart.flush(str(self.fifo))
        except KernelError as error:
            self.error = str(error)
