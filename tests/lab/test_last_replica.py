"""The last replica in sync is never given up: writes wait for it, however long, and go on when it is back."""

import pytest

from replication.clock import SystemClock
from replication.control.volumes import VolumeRequest
from replication.model import MIB, MemberHealth, ReplicaState, Volume
from tests.lab.stand import POOL, Stand, wait_for
from tests.lab.stories.told import end, tell

pytestmark = [pytest.mark.lab, pytest.mark.long]
OUTAGE = 15.0  # seconds: longer than the keep-alive, so that the connection breaks and the path fails


def test_writes_wait_for_the_last_replica_and_go_on_when_it_is_back(stand: Stand) -> None:
    request = VolumeRequest("last", 64 * MIB, POOL, 1, preferred_nodes=("m2",))
    volume = stand.control.volumes.create(request)
    with stand.writing(volume, "m1") as checked:
        stand.machine("m2").cut()
        wait_for(lambda: health(stand, volume) is MemberHealth.LOST, "the only replica to be lost", 30)
        SystemClock().sleep(OUTAGE)
        checked.assert_waiting()
        assert stand.state(volume, "m2") is ReplicaState.IN_SYNC
        stand.machine("m2").heal()
        checked.wait_for_writes(100)
        stall, redundant = checked.collector.stall(), stand.wait_until_redundant(volume)
        verdict = checked.finish()
    tell("last-replica", verdict, stall, redundant)
    assert verdict.checked > 300
    end(stand, volume, verdict)


def health(stand: Stand, volume: Volume) -> MemberHealth:
    arrays = stand.control.nodes.facts("m1").arrays
    report = next(array for array in arrays if array.volume_id == volume.id)
    return report.members[0].health
