"""One row of figures for each number of volumes: what the calls, a start and the reconciler cost there."""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from replication.clock import SystemClock
from replication.control.reconciler import Reconciler
from replication.kernel.run import run
from tests.scale.load import Timing, measure
from tests.scale.stand import Stand

STARTUP_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured with `volumes` volumes."""

    volumes: int
    calls: dict[str, Timing]
    startup_seconds: float
    resident_mib: float
    resident_after_list_mib: float
    first_pass_seconds: float
    pass_seconds: float
    watching_share: float  # of one processor


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is done to get a row."""

    operations: int
    threads: int
    watch_seconds: float


def measure_row(stand: Stand, folder: Path, volumes: int, effort: Effort) -> Row:
    calls = _measure_calls(stand, effort)
    startup_seconds, resident, after_list = _measure_startup(folder)
    reconciler = Reconciler(stand.control, SystemClock())
    return Row(
        volumes=volumes,
        calls=calls,
        startup_seconds=startup_seconds,
        resident_mib=resident,
        resident_after_list_mib=after_list,
        first_pass_seconds=_seconds(reconciler.run_once),
        pass_seconds=_seconds(reconciler.run_once),
        watching_share=_measure_watching(reconciler, effort.watch_seconds),
    )


def _measure_calls(stand: Stand, effort: Effort) -> dict[str, Timing]:
    """Changes by several threads at once, questions one by one."""
    names = [(f"made-{number}", "") for number in range(effort.operations)]
    create, ids = measure(stand.socket, "create", names, effort.threads)
    items = [(volume_id, stand.choose_node()) for volume_id in ids]
    threads = {"publish": effort.threads, "get": 1, "list": 1}
    rest = ("publish", "get", "list", "unpublish", "delete")
    return {
        "create": create,
        **{call: measure(stand.socket, call, items, threads.get(call, effort.threads))[0] for call in rest},
    }


def _measure_startup(folder: Path) -> tuple[float, float, float]:
    """Seconds from the command to the first answer, MiB then, and MiB after all volumes were told."""
    begun = time.monotonic()
    output = run([sys.executable, "-m", "tests.scale.startup", str(folder)], timeout=STARTUP_SECONDS)
    found = json.loads(output)
    return found["answered"] - begun, found["resident_mib"], found["after_list_mib"]


def _measure_watching(reconciler: Reconciler, seconds: float) -> float:
    """Processor time of this process while nothing happens, the simulated nodes' answers included."""
    with _running(reconciler):
        begun, used = time.perf_counter(), time.process_time()
        threading.Event().wait(seconds)
        return (time.process_time() - used) / (time.perf_counter() - begun)


@contextmanager
def _running(reconciler: Reconciler) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=reconciler.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        reconciler.wake()
        thread.join()


def _seconds(act: Callable[[], None]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun
