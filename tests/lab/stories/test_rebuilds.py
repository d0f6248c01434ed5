"""Something else fails while a replica is being rebuilt."""

import pytest

from replication.model import MIB, ReplicaState, Volume
from tests.lab.stand import Checked, Stand
from tests.lab.stories.told import end, tell

pytestmark = [pytest.mark.lab, pytest.mark.cluster(nodes=3), pytest.mark.more]
LOSS_STALL = 25.0  # seconds: five times the goal of 5 when a replica falls silent
COPIED_BYTES = 256 * MIB  # by a rebuild that takes long enough for something to happen in it


@pytest.mark.parametrize("second", ["m2", pytest.param("m3", marks=pytest.mark.long)])
def test_a_second_failure_during_a_rebuild(stand: Stand, second: str) -> None:
    """Another replica, or the one that is being rebuilt: writes go on, and all come back."""
    volume = stand.create("twice", COPIED_BYTES)
    m3, victim = stand.machine("m3"), stand.machine(second)
    with stand.writing(volume, "m1") as checked:
        begin_rebuild(stand, volume, checked)
        checked.collector.restart_stall_watch()
        victim.cut()
        stand.wait_for_state(volume, second, ReplicaState.STALE)
        checked.wait_for_writes(100)
        stall = checked.collector.stall()
        victim.heal()
        m3.heal()
        redundant = stand.wait_until_redundant(volume)
        verdict = checked.finish()
    tell(f"rebuild-loses-{second}", verdict, stall, redundant)
    assert stall < LOSS_STALL
    end(stand, volume, verdict)


def begin_rebuild(stand: Stand, volume: Volume, checked: Checked) -> None:
    """m3 misses most of the volume, is back, and is being rebuilt."""
    m3 = stand.machine("m3")
    m3.cut()
    stand.wait_for_state(volume, "m3", ReplicaState.STALE)
    count = COPIED_BYTES // MIB - 32
    fill = f"dd if=/dev/zero of={checked.device} bs=1M seek=32 count={count} oflag=direct status=none"
    checked.machine.succeed(fill, timeout=120)
    noise = f"dd if=/dev/urandom of={checked.device} bs=1M seek=16 count=4 oflag=direct status=none"
    checked.machine.succeed(noise)
    m3.heal()
    stand.wait_for_state(volume, "m3", ReplicaState.REBUILDING, 60)
