import threading

import pytest

from replication.errors import KernelError, TimedOut
from replication.kernel.deadline import Blocking


def test_the_result_comes_back() -> None:
    assert Blocking().call("a", lambda: 7, timeout=5) == 7


def test_an_error_is_raised_where_the_caller_waits() -> None:
    def fail() -> int:
        raise KernelError("no")

    with pytest.raises(KernelError, match="no"):
        Blocking().call("a", fail, timeout=5)


def test_a_call_that_hangs_times_out_and_its_repeat_waits_for_it() -> None:
    blocking, go, calls = Blocking(), threading.Event(), list[int]()

    def hang() -> None:
        calls.append(1)
        go.wait(10)

    for _ in range(2):
        with pytest.raises(TimedOut, match="drain"):
            blocking.call("drain", hang, timeout=0.05)
    assert blocking.is_pending("drain")
    assert calls == [1]
    go.set()
    blocking.call("drain", hang, timeout=5)
    assert calls == [1, 1]
    assert not blocking.is_pending("drain")


def test_calls_with_other_keys_do_not_wait() -> None:
    blocking, go = Blocking(), threading.Event()
    with pytest.raises(TimedOut):
        blocking.call("a", lambda: go.wait(10), timeout=0.05)
    assert blocking.call("b", lambda: 1, timeout=5) == 1
    go.set()


def test_a_late_result_is_handed_over_to_be_undone() -> None:
    blocking, go, undone = Blocking(), threading.Event(), threading.Event()
    late = list[str]()

    def connect() -> str:
        go.wait(10)
        return "nvme3"

    def undo(name: str) -> None:
        late.append(name)
        undone.set()

    with pytest.raises(TimedOut):
        blocking.call("connect", connect, timeout=0.05, late=undo)
    go.set()
    assert undone.wait(5)
    assert late == ["nvme3"]
