"""What takes long is done beside the operator's passes, which then look again."""

from collections.abc import Callable

from replication.clock import Clock
from replication.control.control import Control
from replication.control.reconciler import Tasks
from replication.control.repair import Task


class Chores:
    """Each at most once at a time, and less often while it fails."""

    def __init__(self, control: Control, clock: Clock, wake: Callable[[], object]) -> None:
        self._tasks = Tasks(control, clock)
        self._wake = wake

    def start(self, key: tuple[str, ...], task: Task) -> None:
        """`key` is what it does, to whom or what."""

        def work() -> None:
            try:
                task()
            finally:
                self._wake()

        self._tasks.start(key, work)

    def find_failure(self, key: tuple[str, ...]) -> str:
        """Why it went wrong the last time; empty when it did not."""
        return self._tasks.find_failure(key)
