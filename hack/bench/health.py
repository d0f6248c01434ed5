"""`make bench-health`: stalls, moves, copies and watching, against the goals that were set.

    python -m hack.bench.health [--repetitions N] [--alarm-minutes N] [--volumes N] [--memory MIB] [PART…]

Parts are stalls, moves, copies, alarms, crowd; none means all. As in quick.py, machines are emulated, a
figure is a ratio within one run where there is something to compare with, and a goal that is missed fails
nothing.
"""

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

from hack.bench.alarms import measure_false_alarms
from hack.bench.copies import SIZE_BYTES as COPIED_BYTES
from hack.bench.copies import Copies
from hack.bench.crowd import measure_crowd
from hack.bench.figures import Board
from hack.bench.moves import Move, longest_moves, sample_moves
from hack.bench.orders import POOL, SIZE_BYTES, use
from hack.bench.quick import describe
from hack.bench.stalls import DISK_ERRORS, POWER_CUT, REFUSED, Loss, longest, sample_stalls
from hack.demo.csi_calls import Orchestrator
from hack.lab import evidence
from hack.lab.cluster import GIB, Cluster
from hack.lab.errors import LabError
from hack.lab.network import enter_private_network
from hack.lab.site import Site
from hack.lab.vm import Machine
from replication.errors import TrilithError

PARTS = ("stalls", "moves", "copies", "alarms", "crowd")
_LOUD_GOAL = 1.0  # seconds
_WELCOME = 3
"""Losses of one replica until its return is made to wait (control/flapping.py): then a new volume."""


def split(times: int, most: int) -> Iterator[int]:
    """`times` in parts of at most `most`."""
    for begun in range(0, times, most):
        yield min(most, times - begun)


class Health:
    """The parts: each begins and ends without volumes, but for the last, whose volumes stay."""

    def __init__(self, site: Site, board: Board, options: argparse.Namespace) -> None:
        self._machines = site.cluster.machines
        self._site = site
        self._board = board
        self._options = options
        site.start_everything(POOL)
        self._csi = Orchestrator(site)

    def run(self, parts: Sequence[str]) -> None:
        for name in parts or PARTS:
            begun = time.monotonic()
            getattr(self, name)()
            self._board.note(f"{name}: {time.monotonic() - begun:.0f} s")

    def stalls(self) -> None:
        for loss in self._losses():
            batches = list(split(loss.times, _WELCOME * (len(self._machines) - 1)))
            samples = [
                self._stalls_of(f"{loss.name}-{number}", replace(loss, times=times))
                for number, times in enumerate(batches)
            ]
            self._board.add(longest(loss, tuple(chain.from_iterable(samples))))

    def _stalls_of(self, name: str, loss: Loss) -> tuple[float, ...]:
        consumer, *victims = self._machines
        volume_id = self._mounted(name, consumer)
        samples = sample_stalls(self._site, volume_id, consumer, victims, loss)
        self._remove(volume_id, consumer)
        return samples

    def _losses(self) -> tuple[Loss, ...]:
        goals = ((POWER_CUT, POWER_CUT.goal), (REFUSED, _LOUD_GOAL), (DISK_ERRORS, _LOUD_GOAL))
        times = self._options.repetitions
        return tuple(
            replace(loss, name=f"longest-{loss.name}", goal=goal, times=times) for loss, goal in goals
        )

    def moves(self) -> None:
        samples: list[Move] = []
        for number, times in enumerate(split(self._options.repetitions, _WELCOME * len(self._machines))):
            volume_id = self._mounted(f"moves-{number}", self._machines[0])
            found, last = sample_moves(self._site, self._csi, volume_id, self._machines, times)
            self._remove(volume_id, last)
            samples += found
        self._board.add_all(longest_moves(samples))

    def copies(self) -> None:
        consumer, _, victim = self._machines
        volume_id = self._csi.create("copies", POOL, COPIED_BYTES)
        device = self._csi.attach(volume_id, consumer)["device"]
        Copies(self._site, volume_id, consumer, device, victim).measure(self._board)
        self._csi.detach(volume_id, consumer)
        self._csi.delete(volume_id)

    def alarms(self) -> None:
        mounted = {machine: self._mounted(f"alarms-{machine.name}", machine) for machine in self._machines}
        measure_false_alarms(self._board, self._site, mounted, self._options.alarm_minutes)
        for machine, volume_id in mounted.items():
            self._remove(volume_id, machine)

    def crowd(self) -> None:
        measure_crowd(self._board, self._site, self._machines[0], self._options.volumes)

    def _mounted(self, name: str, machine: Machine) -> str:
        volume_id = self._csi.create(name, POOL, SIZE_BYTES)
        use(self._csi, volume_id, machine)
        return volume_id

    def _remove(self, volume_id: str, machine: Machine) -> None:
        self._csi.unmount(volume_id, machine)
        self._csi.detach(volume_id, machine)
        self._csi.delete(volume_id)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; none: all")
    parser.add_argument("--repetitions", type=int, default=3, help="of each death; 20 is the goal's")
    parser.add_argument("--alarm-minutes", type=float, default=1.0, help="of full load")
    parser.add_argument("--volumes", type=int, default=100, help="attached to one machine")
    parser.add_argument("--memory", type=int, default=2048, help="MiB of each machine")
    options = parser.parse_args()
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"no part {', '.join(sorted(unknown))}")
    return options


def main() -> None:
    options = parse_options()
    enter_private_network()
    board, begun = Board("bench-health"), time.monotonic()
    with (
        Cluster(nodes=3, disk_size_bytes=8 * GIB, memory_mib=options.memory) as cluster,
        Site(cluster) as site,
    ):
        board.note(describe(cluster))
        try:
            Health(site, board, options).run(options.parts)
        except (AssertionError, TrilithError, LabError):
            print(site.run_cli("events"))
            for title, text in evidence.collect(cluster):
                print(f"--- {title}\n{text}")
            raise
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    board.note(f"{time.monotonic() - begun:.0f} s; the host's load over 1, 5, 15 minutes: {load}")


if __name__ == "__main__":
    main()
