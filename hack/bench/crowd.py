"""What an agent takes from its machine with many volumes attached there, while nobody uses them."""

import time
from concurrent.futures import ThreadPoolExecutor

from hack.bench.figures import Board, Figure, Goal
from hack.bench.idle import measure_shares
from hack.bench.orders import POOL
from hack.lab.site import Site
from hack.lab.vm import Machine
from replication.control.volumes import VolumeRequest
from replication.model import MIB

_SIZE_BYTES = 16 * MIB
_AT_ONCE = 3
_SETTLING = 30.0  # seconds: arrays are told how they are to be once in ten, and flushed once in eight
_SECONDS = 60.0


def measure_crowd(board: Board, site: Site, consumer: Machine, count: int) -> None:
    """`count` volumes with a replica on each machine; they stay."""
    begun = time.monotonic()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(lambda number: _attach(site, f"crowd-{number}", consumer), range(count)))
    board.note(f"{count} volumes made and attached to {consumer.name} in {time.monotonic() - begun:.0f} s")
    time.sleep(_SETTLING)
    shares = measure_shares([site.agents[consumer.name]], _SECONDS)
    board.add(Figure(f"agent-cpu-{count}-volumes", max(shares), "%", Goal("<=", 1.0), shares))


def _attach(site: Site, name: str, consumer: Machine) -> None:
    volume = site.control.volumes.create(VolumeRequest(name, _SIZE_BYTES, POOL, len(site.cluster.machines)))
    site.control.volumes.attach(volume.id, consumer.name)
