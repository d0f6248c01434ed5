"""What stories of getting back to health share."""

import contextlib
import json
import threading
from collections.abc import Iterator

import pytest

from hack.lab.errors import LabError
from replication.clock import SystemClock
from replication.control.volumes import VolumeRequest
from replication.model import MIB, ReplicaState, Volume
from tests.lab.stand import PATIENCE, POOL, Checked, Stand, wait_for


@contextlib.contextmanager
def setting(stand: Stand, name: str, value: str) -> Iterator[None]:
    """Said for the cluster by the administrator's command, and taken back."""
    stand.site.run_cli("settings", "set", f"--{name}", value)
    try:
        yield
    finally:
        stand.site.run_cli("settings", "set", "--unset", name)


def write_elsewhere(checked: Checked, number: int) -> None:
    """4 MiB where the checker does not write, and no other `number` either."""
    where = f"of={checked.device} bs=1M seek={16 + 8 * number} count=4"
    checked.machine.succeed(f"dd if=/dev/urandom {where} oflag=direct status=none")
    checked.wait_for_writes(100)


def create_on(stand: Stand, name: str, nodes: tuple[str, ...], size_bytes: int = 64 * MIB) -> Volume:
    """With its replicas there, in this order, once enough of their disks' old bytes have been wiped."""

    def has_room(node: str) -> bool:
        return any(
            group.free_bytes > 2 * size_bytes for group in stand.control.nodes.facts(node).volume_groups
        )

    wait_for(lambda: all(map(has_room, nodes)), f"room on {', '.join(nodes)}", PATIENCE)
    request = VolumeRequest(name, size_bytes, POOL, len(nodes), preferred_nodes=nodes)
    volume = stand.control.volumes.create(request)
    assert {replica.node for replica in volume.replicas} == set(nodes)
    return volume


def take_disks(stand: Stand) -> None:
    """As an administrator does after a disk was exchanged: the pool is made again, with the same words."""
    pool = stand.control.pools.get(POOL)
    stand.control.pools.create(POOL, pool.nodes, pool.replica_count, pool.disks)


def wait_until_on(stand: Stand, volume: Volume, nodes: set[str], timeout: float = PATIENCE) -> float:
    """Until the record has replicas on these and nowhere else, all in sync; the seconds that it took."""
    begun = SystemClock().now()

    def moved() -> bool:
        replicas = stand.control.volumes.get(volume.id).replicas
        return {r.node for r in replicas} == nodes and {r.state for r in replicas} == {ReplicaState.IN_SYNC}

    wait_for(moved, f"{volume.name} to be on {sorted(nodes)}", timeout)
    return SystemClock().now() - begun


def list_in_sync(stand: Stand, volume: Volume) -> set[str]:
    """Their ids."""
    replicas = stand.control.volumes.get(volume.id).replicas
    return {replica.id for replica in replicas if replica.state is ReplicaState.IN_SYNC}


@contextlib.contextmanager
def counting(stand: Stand, volume: Volume) -> Iterator[list[int]]:
    """How many replicas were in sync, looked at many times a second."""
    counts, stop = [len(list_in_sync(stand, volume))], threading.Event()

    def count() -> None:
        while not stop.wait(0.05):
            counts.append(len(list_in_sync(stand, volume)))

    thread = threading.Thread(target=count)
    thread.start()
    try:
        yield counts
    finally:
        stop.set()
        thread.join()


def place_of(volume: Volume, node: str) -> str:
    """The logical volume of `node`'s replica."""
    replica = next(each for each in volume.replicas if each.node == node)
    return f"/dev/{replica.volume_group}/{volume.id}_{replica.id}"


def recover(stand: Stand, volume: Volume, node: str) -> None:
    """By the administrator's command, which wants to hear that what is missing may be missing."""
    replica = next(each.id for each in volume.replicas if each.node == node)
    words = ("volume", "recover", volume.name, "--from", replica)
    with pytest.raises(LabError, match="will be lost: say --accept-data-loss"):
        stand.site.run_cli(*words)
    assert health(stand, volume) == "lost"
    assert "recovered" in stand.site.run_cli(*words, "--accept-data-loss")


def health(stand: Stand, volume: Volume) -> str:
    shown = json.loads(stand.site.run_cli("--output", "json", "status"))
    return next(str(each["health"]) for each in shown["volumes"] if each["id"] == volume.id)
