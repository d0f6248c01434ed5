"""Calls that come while one is under way are served together by the next one."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

W = TypeVar("W")


@dataclass(slots=True)
class _Slot(Generic[W]):
    """A call that waits."""

    wish: W
    served: bool = False
    error: Exception | None = None


class Together(Generic[W]):
    """`serve` takes wishes in the order in which they came, and gives each its error or None.

    It is called by one of those who wait, under `turn`.
    """

    def __init__(
        self, turn: "threading.RLock", serve: Callable[[Sequence[W]], Sequence[Exception | None]]
    ) -> None:
        self._turn = turn
        self._serve = serve
        self._mutex = threading.Lock()
        self._waiting: list[_Slot[W]] = []

    def call(self, wish: W) -> None:
        """Return when it is served, or raise its error."""
        slot = _Slot(wish)
        with self._mutex:
            self._waiting.append(slot)
        with self._turn:
            if not slot.served:
                self._serve_all()
        if slot.error is not None:
            raise slot.error

    def _serve_all(self) -> None:
        with self._mutex:
            slots, self._waiting = self._waiting, []
        try:
            errors = self._serve([slot.wish for slot in slots])
        except Exception as unforeseen:  # noqa: BLE001 - raised again by every thread that waits
            errors = [unforeseen] * len(slots)
        for slot, error in zip(slots, errors, strict=True):
            slot.served, slot.error = True, error
