"""Five replicas on five machines."""

import pytest

from replication.clock import SystemClock
from replication.model import ReplicaState
from tests.lab.stand import PATIENCE, Stand
from tests.lab.stories.told import end, tell

pytestmark = [pytest.mark.lab, pytest.mark.cluster(nodes=5), pytest.mark.long]
LOSS_STALL = 25.0  # seconds: five times the goal of 5 when a replica falls silent


def test_two_failures_and_then_a_third(stand: Stand) -> None:
    """Writes go on with two replicas of five, and all come back."""
    volume = stand.create("five", replicas=5)
    m3, m4, m5 = (stand.machine(name) for name in ("m3", "m4", "m5"))
    with stand.writing(volume, "m1") as checked:
        checked.collector.restart_stall_watch()
        m5.crash()
        m4.cut()
        for name in ("m4", "m5"):
            stand.wait_for_state(volume, name, ReplicaState.STALE)
        checked.wait_for_writes(100)
        first = checked.collector.stall()
        checked.collector.restart_stall_watch()
        m3.crash()
        stand.wait_for_state(volume, "m3", ReplicaState.STALE)
        checked.wait_for_writes(100)
        second = checked.collector.stall()
        begun = SystemClock().now()
        m4.heal()
        stand.revive(m5)
        stand.revive(m3)
        for name in ("m3", "m4", "m5"):
            stand.wait_for_state(volume, name, ReplicaState.IN_SYNC, PATIENCE)
        redundant = SystemClock().now() - begun
        checked.wait_for_writes(100)
        verdict = checked.finish()
    tell("five-lose-two-then-one", verdict, max(first, second), redundant)
    assert first < LOSS_STALL
    assert second < LOSS_STALL
    end(stand, volume, verdict)
