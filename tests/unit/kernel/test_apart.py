"""Each in a process of its own, as in the agent: one that has not used gRPC, whose hooks a fork would run."""

import os
import signal
import socket
import threading
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import pytest

from replication.clock import SystemClock, wait_until
from replication.errors import KernelError, NotFound, TimedOut
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


def test_what_is_written_is_there(tmp_path: Path) -> None:
    alone(write_and_look, tmp_path)


def test_a_write_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    alone(write_where_nobody_reads, tmp_path)


def test_a_write_ends_with_whoever_asked_for_it(tmp_path: Path) -> None:
    alone(end_while_it_writes, tmp_path)


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


def write_and_look(folder: Path) -> None:
    apart, attribute = Apart(), folder / "attribute"
    attribute.write_text("")
    apart.write(str(attribute), "17", 10)
    assert attribute.read_text() == "17"
    with pytest.raises(NotFound, match="none: No such file"):
        apart.write(str(folder / "none"), "17", 10)
    with pytest.raises(KernelError, match="Is a directory"):
        apart.write(str(folder), "17", 10)


def write_where_nobody_reads(folder: Path) -> None:
    """Whatever this process does with an alarm."""
    signal.signal(signal.SIGALRM, lambda *_: None)
    apart, fifo = Apart(), folder / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(TimedOut, match="not within"):
        apart.write(str(fifo), "17", 0.2)
    expect_nothing_there(apart, folder)
    assert list_children(apart.pid) == []


def end_while_it_writes(folder: Path) -> None:
    """All that the agent's end closes is its end of the socket."""
    apart, fifo = Apart(), folder / "fifo"
    os.mkfifo(fifo)
    threading.Thread(target=apart.write, args=(str(fifo), "17", 3600), daemon=True).start()
    wait_until(lambda: bool(list_children(apart.pid)), "it to write", timeout=20, clock=SystemClock())
    (writing,) = list_children(apart.pid)
    threading.excepthook = lambda _: None
    apart._socket.shutdown(socket.SHUT_RDWR)
    wait_until(lambda: is_dead(writing), "the write to end", timeout=20, clock=SystemClock())


def list_children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(word) for task in tasks for word in task.read_text().split()]


def is_dead(pid: int) -> bool:
    """Nobody may have waited for it yet."""
    status = Path(f"/proc/{pid}/status")
    return not status.exists() or "State:\tZ" in status.read_text()


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
