"""Time that passes when a test says so."""

from dataclasses import dataclass


@dataclass
class HandClock:
    """A Clock; sleeping moves it."""

    time: float = 1000.0

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds
