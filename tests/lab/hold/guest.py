"""Inside a machine: does what the test asks, over files, so that a cut link does not matter.

    python -I -S guest.py FOLDER

A request is a line in the pipe `FOLDER/requests`, {"number": N, "do": …, "with": {…}}; its answer is the file
`FOLDER/N.answer`. Requests run side by side: one that waits for a dead device holds up nobody.
"""

import json
import os
import sys
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

from replication.kernel import modules
from replication.kernel.dm import DeviceMapper
from replication.kernel.run import run
from replication.kernel.sysfs import Tree
from tests.lab.hold.consumer import Consumer, Plan
from tests.lab.hold.target import Place


class Guest:
    """The words a test may say, `do_` left out."""

    def __init__(self) -> None:
        self._tree = Tree()
        modules.ensure_loaded(self._tree, run)
        self._mapper = DeviceMapper()
        self._place = Place(self._tree, self._mapper)
        self._consumers: dict[str, Consumer] = {}

    def do_make(self, volume: str, start: int, size: int) -> str:
        return self._place.make(volume, start, size)

    def do_remake(self, volume: str, start: int, size: int) -> str:
        return self._place.remake(volume, start, size)

    def do_export(self, volume: str, where: dict[str, Any], *, layer: bool) -> None:
        self._place.export(volume, where["nqn"], (where["address"], where["port"]), layer=layer)

    def do_fence(self, nqn: str, volume: str = "") -> None:
        self._place.fence(nqn, volume)

    def do_disable(self, nqn: str) -> None:
        self._place.disable(nqn)

    def do_write_alone(self, volume: str, chunk: int) -> None:
        self._place.write_alone(volume, chunk)

    def do_attach(self, volume: str, size: int, plans: list[dict[str, Any]]) -> None:
        consumer = Consumer(self._tree, self._mapper, volume, size)
        consumer.attach([Plan(**plan) for plan in plans])
        self._consumers[volume] = consumer

    def do_start(self, volume: str) -> None:
        self._consumers[volume].start_writers()

    def do_look(self, volume: str) -> dict[str, Any]:
        """Acknowledged writes, writes in flight, errors."""
        writers = self._consumers[volume].writers
        assert writers is not None
        return {
            "acknowledged": sum(writers.counts()),
            "in_flight": writers.in_flight(),
            "errors": writers.errors(),
            "state": self._consumers[volume].state(),
        }

    def do_known(self, volume: str) -> dict[int, tuple[int, int]]:
        writers = self._consumers[volume].writers
        assert writers is not None
        return writers.known()

    def do_stop(self, volume: str) -> None:
        writers = self._consumers[volume].writers
        assert writers is not None
        writers.stop()

    def do_drop(self, volume: str, names: list[str], timeout: float) -> dict[str, object]:
        return self._consumers[volume].drop(names, timeout)

    def do_fail_unrecorded(self, volume: str, name: str) -> None:
        self._consumers[volume].fail_unrecorded(name)

    def do_reinstate(self, volume: str, name: str) -> None:
        self._consumers[volume].reinstate(name)

    def do_forget(self, volume: str, name: str) -> None:
        self._consumers[volume].forget(name)

    def do_rejoin(self, volume: str, plan: dict[str, Any], speed: int) -> int:
        return self._consumers[volume].rejoin(Plan(**plan), speed)

    def do_read_back(self, volume: str) -> dict[str, int]:
        return self._consumers[volume].read_while_recovering()

    def do_finish(self, volume: str, degraded: int) -> None:
        self._consumers[volume].finish_recovery(degraded)

    def do_detach(self, volume: str) -> None:
        self._consumers.pop(volume).detach()


class Server:
    """Reads requests and answers them. Every line is one, short enough to be written in one piece."""

    def __init__(self, guest: Guest, folder: Path) -> None:
        self._guest = guest
        self._folder = folder

    def serve(self) -> None:
        pipe = self._folder / "requests"
        os.mkfifo(pipe)
        with os.fdopen(os.open(pipe, os.O_RDWR), "r", encoding="ascii") as lines:
            for line in iter(lines.readline, ""):
                threading.Thread(target=self._answer, args=(json.loads(line),), daemon=True).start()

    def _answer(self, request: Mapping[str, Any]) -> None:
        try:
            result = {"result": getattr(self._guest, f"do_{request['do']}")(**request["with"])}
        except Exception:  # noqa: BLE001 - the outermost frame: the test has to hear whatever it is
            result = {"error": traceback.format_exc()}
        part = self._folder / f"{request['number']}.part"
        part.write_text(json.dumps(result))
        part.rename(part.with_suffix(".answer"))


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    Server(Guest(), folder).serve()


if __name__ == "__main__":
    main()
