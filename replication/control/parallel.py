"""Several nodes asked at once, with one deadline for all.

The threads are daemons: a node that hangs must keep neither an operation nor a short-lived command waiting.
Those that are done wait for the next question: to start a thread takes longer than to put most questions.
"""

import threading
import time
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from replication.errors import TimedOut, TrilithError

IDLE_THREADS = 32

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class Waits:
    """Until when who has not answered yet is waited for: seconds since the question."""

    silent: float  # where it is known that nobody answers, unless nobody else has either
    sign: float  # then it is asked for a sign of life as well
    plain: float  # without a sign of life
    alive: float  # with one, or while nobody has answered


def ask_all(calls: Mapping[K, Callable[[], T]], timeout: float) -> dict[K, T | TrilithError]:
    """Each call's answer or error, TimedOut for those that are still under way. Other exceptions pass."""
    question = _Question(calls)
    question.collect(timeout, lambda: False)
    return question.result()


def ask_patiently(
    calls: Mapping[K, Callable[[], T]], sign: Callable[[K], object], waits: Waits, silent: Collection[K] = ()
) -> dict[K, T | TrilithError]:
    """As `ask_all`, longer for those who are busy than for those who are away.

    Who does not answer is asked for a `sign` of life, and is busy where that raises nothing. `silent` are
    those that are believed to be away.
    """
    question = _Question(calls)
    hoped = calls.keys() - set(silent) or calls.keys()
    question.collect(waits.sign, lambda: question.has_all(hoped))
    if not question.has_all(hoped):
        question.ask_for_signs(hoped, sign)
        question.collect(waits.plain, lambda: question.has_all(hoped))
        question.collect(waits.alive, lambda: question.has_any() and question.has_all(question.alive))
    question.collect(waits.silent, lambda: False)
    return question.result()


class _Question(Generic[K, T]):
    """Put to everybody at once."""

    def __init__(self, calls: Mapping[K, Callable[[], T]]) -> None:
        self.alive: set[K] = set()
        self._begun = time.monotonic()
        self._keys = tuple(calls)
        self._answers: dict[K, T | TrilithError] = {}
        self._queue: SimpleQueue[Callable[[], None]] = SimpleQueue()
        for key, call in calls.items():
            self._start(call, partial(self._take, key))

    def collect(self, until: float, enough: Callable[[], bool]) -> None:
        """What comes until so many seconds after the beginning, or until that is enough."""
        while len(self._answers) < len(self._keys) and not enough():
            try:
                take = self._queue.get(timeout=max(0.0, self._begun + until - time.monotonic()))
            except Empty:
                return
            take()

    def ask_for_signs(self, keys: Collection[K], sign: Callable[[K], object]) -> None:
        for key in keys - self._answers.keys():
            self._start(partial(sign, key), partial(self._take_sign, key))

    def has_all(self, keys: Collection[K]) -> bool:
        return all(key in self._answers for key in keys)

    def has_any(self) -> bool:
        """An answer that is no error."""
        return len(errors_of(self._answers)) < len(self._answers)

    def result(self) -> dict[K, T | TrilithError]:
        late = TimedOut(f"no answer within {time.monotonic() - self._begun:.3g} s")
        return {key: self._answers.get(key, late) for key in self._keys}

    def _start(self, call: Callable[[], U], take: Callable[[U | BaseException], None]) -> None:
        _crew.start(lambda: self._queue.put(partial(take, _result_of(call))))

    def _take(self, key: K, answer: T | BaseException) -> None:
        if isinstance(answer, BaseException) and not isinstance(answer, TrilithError):
            raise answer
        self._answers[key] = answer

    def _take_sign(self, key: K, answer: object) -> None:
        if not isinstance(answer, BaseException):
            self.alive.add(key)
        elif not isinstance(answer, TrilithError):
            raise answer


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


def errors_of(answers: Mapping[K, object]) -> dict[K, TrilithError]:
    return {key: answer for key, answer in answers.items() if isinstance(answer, TrilithError)}


def _result_of(call: Callable[[], T]) -> T | BaseException:
    try:
        return call()
    except BaseException as error:  # noqa: BLE001 - raised again by the thread that asked
        return error
