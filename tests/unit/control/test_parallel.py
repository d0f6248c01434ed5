"""Questions put at once: nobody waits for one that hangs, and threads are used again."""

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from queue import SimpleQueue

import pytest

from replication.clock import SystemClock, wait_until
from replication.control.parallel import (
    IDLE_THREADS,
    Crew,
    Waits,
    ask_all,
    ask_most,
    ask_patiently,
    errors_of,
)
from replication.errors import TimedOut, Unavailable, Unsupported


def test_answers_and_errors_come_by_key_and_what_hangs_is_late() -> None:
    release = threading.Event()

    def fail() -> str:
        raise Unavailable("away")

    def hang() -> str:
        release.wait()
        return "too late"

    answers = ask_all({"a": lambda: "here", "b": fail, "c": hang}, timeout=0.5)
    release.set()
    assert answers["a"] == "here"
    assert {key: type(error) for key, error in errors_of(answers).items()} == {
        "b": Unavailable,
        "c": TimedOut,
    }


LONG = 20.0
WAITS = Waits(until_enough=LONG, alive=LONG, unknown=1.0, sign=0.1)


def ready_after(seconds: float, word: str) -> Callable[[], str]:
    return lambda: word if not threading.Event().wait(seconds) else ""


def never() -> str:
    threading.Event().wait(60.0)
    return "too late"


def fail() -> str:
    raise Unavailable("away")


def has_answer(answers: Mapping[str, object]) -> bool:
    return any(not isinstance(answer, Exception) for answer in answers.values())


def test_the_rest_is_not_waited_for_when_most_have_answered() -> None:
    began = time.monotonic()
    answers = ask_most({"a": lambda: "here", "b": fail, "c": never}, LONG, 0.2)
    assert time.monotonic() - began < LONG / 2
    assert (answers["a"], type(answers["b"]), type(answers["c"])) == ("here", Unavailable, TimedOut)


def test_half_of_them_are_not_most() -> None:
    assert ask_most({"a": lambda: "here", "b": ready_after(0.3, "too")}, LONG, 0.1) == {
        "a": "here",
        "b": "too",
    }


def ask(
    calls: dict[str, Callable[[], str]],
    waits: Waits = WAITS,
    *,
    alive: Collection[str] = (),
) -> dict[str, object]:
    """What each said, or what kind of error it was."""

    def sign(key: str) -> None:
        if key not in alive:
            raise Unavailable("away")

    answers = ask_patiently(calls, waits, is_enough=has_answer, sign=sign)
    return {key: type(answer) if isinstance(answer, Exception) else answer for key, answer in answers.items()}


def test_who_is_alive_is_waited_for_longer_than_who_is_not() -> None:
    calls = {"quick": ready_after(0, "here"), "busy": ready_after(2.0, "here too"), "dead": never}
    assert ask(calls, alive=["busy"]) == {"quick": "here", "busy": "here too", "dead": TimedOut}


def test_an_error_that_somebody_alive_gives_is_a_sign_too() -> None:
    calls = {"quick": ready_after(0, "here"), "busy": ready_after(2.0, "here too")}

    def sign(_: str) -> None:
        raise Unsupported("no such call")

    assert ask_patiently(calls, WAITS, is_enough=has_answer, sign=sign)["busy"] == "here too"


def test_until_there_is_enough_also_those_without_a_sign_are_waited_for() -> None:
    """An error is no answer that would do."""
    calls = {"fails": fail, "back": ready_after(2.0, "back"), "dead": never}
    assert ask(calls) == {"fails": Unavailable, "back": "back", "dead": TimedOut}


def test_an_answer_that_does_not_do_is_not_enough() -> None:
    calls = {"doubtful": ready_after(0, "perhaps"), "back": ready_after(2.0, "surely")}
    answers = ask_patiently(
        calls,
        WAITS,
        is_enough=lambda found: "surely" in found.values(),
        sign=lambda _: never(),
    )
    assert answers == {"doubtful": "perhaps", "back": "surely"}


def test_patience_ends_with_those_who_are_alive_as_well() -> None:
    waits = replace(WAITS, alive=0.5, until_enough=0.5)
    assert ask({"busy": never}, waits, alive=["busy"]) == {"busy": TimedOut}


def test_nobody_is_asked_for_a_sign_who_is_not_waited_for_any_longer() -> None:
    calls = {"here": ready_after(0, "here"), "dead": never}
    asked = threading.Event()
    waits = replace(WAITS, sign=2.0)
    ask_patiently(calls, waits, is_enough=has_answer, sign=lambda _: asked.set())
    assert not asked.is_set()


def test_a_bug_in_a_sign_passes() -> None:
    with pytest.raises(ZeroDivisionError):
        ask_patiently({"a": never}, WAITS, is_enough=has_answer, sign=lambda _: 1 // 0)


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
