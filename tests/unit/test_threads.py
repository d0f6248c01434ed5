import subprocess  # noqa: TID251 - a process that ends
import sys

from replication.threads import EXIT_STATUS

_PROGRAM = """
import threading
from replication.threads import end_with_any_thread

end_with_any_thread()
threading.Thread(target=lambda: 1 // 0, name="watcher").start()
threading.Event().wait()
"""


def test_a_process_ends_with_any_of_its_threads_and_says_why() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == EXIT_STATUS
    assert "watcher ended unexpectedly" in done.stderr
    assert "ZeroDivisionError" in done.stderr
