"""Replicas that lie on several disks of their node, in use and through a power cut."""

from collections.abc import Iterator

import pytest

from replication.control.volumes import VolumeRequest
from replication.model import MIB, Volume
from tests.lab.stand import Stand

pytestmark = [pytest.mark.lab, pytest.mark.cluster(nodes=3, disks=3, disk_size_bytes=256 * MIB)]

NAME = "several"
DISKS = (1, 2)
SIZE, LARGER = 300 * MIB, 340 * MIB


@pytest.fixture(
    params=[
        pytest.param(False, id="one after the other"),
        pytest.param(True, id="striped", marks=pytest.mark.more),
    ]
)
def volume(request: pytest.FixtureRequest, stand: Stand) -> Iterator[Volume]:
    """In a pool of its own, of two disks on each node, on neither of which it fits."""
    machines = stand.cluster.machines
    disks = tuple((machine.name, machine.disk_path(disk)) for machine in machines for disk in DISKS)
    names = tuple(machine.name for machine in machines)
    stand.control.pools.create(NAME, names, 3, disks, striped=request.param)
    made = stand.control.volumes.create(VolumeRequest(NAME, SIZE, NAME))
    yield made
    stand.remove(made)
    stand.control.pools.delete(NAME)


def test_nothing_is_lost_with_replicas_of_several_disks(stand: Stand, volume: Volume) -> None:
    assert [len(replica.groups) for replica in volume.replicas] == [2, 2, 2]
    machine = stand.machine("m2")
    with stand.writing(volume, "m1") as checked:
        machine.crash()
        checked.wait_for_writes(200)
        stand.revive(machine)
        stand.wait_until_redundant(volume)
        stand.control.volumes.expand(volume.id, LARGER)
        checked.wait_for_writes(200)
        assert checked.finish().lost == ()
    stand.control.volumes.detach(volume.id)
    stand.assert_replicas_equal(volume)
