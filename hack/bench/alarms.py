"""Healthy replicas that are called lost while every machine has all that it can do."""

import time
from collections.abc import Mapping

from hack.bench.figures import Board, Figure, Goal
from hack.bench.observe import watch_losses
from hack.demo.csi_calls import TARGET
from hack.lab.site import Site
from hack.lab.vm import Machine, Spawned

_FIO = (
    f"exec fio --thread --name=load --directory={TARGET} --size=64m --rw=randrw --bs=4k --direct=1 "
    "--time_based --runtime=3600 --ioengine=libaio --iodepth=16"
)
_SPIN = "exec python3 -I -S -c 'while True: pass'"


def measure_false_alarms(board: Board, site: Site, volumes: Mapping[Machine, str], minutes: float) -> None:
    """Each machine has one of the volumes mounted at TARGET; all volumes have replicas on all machines."""
    seconds = round(minutes * 60)
    with watch_losses(site) as losses:
        loads = [load for machine in volumes for load in _start_load(machine)]
        time.sleep(seconds)
        ended = [load.machine.name for load in loads if load.status is not None]
        _end(loads)
        reasons = losses.reasons()
    if ended:
        raise AssertionError(f"the load on {', '.join(ended)} has not lasted {seconds} s")
    for reason in reasons:
        board.note(f"false alarm: {reason}")
    board.add(Figure(f"false-alarms-per-{seconds}s", len(reasons), "alarms", Goal("<=", 0)))


def _start_load(machine: Machine) -> list[Spawned]:
    """Writes and reads, and one program for each processor that never waits."""
    return [machine.spawn(_FIO), *(machine.spawn(_SPIN) for _ in range(machine.hardware.cpus))]


def _end(loads: list[Spawned]) -> None:
    """Gone, so that nothing keeps the volumes in use."""
    for load in loads:
        load.kill()
    for load in loads:
        load.wait()
