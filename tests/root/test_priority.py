"""The agent's priority, as its threads and programs inherit it."""

import os
import threading

import pytest

from replication.agent.priority import NICE, ensure_priority
from replication.kernel.run import run

pytestmark = pytest.mark.root


def test_what_the_agent_starts_is_as_prompt_as_itself() -> None:
    found: list[str] = []

    def start() -> None:
        ensure_priority()
        inner = threading.Thread(target=lambda: found.append(str(os.getpriority(os.PRIO_PROCESS, 0))))
        inner.start()
        inner.join()
        found.append(run(["nice"], timeout=30).strip())

    thread = threading.Thread(target=start)  # the test's own stays as it is
    thread.start()
    thread.join()
    assert found == [str(NICE), str(NICE)]
    assert os.getpriority(os.PRIO_PROCESS, 0) == 0
