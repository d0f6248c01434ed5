"""Questions put at once: nobody waits for one that hangs, and threads are used again."""

import threading
from collections.abc import Callable
from dataclasses import replace
from queue import SimpleQueue

import pytest

from replication.clock import SystemClock, wait_until
from replication.control.parallel import IDLE_THREADS, Crew, Waits, ask_all, ask_patiently, errors_of
from replication.errors import TimedOut, TrilithError, Unavailable


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


QUICK = Waits(silent=0.05, sign=0.1, plain=0.2, alive=20.0)


def ready_after(seconds: float, word: str) -> Callable[[], str]:
    return lambda: word if not threading.Event().wait(seconds) else ""


def never() -> str:
    threading.Event().wait(60.0)
    return "too late"


def gives_signs(*alive: str) -> Callable[[str], None]:
    def sign(key: str) -> None:
        if key not in alive:
            raise Unavailable("away")

    return sign


def kinds(answers: dict[str, str | TrilithError]) -> dict[str, object]:
    """What each said, or what kind of error it was."""
    return {key: type(answer) if isinstance(answer, Exception) else answer for key, answer in answers.items()}


def test_who_is_alive_is_waited_for_longer_than_who_is_not() -> None:
    calls = {"quick": ready_after(0, "here"), "busy": ready_after(0.6, "here too"), "dead": never}
    answers = ask_patiently(calls, gives_signs("quick", "busy"), QUICK)
    assert kinds(answers) == {"quick": "here", "busy": "here too", "dead": TimedOut}


def test_somebody_is_waited_for_also_where_nobody_gives_a_sign() -> None:
    calls = {"slow": ready_after(0.6, "here"), "dead": never}
    assert kinds(ask_patiently(calls, gives_signs(), QUICK)) == {"slow": "here", "dead": TimedOut}


def test_patience_ends_with_those_who_are_alive_as_well() -> None:
    answers = ask_patiently({"busy": never}, gives_signs("busy"), replace(QUICK, alive=0.4))
    assert kinds(answers) == {"busy": TimedOut}


def test_who_is_known_to_be_silent_is_waited_for_least() -> None:
    """Nobody is asked for a sign: the others have answered before."""
    waits = Waits(silent=0.2, sign=30.0, plain=30.0, alive=30.0)
    calls = {"here": ready_after(0, "here"), "back": ready_after(0.05, "back"), "dead": never}
    answers = ask_patiently(calls, lambda _: pytest.fail("asked for a sign"), waits, ("back", "dead"))
    assert kinds(answers) == {"here": "here", "back": "back", "dead": TimedOut}


def test_where_all_are_believed_silent_they_are_waited_for_like_others() -> None:
    calls = {"back": ready_after(0.3, "back")}
    assert kinds(ask_patiently(calls, gives_signs(), QUICK, ("back",))) == {"back": "back"}


def test_a_bug_in_a_sign_passes() -> None:
    with pytest.raises(ZeroDivisionError):
        ask_patiently({"a": never}, lambda _: 1 // 0, QUICK)


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
