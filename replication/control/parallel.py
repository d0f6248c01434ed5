"""Several nodes asked at once, with one deadline for all.

The threads are daemons: a node that hangs must keep neither an operation nor a short-lived command waiting.
Those that are done wait for the next question: to start a thread takes longer than to put most questions.
"""

import threading
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from replication.errors import TimedOut, TrilithError, Unavailable

IDLE_THREADS = 32

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class Waits:
    """Until when answers are waited for, in seconds since the question."""

    until_enough: float  # while those that there are do not suffice
    alive: float  # then for who has given a sign of life
    unknown: float  # and for who has not
    sign: float  # when those who have not answered are asked for a sign of life


def ask_all(calls: Mapping[K, Callable[[], T]], timeout: float) -> dict[K, T | TrilithError]:
    """Each call's answer or error, TimedOut for those that are still under way. Other exceptions pass."""
    question = _Question(calls)
    question.collect(lambda: timeout)
    return question.result()


def ask_most(calls: Mapping[K, Callable[[], T]], timeout: float, rest: float) -> dict[K, T | TrilithError]:
    """As `ask_all`, but until `rest` seconds at most once more than half have answered."""
    question = _Question(calls)
    question.collect(lambda: rest if 2 * len(question.answers) > len(calls) else timeout)
    return question.result()


def ask_patiently(
    calls: Mapping[K, Callable[[], T]],
    waits: Waits,
    *,
    is_enough: Callable[[Mapping[K, T | TrilithError]], bool],
    sign: Callable[[K], object],
) -> dict[K, T | TrilithError]:
    """As `ask_all`, longer for those who are busy than for those who are away.

    A `sign` of life is what raises nothing, or an error that is not Unavailable.
    """
    question = _Question(calls)

    def deadline() -> float:
        if not is_enough(question.answers):
            return waits.until_enough
        return waits.alive if question.missing() & question.alive else waits.unknown

    question.collect(lambda: min(deadline(), waits.sign))
    if question.seconds() < deadline():
        question.ask_for_signs(sign)
        question.collect(deadline)
    return question.result()


class _Question(Generic[K, T]):
    """Put to everybody at once."""

    def __init__(self, calls: Mapping[K, Callable[[], T]]) -> None:
        self.answers: dict[K, T | TrilithError] = {}
        self.alive: set[K] = set()
        self._begun = time.monotonic()
        self._keys = tuple(calls)
        self._queue: SimpleQueue[Callable[[], None]] = SimpleQueue()
        for key, call in calls.items():
            self._start(call, partial(self._take, key))

    def seconds(self) -> float:
        """Since it was put."""
        return time.monotonic() - self._begun

    def missing(self) -> set[K]:
        return set(self._keys) - self.answers.keys()

    def collect(self, deadline: Callable[[], float]) -> None:
        """What comes until `deadline`, seconds since the beginning, which may change with what comes."""
        while self.missing():
            try:
                take = self._queue.get(timeout=max(0.0, deadline() - self.seconds()))
            except Empty:
                return
            take()

    def ask_for_signs(self, sign: Callable[[K], object]) -> None:
        for key in self.missing():
            self._start(partial(sign, key), partial(self._take_sign, key))

    def result(self) -> dict[K, T | TrilithError]:
        late = TimedOut(f"no answer within {self.seconds():.3g} s")
        return {key: self.answers.get(key, late) for key in self._keys}

    def _start(self, call: Callable[[], U], take: Callable[[U | BaseException], None]) -> None:
        _crew.start(lambda: self._queue.put(partial(take, _result_of(call))))

    def _take(self, key: K, answer: T | BaseException) -> None:
        if isinstance(answer, BaseException) and not isinstance(answer, TrilithError):
            raise answer
        self.answers[key] = answer

    def _take_sign(self, key: K, answer: object) -> None:
        if isinstance(answer, BaseException) and not isinstance(answer, TrilithError):
            raise answer
        if not isinstance(answer, Unavailable):
            self.alive.add(key)


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
