"""Several nodes asked at once, with one deadline for all.

The threads are daemons: a node that hangs must keep neither an operation nor a short-lived command waiting.
"""

import threading
import time
from collections.abc import Callable, Hashable, Mapping
from queue import Empty, SimpleQueue
from typing import TypeVar

from replication.errors import TimedOut, TrilithError

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


def ask_all(calls: Mapping[K, Callable[[], T]], timeout: float) -> dict[K, T | TrilithError]:
    """Each call's answer or error, TimedOut for those that are still under way. Other exceptions pass."""
    queue: SimpleQueue[tuple[K, T | TrilithError | BaseException]] = SimpleQueue()
    for key, call in calls.items():
        threading.Thread(target=_ask, args=(key, call, queue), name=f"ask {key}", daemon=True).start()
    late = TimedOut(f"no answer within {timeout:g} s")
    answers: dict[K, T | TrilithError] = dict.fromkeys(calls, late)
    deadline = time.monotonic() + timeout
    for _ in calls:
        try:
            key, answer = queue.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            break
        if isinstance(answer, BaseException) and not isinstance(answer, TrilithError):
            raise answer
        answers[key] = answer
    return answers


def errors_of(answers: Mapping[K, object]) -> dict[K, TrilithError]:
    return {key: answer for key, answer in answers.items() if isinstance(answer, TrilithError)}


def _ask(
    key: K, call: Callable[[], T], queue: "SimpleQueue[tuple[K, T | TrilithError | BaseException]]"
) -> None:
    try:
        queue.put((key, call()))
    except BaseException as error:  # noqa: BLE001 - raised again by the thread that asked
        queue.put((key, error))
