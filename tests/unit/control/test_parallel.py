"""Questions put at once: nobody waits for one that hangs, and threads are used again."""

import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue

import pytest

from replication.clock import SystemClock, wait_until
from replication.control.parallel import IDLE_THREADS, Crew, ask_all, errors_of
from replication.errors import TimedOut, Unavailable


def test_answers_and_errors_come_by_key_and_what_hangs_is_late() -> None:
    release = threading.Event()

    def fail() -> str:
        raise Unavailable("away")

    def hang() -> str:
        release.wait()
        return "too late"

    answers = ask_all({"a": lambda: "here", "b": fail, "c": hang}, timeout=0.05)
    release.set()
    assert answers["a"] == "here"
    assert {key: type(error) for key, error in errors_of(answers).items()} == {
        "b": Unavailable,
        "c": TimedOut,
    }


def test_somebodys_answer_is_waited_for_longer_than_everybodys() -> None:
    first, second = threading.Event(), threading.Event()

    def answer(event: threading.Event, word: str) -> str:
        event.wait(10.0)
        return word

    def fail() -> str:
        raise Unavailable("away")

    calls: dict[str, Callable[[], str]] = {
        "a": fail,
        "b": partial(answer, first, "here"),
        "c": partial(answer, second, "here too"),
        "d": partial(answer, threading.Event(), "too late"),
    }
    threading.Timer(0.6, first.set).start()
    threading.Timer(0.8, second.set).start()
    answers = ask_all(calls, timeout=0.5, patience=20.0)
    assert answers["b"] == "here"
    assert answers["c"] == "here too"
    assert {key: type(error) for key, error in errors_of(answers).items()} == {
        "a": Unavailable,
        "d": TimedOut,
    }


def test_when_nobody_answers_patience_ends() -> None:
    late = ask_all({"a": lambda: str(threading.Event().wait(60.0))}, timeout=0.05, patience=0.1)
    assert type(late["a"]) is TimedOut


def test_who_answers_in_time_waits_for_nobody_else() -> None:
    answers = ask_all({"a": lambda: "here", "c": lambda: str(threading.Event().wait(60.0))}, 0.05, 20.0)
    assert answers["a"] == "here"
    assert type(answers["c"]) is TimedOut


def test_an_error_that_is_none_of_ours_passes() -> None:
    with pytest.raises(ZeroDivisionError):
        ask_all({"a": lambda: 1 // 0}, timeout=5.0)


def test_threads_are_used_again() -> None:
    crew = Crew()
    seen: SimpleQueue[int] = SimpleQueue()
    idents = set()
    for _ in range(50):
        crew.start(lambda: seen.put(threading.get_ident()))
        idents.add(seen.get(timeout=5.0))
    assert len(idents) < 50


def test_all_that_is_begun_runs_at_once_and_few_threads_stay() -> None:
    crew, meeting = Crew(), threading.Barrier(IDLE_THREADS + 21)
    threads: list[threading.Thread] = []

    def meet() -> None:
        threads.append(threading.current_thread())
        meeting.wait(10.0)

    for _ in range(IDLE_THREADS + 20):
        crew.start(meet)
    meeting.wait(10.0)
    wait_until(
        lambda: sum(thread.is_alive() for thread in threads) == IDLE_THREADS,
        "the others have ended",
        timeout=10,
        clock=SystemClock(),
    )
