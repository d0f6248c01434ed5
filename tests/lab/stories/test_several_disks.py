"""Nodes with several disks: replicas that lie on several of them, and a disk that is emptied."""

import json
from collections.abc import Iterator

import pytest

from replication.control.volumes import VolumeRequest
from replication.model import MIB, Replica, ReplicaState, Volume
from tests.lab.stand import PATIENCE, Stand, wait_for
from tests.lab.stories.healing import counting, wait_until_on
from tests.lab.stories.told import end, tell

pytestmark = [pytest.mark.lab, pytest.mark.cluster(nodes=3, disks=3, disk_size_bytes=256 * MIB)]

NAME = "several"
DISKS = (1, 2)
SIZE, LARGER, SMALL = 300 * MIB, 340 * MIB, 64 * MIB
MOST_MORE = 2.0  # seconds that a stall may be longer than without a fault
LOSS_STALL = 25.0  # seconds: five times the goal of 5 when a replica falls silent


@pytest.fixture(params=[False, True], ids=["one after the other", "striped"])
def volume(request: pytest.FixtureRequest, stand: Stand) -> Iterator[Volume]:
    """In a pool of its own, on neither of whose disks it fits."""
    make_pool(stand, striped=request.param)
    yield stand.control.volumes.create(VolumeRequest(NAME, SIZE, NAME))
    stand.control.pools.delete(NAME)


def make_pool(stand: Stand, *, striped: bool = False) -> None:
    """Of two disks on each node."""
    machines = stand.cluster.machines
    disks = tuple((machine.name, machine.disk_path(disk)) for machine in machines for disk in DISKS)
    names = tuple(machine.name for machine in machines)
    stand.control.pools.create(NAME, names, 3, disks, striped=striped)


@pytest.mark.more
def test_nothing_is_lost_with_replicas_of_several_disks(stand: Stand, volume: Volume) -> None:
    assert [len(replica.groups) for replica in volume.replicas] == [2, 2, 2]
    machine = stand.machine("m2")
    with stand.writing(volume, "m1") as checked:
        checked.collector.restart_stall_watch()
        machine.crash()
        checked.wait_for_writes(200)
        stand.revive(machine)
        redundant = stand.wait_until_redundant(volume)
        stand.control.volumes.expand(volume.id, LARGER)
        checked.wait_for_writes(200)
        stall, verdict = checked.collector.stall(), checked.finish()
    striped = "striped" if volume.replicas[0].striped else "one-after-the-other"
    tell(f"several-disks-{striped}", verdict, stall, redundant)
    assert stall < LOSS_STALL
    end(stand, volume, verdict)


@pytest.mark.parametrize(
    "node", [pytest.param("m3", marks=pytest.mark.more), pytest.param("m1", marks=pytest.mark.long)]
)
def test_a_disk_is_drained_under_load_and_removed(stand: Stand, node: str) -> None:
    """A replica's, or the consumer's own: what is there moves to the node's other disk, and then it leaves.

    It comes back when somebody says so.
    """
    make_pool(stand)
    volume = stand.control.volumes.create(VolumeRequest(NAME, SMALL, NAME))
    disk = find_disk(stand, volume, node)
    with stand.writing(volume, "m1") as checked:
        quiet = checked.measure(lambda: None)
        checked.collector.restart_stall_watch()
        with counting(stand, volume) as counts:
            stand.site.run_cli("disk", "drain", node, disk, "--no-wait")
            wait_for(lambda: find_disk(stand, volume, node) != disk, "the replica to leave", PATIENCE)
            took = wait_until_on(stand, volume, {"m1", "m2", "m3"})
        stall = checked.collector.stall()
        assert min(counts) >= 3
        assert stand.site.run_cli("disk", "drain", node, disk).endswith(": 0 replicas left\n")
        for _ in range(2):
            stand.site.run_cli("disk", "remove", node, disk)
            assert look_at(stand, node, disk) == ("", "cordoned", True)
        checked.wait_for_writes(100)
        verdict = checked.finish()
    make_pool(stand)
    assert look_at(stand, node, disk) == ("", "cordoned", True)
    stand.site.run_cli("disk", "uncordon", node, disk)
    make_pool(stand)
    assert look_at(stand, node, disk) == (NAME, "", False)
    tell(f"disk-drained-{node}", verdict, stall, took)
    assert stall <= quiet + MOST_MORE
    end(stand, stand.control.volumes.get(volume.id), verdict)
    stand.control.pools.delete(NAME)


@pytest.mark.more
@pytest.mark.parametrize("how", ["errs", "stands still"])
def test_what_lies_on_a_nodes_other_disk_is_not_touched(stand: Stand, how: str) -> None:
    """One disk's replica is dropped, beside writes to a replica on the other one of the same node."""
    doomed, spared = (make_volume_on(stand, disk) for disk in DISKS)
    m3 = stand.machine("m3")
    with stand.writing(doomed, "m1") as checked, stand.writing(spared, "m1") as beside:
        before = stand.control.volumes.get(spared.id)
        checked.collector.restart_stall_watch()
        replica = find_replica(doomed, "m3")
        device = f"{replica.volume_group.replace('-', '--')}-{doomed.id}_{replica.id}"
        m3.fail_disk_io(DISKS[0]) if how == "errs" else m3.succeed(f"dmsetup suspend {device}")
        stand.wait_for_state(doomed, "m3", ReplicaState.STALE)
        checked.wait_for_writes(200)
        beside.wait_for_writes(200)
        stall = checked.collector.stall()
        assert stand.control.volumes.get(spared.id) == before
        m3.heal_disk_io(DISKS[0]) if how == "errs" else m3.succeed(f"dmsetup resume {device}")
        redundant = stand.wait_until_redundant(doomed)
        checked.wait_for_writes(100)
        verdict, other = checked.finish(), beside.finish()
        assert stand.control.volumes.get(spared.id) == before
    tell(f"beside-a-disk-that-{how.replace(' ', '-')}", verdict, stall, redundant)
    assert stall < LOSS_STALL
    end(stand, spared, other)
    end(stand, doomed, verdict)
    for disk in DISKS:
        stand.control.pools.delete(f"{NAME}-{disk}")


def make_volume_on(stand: Stand, disk: int) -> Volume:
    """On this disk of each node."""
    machines = stand.cluster.machines
    disks = tuple((machine.name, machine.disk_path(disk)) for machine in machines)
    names = tuple(machine.name for machine in machines)
    pool = f"{NAME}-{disk}"
    stand.control.pools.create(pool, names, 3, disks)
    return stand.control.volumes.create(VolumeRequest(pool, SMALL, pool))


def find_replica(volume: Volume, node: str) -> Replica:
    return next(replica for replica in volume.replicas if replica.node == node)


def find_disk(stand: Stand, volume: Volume, node: str) -> str:
    """The path of the disk that has the first of the node's replicas, by the record."""
    replicas = stand.control.volumes.get(volume.id).replicas
    group = next(replica.volume_group for replica in replicas if replica.node == node)
    groups = stand.control.nodes.facts(node).volume_groups
    return next(found.disk for found in groups if found.name == group)


def look_at(stand: Stand, node: str, path: str) -> tuple[str, str, bool]:
    """The pool that has a disk, its cordon, and whether a pool could take it."""
    disks = json.loads(stand.site.run_cli("--output", "json", "disk", "list", "--node", node))
    found = next(disk for disk in disks if disk["path"] == path)
    return found["pool"], found["cordon"], found["usable"]
