"""Outside: one machine and its guest.py, asked over the lab's command channel."""

import itertools
import json
import sys
import time
from pathlib import Path
from typing import Any

from hack.lab.errors import LabError
from hack.lab.vm import Machine, Spawned
from replication.clock import SystemClock, wait_until

_SCRIPT = Path(__file__).with_name("guest.py")
_INTERVAL = 0.25
_starts = itertools.count(1)  # of all nodes: a machine outlives the Node that a test makes for it


class Node:
    """A machine with guest.py running; after a crash, `start` again."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._numbers = itertools.count(1)
        self._folder = ""
        self._process: Spawned | None = None

    @property
    def name(self) -> str:
        return self.machine.name

    def start(self) -> None:
        """Return once it takes requests."""
        self._folder = f"/run/hold/{next(_starts)}"
        self._process = self.machine.spawn([sys.executable, "-I", "-S", str(_SCRIPT), self._folder])
        wait_until(
            self._is_listening, f"{self.name} to listen", timeout=60, clock=SystemClock(), interval=0.3
        )

    def _is_listening(self) -> bool:
        self._check_running()
        return self.machine.execute(["/usr/bin/test", "-p", f"{self._folder}/requests"])[0] == 0

    def stop(self) -> None:
        if self._process is not None and self.machine.running:
            self._process.kill()

    def ask(self, do: str, *, wait: float = 90, **arguments: object) -> Any:  # noqa: ANN401 - JSON
        """What the guest answers; an AssertionError with its traceback when it could not."""
        number = next(self._numbers)
        line = json.dumps({"number": number, "do": do, "with": arguments}) + "\n"
        self.machine.write_file(f"{self._folder}/requests", line)
        path = f"{self._folder}/{number}.answer"
        answer = self._wait_answer(path, f"{self.name} to {do}", time.monotonic() + wait)
        assert "error" not in answer, f"{self.name}: {do} {arguments}\n{answer['error']}"
        return answer["result"]

    def _wait_answer(self, path: str, what: str, deadline: float) -> dict[str, Any]:
        while True:
            try:
                answer: dict[str, Any] = json.loads(self.machine.read_file(path))
            except LabError:
                self._check_running()
                assert time.monotonic() < deadline, f"no answer: {what}"
                SystemClock().sleep(_INTERVAL)
            else:
                return answer

    def _check_running(self) -> None:
        assert self._process is not None
        assert self._process.status is None, f"{self.name}: guest.py ended: {self._process.output}"

    def crash(self) -> None:
        self.machine.crash()
        self._process = None

    def boot(self) -> None:
        """After `crash`: the machine runs again, and guest.py in it."""
        self.machine.start()
        self.start()

    def wait_connected(self, other: "Node") -> None:
        """The cable is in and the other machine hears us."""
        wait_until(
            lambda: self.machine.execute(f"ping -c1 -W1 {other.machine.address}")[0] == 0,
            f"{self.name} to reach {other.name}",
            timeout=20,
            clock=SystemClock(),
        )
