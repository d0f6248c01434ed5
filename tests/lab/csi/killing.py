"""Programs of Trilith killed at random, one after the other, and started again at once."""

import random
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

import grpc

from hack.lab.site import Site
from replication.clock import SystemClock

PATIENCE = 300.0  # seconds: for one call, repeated
_QUIET = (1.0, 5.0)  # seconds in which all run, until the next kill
_PASSING = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
    }
)
"""What an orchestrator repeats a call for without a second thought."""
WHATEVER = frozenset(grpc.StatusCode)
"""What kubelet repeats a call for: it does not look."""

T = TypeVar("T")


class Killer:
    """As long as the context lasts. What it kills, and when, is drawn from `seed`."""

    def __init__(self, site: Site, seed: int) -> None:
        self._site = site
        self._random = random.Random(seed)  # noqa: S311 (no secret)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._kill_on)
        self.killed: list[str] = []

    def __enter__(self) -> "Killer":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _kill_on(self) -> None:
        """Every kind once before any comes again."""
        acts = {"agent": self._agent, "node plugin": self._plugin, "controller": self._controller}
        while True:
            for name in self._random.sample(sorted(acts), len(acts)):
                if self._stop.wait(self._random.uniform(*_QUIET)):
                    return
                self.killed.append(name)
                acts[name]()

    def _agent(self) -> None:
        machine = self._random.choice(self._site.cluster.machines)
        self._site.agents[machine.name].kill()
        self._site.agents[machine.name].wait()
        self._site.start_agent(machine)
        self._site.wait_for_agent(machine)

    def _plugin(self) -> None:
        machine = self._random.choice(self._site.cluster.machines)
        self._site.plugins[machine.name].kill()
        self._site.plugins[machine.name].wait()
        self._site.start_node_plugin(machine)
        self._site.wait_for_plugins()

    def _controller(self) -> None:
        self._site.daemons["controller"].kill()
        self._site.daemons["controller"].wait()
        self._site.start_controller_plugin()
        self._site.wait_for_plugins()


def repeat(calls: Callable[[], T], passing: frozenset[grpc.StatusCode] = _PASSING) -> T:
    """Until they end well, or with something that does not pass."""
    clock = SystemClock()
    deadline = clock.now() + PATIENCE
    while True:
        try:
            return calls()
        except grpc.RpcError as error:
            if error.code() not in passing or clock.now() > deadline:
                raise
        clock.sleep(0.5)
