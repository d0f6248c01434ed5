import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from replication.clock import SystemClock, wait_until
from replication.errors import NotFound
from replication.kernel.apart import Apart


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> Iterator[Apart]:
    """Its child's end is the end of a thread, and so of the agent."""
    made, ended = Apart(), threading.Event()
    monkeypatch.setattr(threading, "excepthook", lambda _: ended.set())
    yield made
    os.kill(made.pid, signal.SIGTERM)  # which it leaves to its parent
    assert not ended.wait(0.2)
    os.kill(made.pid, signal.SIGKILL)
    assert ended.wait(10)
    os.waitpid(made.pid, 0)
    made._socket.close()


def test_what_is_not_there_is_not_found(apart: Apart, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no-such-device"):
        apart.flush(str(tmp_path / "no-such-device"))


def test_one_that_waits_delays_no_other(apart: Apart, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"  # to open it waits for somebody who writes
    os.mkfifo(fifo)
    waiting = threading.Thread(target=_flush_fifo, args=(apart, fifo))
    waiting.start()
    with pytest.raises(NotFound):
        apart.flush(str(tmp_path / "missing"))
    assert waiting.is_alive()
    os.close(os.open(fifo, os.O_WRONLY))
    waiting.join(10)
    assert not waiting.is_alive()


def _flush_fifo(apart: Apart, fifo: Path) -> None:
    with pytest.raises(Exception, match="fifo"):
        apart.flush(str(fifo))


def test_the_child_has_nothing_else_open(apart: Apart) -> None:
    descriptors = Path(f"/proc/{apart.pid}/fd")
    wait_until(lambda: len(list(descriptors.iterdir())) == 4, "it to let go", timeout=5, clock=SystemClock())
    targets = sorted(str(each.readlink()).split(":")[0] for each in descriptors.iterdir())
    assert targets == ["/dev/null", "/dev/null", "/dev/null", "socket"]
