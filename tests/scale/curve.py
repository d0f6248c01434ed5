"""One row of figures for each number of volumes: what the calls, a start and the reconciler cost there."""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from csi.v1 import csi_pb2
from replication.clock import SystemClock
from replication.control.reconciler import Reconciler
from replication.kernel.run import run
from tests.scale.load import Timing, measure
from tests.scale.stand import POOL, SIZE_BYTES, Stand
from tests.scale.startup import PAGE

STARTUP_SECONDS = 300.0
_CAPABILITY = csi_pb2.VolumeCapability(
    mount=csi_pb2.VolumeCapability.MountVolume(fs_type="ext4"),
    access_mode=csi_pb2.VolumeCapability.AccessMode(
        mode=csi_pb2.VolumeCapability.AccessMode.SINGLE_NODE_WRITER
    ),
)


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
    names = [f"made-{number}" for number in range(effort.operations)]
    threads = effort.threads
    create, ids = measure(lambda name: _create(stand, name), names, threads)
    publish, _ = measure(lambda volume_id: _publish(stand, volume_id), ids, threads)
    get, _ = measure(lambda volume_id: _get(stand, volume_id), ids, 1)
    page, _ = measure(lambda volume_id: _list(stand, volume_id), ids, 1)
    unpublish, _ = measure(lambda volume_id: _unpublish(stand, volume_id), ids, threads)
    delete, _ = measure(lambda volume_id: _delete(stand, volume_id), ids, threads)
    return {
        "create": create,
        "publish": publish,
        "get": get,
        "list": page,
        "unpublish": unpublish,
        "delete": delete,
    }


def _create(stand: Stand, name: str) -> str:
    request = csi_pb2.CreateVolumeRequest(
        name=name,
        capacity_range=csi_pb2.CapacityRange(required_bytes=SIZE_BYTES),
        volume_capabilities=[_CAPABILITY],
        parameters={"pool": POOL},
    )
    return str(stand.controller.CreateVolume(request).volume.volume_id)


def _publish(stand: Stand, volume_id: str) -> None:
    stand.controller.ControllerPublishVolume(
        csi_pb2.ControllerPublishVolumeRequest(
            volume_id=volume_id, node_id=stand.choose_node(), volume_capability=_CAPABILITY
        )
    )


def _get(stand: Stand, volume_id: str) -> None:
    stand.controller.ControllerGetVolume(csi_pb2.ControllerGetVolumeRequest(volume_id=volume_id))


def _list(stand: Stand, after: str) -> None:
    stand.controller.ListVolumes(csi_pb2.ListVolumesRequest(max_entries=PAGE, starting_token=after))


def _unpublish(stand: Stand, volume_id: str) -> None:
    stand.controller.ControllerUnpublishVolume(csi_pb2.ControllerUnpublishVolumeRequest(volume_id=volume_id))


def _delete(stand: Stand, volume_id: str) -> None:
    stand.controller.DeleteVolume(csi_pb2.DeleteVolumeRequest(volume_id=volume_id))


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
