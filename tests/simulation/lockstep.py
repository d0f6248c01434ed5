"""One thing after the other: without threads a run depends on its seed alone."""

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import TypeVar

from replication.control.parallel import Waits
from replication.control.reconciler import Tasks
from replication.control.repair import Task
from replication.errors import TrilithError
from tests.mutants.mutant import Mutant, applied

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


def ask_in_turn(calls: Mapping[K, Callable[[], T]], timeout: float) -> dict[K, T | TrilithError]:
    del timeout
    answers: dict[K, T | TrilithError] = {}
    for key in sorted(calls, key=str):  # sets of names have another order in every process
        try:
            answers[key] = calls[key]()
        except TrilithError as error:
            answers[key] = error
    return answers


def ask_patiently_in_turn(
    calls: Mapping[K, Callable[[], T]], waits: Waits, **_: object
) -> dict[K, T | TrilithError]:
    return ask_in_turn(calls, waits.unknown)


def do_at_once(self: Tasks, key: tuple[str, ...], task: Task) -> None:
    self.run(key, task)


def number_volumes() -> Callable[[], str]:
    numbers = count(1)
    return lambda: f"v{next(numbers):016x}"


_CHANGES = (
    Mutant("asked in turn", "replication.control.parallel:ask_all", lambda _: ask_in_turn, ()),
    Mutant("patiently", "replication.control.parallel:ask_patiently", lambda _: ask_patiently_in_turn, ()),
    Mutant("numbered", "replication.control.provisioning:new_volume_id", lambda _: number_volumes(), ()),
    Mutant("done at once", "replication.control.reconciler:Tasks.start", lambda _: do_at_once, ()),
)


@contextmanager
def in_lockstep() -> Iterator[None]:
    """The control plane with nothing in the background."""
    with ExitStack() as stack:
        for change in _CHANGES:
            stack.enter_context(applied(change))
        yield
