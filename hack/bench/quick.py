"""`make bench-quick [ALARM_MINUTES=N]`: how fast it is, against the goals that were set; about ten minutes.

    python -m hack.bench.quick [--alarm-minutes N]

The machines are emulated and share a few cores, so that times say more about the lab than about disks and
networks. Where there is something to compare with, a figure is a ratio within one run. A goal that is missed
is printed and fails nothing.
"""

import argparse
import os
import time

from hack.bench.alarms import measure_false_alarms
from hack.bench.figures import Board, Figure, Goal
from hack.bench.idle import measure_idle
from hack.bench.observe import await_redundant
from hack.bench.orders import POOL, measure_attachment, measure_creation, measure_takeover, use
from hack.bench.rival import Rival
from hack.bench.speed import measure_speed
from hack.bench.stalls import measure_stalls
from hack.demo.csi_calls import Orchestrator
from hack.lab.cluster import GIB, Cluster
from hack.lab.network import enter_private_network
from hack.lab.site import Site

_KEPT = 3  # volumes: one for each machine


class Quick:
    """The parts in their order: each leaves to the next what that needs."""

    def __init__(self, cluster: Cluster, site: Site, board: Board) -> None:
        self._machines = cluster.machines
        self._site = site
        self._board = board
        self._volumes: list[str] = []
        site.start_everything(POOL)
        self._csi = Orchestrator(site)

    def run(self, minutes: float) -> None:
        self._orders()
        self._speed()
        self._stalls()
        self._false_alarms(minutes)
        self._takeover()

    def _orders(self) -> None:
        made = measure_creation(self._board, self._csi)
        measure_attachment(self._board, self._csi, made, self._machines[0])
        for volume_id in made[_KEPT:]:
            self._csi.delete(volume_id)
        self._volumes = made[:_KEPT]

    def _speed(self) -> None:
        """Of the third volume: the file system on it does not survive."""
        consumer, volume_id = self._machines[0], self._volumes.pop()
        device = self._csi.attach(volume_id, consumer)["device"]
        measure_idle(self._board, [self._site.agents[machine.name] for machine in self._machines])
        with Rival(self._machines) as rival:
            measure_speed(self._board, consumer, device, rival)
        self._csi.detach(volume_id, consumer)
        self._csi.delete(volume_id)
        self._volumes.append(self._csi.create("bench-last", POOL, 256 << 20))

    def _stalls(self) -> None:
        consumer, *victims = self._machines
        use(self._csi, self._volumes[0], consumer)
        measure_stalls(self._board, self._site, self._volumes[0], consumer, victims)

    def _false_alarms(self, minutes: float) -> None:
        mounted = dict(zip(self._machines, self._volumes, strict=True))
        for machine, volume_id in list(mounted.items())[1:]:
            use(self._csi, volume_id, machine)
        measure_false_alarms(self._board, self._site, mounted, minutes)
        for machine, volume_id in list(mounted.items())[1:]:
            self._csi.unmount(volume_id, machine)
            self._csi.detach(volume_id, machine)

    def _takeover(self) -> None:
        consumer, heir, _ = self._machines
        for volume_id in self._volumes[1:]:
            self._csi.attach(volume_id, consumer)
        for volume_id in self._volumes:
            await_redundant(self._site, volume_id)
        measure_takeover(self._board, self._csi, self._volumes, consumer, heir)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alarm-minutes", type=float, default=1.0, help="of full load: 10 is the goal's")
    options = parser.parse_args()
    enter_private_network()
    board, begun = Board("bench-quick"), time.monotonic()
    with Cluster(nodes=3, disk_size_bytes=8 * GIB) as cluster, Site(cluster) as site:
        board.add(Figure("boot-to-agents", time.monotonic() - begun, "s", Goal("<=", 30)))
        board.note(describe(cluster))
        Quick(cluster, site, board).run(options.alarm_minutes)
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    board.note(f"{time.monotonic() - begun:.0f} s; the host's load over 1, 5, 15 minutes: {load}")


def describe(cluster: Cluster) -> str:
    """The machines that the figures are of."""
    machine = cluster.machines[0]
    kernel = machine.succeed("uname -r").strip()
    each = f"{machine.hardware.cpus} processor, {machine.hardware.memory_mib} MiB"
    each = f"{each}, {machine.hardware.accelerator}, {kernel}"
    return f"{cluster.nodes} machines ({each}) on {os.cpu_count()} processors"


if __name__ == "__main__":
    main()
