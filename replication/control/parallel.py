"""Several nodes asked at once, with one deadline for all.

The threads are daemons: a node that hangs must keep neither an operation nor a short-lived command waiting.
Those that are done wait for the next question: to start a thread takes longer than to put most questions.
"""

import threading
import time
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from queue import Empty, SimpleQueue
from typing import TypeVar

from replication.errors import TimedOut, TrilithError

IDLE_THREADS = 32

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


def ask_all(
    calls: Mapping[K, Callable[[], T]], timeout: float, patience: float = 0.0
) -> dict[K, T | TrilithError]:
    """Each call's answer or error, TimedOut for those that are still under way. Other exceptions pass.

    Where there is no answer after `timeout`, one is waited for until `patience` is over; then the others, for
    `timeout` more.
    """
    queue: _Queue[K, T] = SimpleQueue()
    for key, call in calls.items():
        _crew.start(partial(_ask, key, call, queue))
    answers: dict[K, T | TrilithError] = {}
    begun = time.monotonic()
    _collect(queue, answers, len(calls), begun + timeout)
    if not _has_answer(answers) and patience > timeout:
        _collect(queue, answers, len(calls), begun + patience, until=_has_answer)
        if _has_answer(answers):
            _collect(queue, answers, len(calls), time.monotonic() + timeout)
    late = TimedOut(f"no answer within {time.monotonic() - begun:.3g} s")
    return {key: answers.get(key, late) for key in calls}


def _collect(
    queue: "_Queue[K, T]",
    answers: dict[K, T | TrilithError],
    count: int,
    deadline: float,
    until: Callable[[Mapping[K, object]], bool] = lambda _: False,
) -> None:
    """What comes in time, unless that is enough before."""
    while len(answers) < count and not until(answers):
        try:
            key, answer = queue.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            return
        if isinstance(answer, BaseException) and not isinstance(answer, TrilithError):
            raise answer
        answers[key] = answer


def _has_answer(answers: Mapping[K, object]) -> bool:
    return len(errors_of(answers)) < len(answers)


class Crew:
    """Threads, as many as there is work for at once; a few stay when it is done."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._idle: list[SimpleQueue[Callable[[], None]]] = []

    def start(self, work: Callable[[], None]) -> None:
        """Begin it at once. It must not raise."""
        with self._mutex:
            queue = self._idle.pop() if self._idle else None
        if queue is None:
            queue = SimpleQueue()
            threading.Thread(target=self._serve, args=(queue,), name="ask", daemon=True).start()
        queue.put(work)

    def _serve(self, queue: "SimpleQueue[Callable[[], None]]") -> None:
        while True:
            queue.get()()
            with self._mutex:
                if len(self._idle) >= IDLE_THREADS:
                    return
                self._idle.append(queue)


_crew = Crew()
_Queue = SimpleQueue[tuple[K, T | TrilithError | BaseException]]


def errors_of(answers: Mapping[K, object]) -> dict[K, TrilithError]:
    return {key: answer for key, answer in answers.items() if isinstance(answer, TrilithError)}


def _ask(key: K, call: Callable[[], T], queue: "_Queue[K, T]") -> None:
    try:
        queue.put((key, call()))
    except BaseException as error:  # noqa: BLE001 - raised again by the thread that asked
        queue.put((key, error))
