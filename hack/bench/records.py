"""What a change of a record costs in Kubernetes, and what if replicas had objects of their own: ADR 0012.

    python -m hack.bench.records

An API server and an etcd on this machine, which writes to its disk before it answers.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from hack.bench.figures import Board, Figure, Goal
from hack.helm.chart import NAMESPACE, list_rules
from hack.kubernetes.manifests import apply_documents
from hack.kubernetes.plane import ControlPlane
from replication.clock import SystemClock
from replication.control.store.kubernetes import KubernetesStore
from replication.control.store.resources import VOLUMES
from replication.kubernetes.access import read_kubeconfig
from replication.kubernetes.client import Client
from replication.model import GIB, Phase, Replica, ReplicaState, Versioned, Volume

TIMES = 200


def main() -> int:
    with ControlPlane(durable=True) as plane:
        client = Client(read_kubeconfig(plane.admin_kubeconfig))
        apply_documents(client, list_rules())
        store = KubernetesStore(client, "bench", SystemClock(), NAMESPACE)
        measure(store, client, Board("records"))
        store.close()
    return 0


def measure(store: KubernetesStore, client: Client, board: Board) -> None:
    one, *others = (Changing(store, f"v{number}") for number in range(4))
    once = sample(one.change)
    board.add(Figure("record-swap-p50", statistics.median(once), "ms", Goal("<=", 20), once))
    board.add(Figure("record-swap-p95", statistics.quantiles(once, n=20)[-1], "ms", Goal("<=", 60), once))
    each = sample(partial(change_all, (one, *others)))
    board.add(Figure("record-in-4-objects-p50", statistics.median(each), "ms", Goal(">=", 20), each))
    read = sample(lambda _: store.get_volume("v0"))
    board.add(Figure("record-read-p50", statistics.median(read), "ms", Goal("<=", 10), read))
    size = len(json.dumps(client.get(f"{VOLUMES}/v0"), separators=(",", ":")))
    board.add(Figure("record-object-size", size, "bytes", Goal("<=", 2048)))


class Changing:
    """A volume of three replicas whose record is changed again and again."""

    def __init__(self, store: KubernetesStore, name: str) -> None:
        self._store = store
        self._record: Versioned = store.add_volume(make_volume(name))

    def change(self, number: int) -> None:
        changed = replace(self._record.volume, lost_since=float(number + 1))
        self._record = self._store.swap_volume(changed, self._record.version)


def change_all(volumes: tuple[Changing, ...], number: int) -> None:
    for volume in volumes:
        volume.change(number)


def make_volume(name: str) -> Volume:
    replicas = tuple(
        Replica(f"r{number}", f"node-{number}", f"trilith-{number:016x}", ReplicaState.IN_SYNC)
        for number in range(3)
    )
    return Volume(name, f"pvc-{name}", "nvme", GIB, 1 << 16, 3, Phase.READY, replicas, next_replica=3)


def sample(act: Callable[[int], object]) -> tuple[float, ...]:
    """Milliseconds that each of many took."""
    return tuple(clock_once(act, number) for number in range(TIMES))


def clock_once(act: Callable[[int], object], number: int) -> float:
    started = time.monotonic()
    act(number)
    return (time.monotonic() - started) * 1000


if __name__ == "__main__":
    sys.exit(main())
