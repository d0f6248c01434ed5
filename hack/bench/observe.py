"""What the record and the agents say of a volume while a benchmark waits for it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hack.lab.site import Site
from replication.clock import SystemClock, wait_until
from replication.control.watching import Watchers
from replication.model import ArrayReport, MemberHealth, ReplicaState


def find_state(site: Site, volume_id: str, node: str) -> ReplicaState:
    """Of the volume's replica on `node`."""
    replicas = site.control.volumes.get(volume_id).replicas
    return next(replica.state for replica in replicas if replica.node == node)


def is_redundant(site: Site, volume_id: str) -> bool:
    volume = site.control.volumes.get(volume_id)
    in_sync = all(replica.state is ReplicaState.IN_SYNC for replica in volume.replicas)
    return in_sync and volume.resync_source is None


def await_redundant(site: Site, volume_id: str) -> None:
    await_that(lambda: is_redundant(site, volume_id), f"volume {volume_id} to be redundant")


def await_that(condition: Callable[[], bool], what: str, timeout: float = 180) -> None:
    wait_until(condition, what, timeout=timeout, clock=SystemClock(), interval=0.1)


class Losses:
    """Counts how often any agent calls a member lost. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lost: set[tuple[str, str]] = set()
        self._reasons: list[str] = []

    def take(self, node: str, report: ArrayReport) -> None:
        """A member that stays lost over several reports is one loss."""
        with self._lock:
            for member in report.members:
                key = (report.volume_id, member.replica_id)
                if member.health is not MemberHealth.LOST:
                    self._lost.discard(key)
                elif key not in self._lost:
                    self._lost.add(key)
                    self._reasons.append(f"node {node}, volume {key[0]}, replica {key[1]}: {member.reason}")

    def reasons(self) -> tuple[str, ...]:
        """One for each loss so far."""
        with self._lock:
            return tuple(self._reasons)


@contextmanager
def watch_losses(site: Site) -> Iterator[Losses]:
    """From the same reports that the control plane gets."""
    losses = Losses()
    watchers = Watchers(site.control.nodes, losses.take)
    watchers.ensure()
    try:
        yield losses
    finally:
        watchers.close()
