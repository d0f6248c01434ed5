"""A disk refuses writes, and the consumer dies before it has told: only the replica's own node knows."""

import pytest

from replication.model import CopyMode, ReplicaState, Volume
from tests.lab.stand import Stand
from tests.lab.stories.acts import move
from tests.lab.stories.told import end, tell

pytestmark = [pytest.mark.lab, pytest.mark.cluster(nodes=3)]


@pytest.mark.more
def test_a_replica_whose_disk_refused_writes_is_no_source(stand: Stand) -> None:
    """The record calls it in sync still, and the volume moves to its very node, where it would come first."""
    volume = stand.create("refused")
    m1, m2 = stand.machine("m1"), stand.machine("m2")
    with stand.writing(volume, "m1") as lost:
        m1.cut_agent()
        m2.fail_disk_io()
        lost.wait_until_waiting()
        m1.crash()
        m2.heal_disk_io()
        assert stand.state(volume, "m2") is ReplicaState.IN_SYNC, "nobody has told"
        before, stall = move(stand, volume, lost, "m2"), lost.collector.stall()
        assert stand.state(volume, "m2") is not ReplicaState.IN_SYNC
        assert copy_of(stand, volume, "m2") is CopyMode.FULL
    with stand.writing(volume, "m2") as checked:
        stand.revive(m1)
        redundant = stand.wait_until_redundant(volume)
        after = checked.finish()
    tell("disk-refused-then-consumer-power-cut", before, stall, redundant)
    end(stand, volume, before, after)


def copy_of(stand: Stand, volume: Volume, node: str) -> CopyMode:
    replicas = stand.control.volumes.get(volume.id).replicas
    return next(replica.copy for replica in replicas if replica.node == node)
