"""A volume with the checker at work on it, wherever it is attached."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from hack.checker.collector import Collector
from hack.lab.checking import Load, dump, start_writer
from hack.lab.network import HOST_ADDRESS
from hack.lab.site import Site
from hack.lab.vm import Machine, Spawned
from replication.clock import SystemClock, wait_until
from replication.errors import Conflict, FailedPrecondition, Unavailable
from replication.model import ReplicaState, Volume

PATIENCE = 240.0  # seconds: for whatever has to come by itself
WRITERS = 3
"""Of a volume, one of each kind. All volumes may come to one machine, whose only processor is emulated: with
eight for each, an agent that was killed took minutes until it served again.
"""
_CLOCK = SystemClock()
T = TypeVar("T")


class DeviationError(Exception):
    """Something did not go as promised."""


@dataclass(slots=True)
class Tally:
    """What all checkers found so far."""

    checked: int = 0
    lost: int = 0
    longest_stall: float = 0.0  # seconds, while the writers' machine had power


class Written:
    """Its writers run from `begin` to `end`, or to the end of their machine, of which `cut_short` tells."""

    def __init__(self, site: Site, volume: Volume, tally: Tally) -> None:
        self.id, self.name = volume.id, volume.name
        self.node, self.device = "", ""
        self._site = site
        self._tally = tally
        self._collector: Collector | None = None
        self._writer: Spawned | None = None
        self._epoch = 0

    @property
    def record(self) -> Volume:
        return self._site.control.volumes.get(self.id)

    @property
    def runs(self) -> bool:
        return self._writer is not None

    @property
    def machine(self) -> Machine:
        return self._site.cluster[self.node]

    def attach(self, node: str) -> None:
        volumes = self._site.control.volumes
        what = f"{self.name} to be attached to {node}"
        self.device = patiently(what, lambda: volumes.attach(self.id, node))
        self.node = node

    def detach(self) -> None:
        volumes = self._site.control.volumes
        patiently(f"{self.name} to be detached", lambda: volumes.detach(self.id, self.node))

    def begin(self) -> None:
        """What the checker wrote earlier is overwritten."""
        self._epoch = self.record.epoch
        self._collector = Collector(HOST_ADDRESS).__enter__()
        endpoint = self._collector.endpoint
        self._writer = start_writer(self.machine, self.device, endpoint, load=Load(WRITERS))
        self.wait_for_writes(50)

    def end(self) -> None:
        """No writer any more; the volume has yet to be judged."""
        if self._writer is not None:
            self._note_stall()
            self._writer.kill()
            self._writer.wait(PATIENCE)
            self._writer = None

    def cut_short(self) -> None:
        """The machine has lost power, and the writers with it."""
        if self._writer is not None:
            self._note_stall()
            self._writer = None

    def judge(self) -> None:
        """What was acknowledged is on the device now, wherever it is."""
        collector = self._checks()
        verdict = collector.judge(dump(self.machine, self.device, writers=WRITERS))
        collector.__exit__()
        self._tally.checked += verdict.checked
        self._tally.lost += len(verdict.lost)
        if verdict.lost:
            raise DeviationError(f"{self.name} on {self.node}: lost {'; '.join(verdict.lost[:5])}")

    def resume(self) -> None:
        """Its machine has booted: the volume is attached again unasked."""
        wait(self._is_back, f"{self.name} to be attached to {self.node} again")
        self.judge()
        self.begin()

    def wait_for_writes(self, count: int, timeout: float = PATIENCE) -> None:
        """Until so many more have been acknowledged, and none failed."""
        collector = self._checks()
        wanted = collector.acknowledged() + count

        def written() -> bool:
            self._checks()
            return collector.acknowledged() >= wanted

        wait(written, f"{count} writes to {self.name} on {self.node}", timeout)

    def check_size(self, size_bytes: int) -> None:
        found = int(self.machine.succeed(["blockdev", "--getsize64", self.device]))
        if (found, self.record.size_bytes) != (size_bytes, size_bytes):
            raise DeviationError(f"{self.name} has {found} bytes, {self.record.size_bytes} by its record")

    def is_in_sync(self, nodes: frozenset[str]) -> bool:
        """Whether the record counts the replicas of all of these, and no resync is owed."""
        volume = self.record
        counted = {r.node for r in volume.replicas if r.state is ReplicaState.IN_SYNC}
        return volume.resync_source is None and nodes <= counted

    def _checks(self) -> Collector:
        """The collector; no write to it has failed."""
        if self._collector is None:
            raise DeviationError(f"{self.name} is not written to")
        if errors := self._collector.errors():
            raise DeviationError(f"{self.name} on {self.node}: {'; '.join(errors[:5])}")
        return self._collector

    def _note_stall(self) -> None:
        self._tally.longest_stall = max(self._tally.longest_stall, self._checks().stall())

    def _is_back(self) -> bool:
        status, _ = self.machine.execute(["test", "-b", self.device])
        return status == 0 and self.record.epoch > self._epoch


def patiently(what: str, act: Callable[[], T], timeout: float = PATIENCE) -> T:
    """Repeat as an orchestrator does, until it is done."""
    deadline = _CLOCK.now() + timeout
    while True:
        try:
            return act()
        except (Unavailable, FailedPrecondition, Conflict) as error:
            if _CLOCK.now() > deadline:
                raise DeviationError(f"{what}: not within {timeout:g} s: {error}") from error
        _CLOCK.sleep(1.0)


def wait(condition: Callable[[], bool], what: str, timeout: float = PATIENCE) -> None:
    wait_until(condition, what, timeout=timeout, clock=_CLOCK, interval=0.2)
