"""What an agent takes from its machine with many volumes attached there, while nobody uses them."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from hack.bench.emulation import measure_slowdown
from hack.bench.figures import Board, Figure, Goal
from hack.bench.idle import measure_shares
from hack.bench.orders import POOL
from hack.lab.site import Site
from hack.lab.vm import Machine
from replication.clock import SystemClock, wait_until
from replication.control.volumes import VolumeRequest
from replication.errors import Conflict, Unavailable
from replication.model import MIB

_SIZE_BYTES = 16 * MIB
_AT_ONCE = 3
_PATIENCE = 300.0
_SETTLING = 30.0  # seconds: arrays are told how they are to be once in ten, and flushed once in eight
_SECONDS = 60.0

T = TypeVar("T")


def measure_crowd(board: Board, site: Site, consumer: Machine, count: int) -> None:
    """`count` volumes with a replica on each machine; they stay."""
    begun = time.monotonic()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(lambda number: _attach(site, f"crowd-{number}", consumer), range(count)))
    board.note(f"{count} volumes made and attached to {consumer.name} in {time.monotonic() - begun:.0f} s")
    time.sleep(_SETTLING)
    shares = measure_shares([site.agents[consumer.name]], _SECONDS)
    board.add(Figure(f"agent-cpu-{count}-volumes", max(shares), "%", Goal("<=", 1.0), shares))
    slowdown = measure_slowdown(consumer)
    board.note(f"{consumer.name}'s processor, emulated, takes {slowdown:.1f} times as long as this machine's")
    real = tuple(share / slowdown for share in shares)
    board.add(Figure(f"agent-cpu-{count}-volumes-not-emulated", max(real), "%", Goal("<=", 1.0), real))


def _attach(site: Site, name: str, consumer: Machine) -> None:
    """As an orchestrator does: a machine that is too busy to answer in time is asked again."""
    volumes = site.control.volumes
    request = VolumeRequest(name, _SIZE_BYTES, POOL, len(site.cluster.machines))
    volume = _insist(lambda: volumes.create(request), f"create {name}")
    _insist(lambda: volumes.attach(volume.id, consumer.name), f"attach {name}")


def _insist(act: Callable[[], T], what: str) -> T:
    """Its result, once it does not say that it should be tried again."""
    done: list[T] = []

    def works() -> bool:
        with suppress(Unavailable, Conflict):
            done.append(act())
        return bool(done)

    wait_until(works, what, timeout=_PATIENCE, clock=SystemClock(), interval=1.0)
    return done[0]
