"""Kernel calls that can block for ever, each in a thread of its own and bounded in time for the caller."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from replication.errors import TimedOut

T = TypeVar("T")


class _Call(threading.Thread, Generic[T]):
    """One call. When its caller has given up, `late` is told of what came after all."""

    def __init__(self, what: str, function: Callable[[], T], late: Callable[[T], None] | None) -> None:
        super().__init__(name=what, daemon=True)
        self._function = function
        self._late = late
        self._lock = threading.Lock()
        self._abandoned = False
        self._result: list[T] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            result = self._function()
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            self._error = error
            return
        with self._lock:
            self._result.append(result)
            abandoned = self._abandoned
        if abandoned and self._late is not None:
            self._late(result)

    def outcome(self) -> T:
        """Raises TimedOut when there is none yet; from then on `late` gets it."""
        if self._error is not None:
            raise self._error
        with self._lock:
            if not self._result:
                self._abandoned = True
                raise TimedOut(f"{self.name}: the kernel has not answered yet")
            return self._result[0]


class Blocking:
    """Runs calls that can block, at most one per key.

    A call that did not end in time goes on in its thread, in state D perhaps. It is not forgotten: the next
    call with its key waits for it first, so that nobody takes the half-done for done.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: dict[str, threading.Thread] = {}

    def call(
        self,
        key: str,
        function: Callable[[], T],
        *,
        timeout: float,
        late: Callable[[T], None] | None = None,
    ) -> T:
        """What `function` returns or raises; TimedOut, naming `key`, after `timeout` seconds.

        `late`, if given, is called with the result of a call that ended after its caller had left.
        """
        call = _Call(key, function, late)
        self._start_alone(key, call, timeout)
        call.join(timeout)
        return call.outcome()

    def _start_alone(self, key: str, call: threading.Thread, timeout: float) -> None:
        before = self._find(key)
        if before is not None:
            before.join(timeout)
        with self._lock:
            if self._find_alive(key) is not None:
                raise TimedOut(f"{key}: an earlier call still waits for the kernel")
            self._pending = {name: thread for name, thread in self._pending.items() if thread.is_alive()}
            self._pending[key] = call
            call.start()

    def _find(self, key: str) -> threading.Thread | None:
        with self._lock:
            return self._find_alive(key)

    def _find_alive(self, key: str) -> threading.Thread | None:
        thread = self._pending.get(key)
        return thread if thread is not None and thread.is_alive() else None

    def is_pending(self, key: str) -> bool:
        """Whether a call with this key is still under way."""
        return self._find(key) is not None
