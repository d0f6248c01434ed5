"""The consumer is cut off from replicas, and the others are not."""

import pytest

from replication.clock import SystemClock
from replication.model import ReplicaState
from tests.lab.stand import PATIENCE, Stand
from tests.lab.stories.told import end, tell

pytestmark = [pytest.mark.lab, pytest.mark.cluster(nodes=3), pytest.mark.long]
LOSS_STALL = 25.0  # seconds: five times the goal of 5 when a replica falls silent
MOST_MORE = 2.0  # seconds that a stall may be longer than without a fault
AWAY = 20.0  # seconds: the control plane, which sees the replica, tries in vain to bring it back
SHORT = 10.0  # seconds: longer than the 3 after which what is silent counts as lost


def test_the_consumer_is_cut_off_from_one_replica(stand: Stand) -> None:
    """The control plane reaches both: the replica is stale while the consumer does not, and writes go on."""
    volume = stand.create("half")
    m1, m3 = stand.machine("m1"), stand.machine("m3")
    with stand.writing(volume, "m1") as checked:
        quiet = checked.measure(lambda: None)
        checked.collector.restart_stall_watch()
        m1.cut_from(m3.address)
        stand.wait_for_state(volume, "m3", ReplicaState.STALE)
        checked.wait_for_writes(100)
        stall = checked.collector.stall()
        apart = checked.measure(lambda: None, AWAY)
        assert stand.state(volume, "m3") is not ReplicaState.IN_SYNC
        m1.heal_from()
        redundant = stand.wait_until_redundant(volume)
        checked.wait_for_writes(100)
        verdict = checked.finish()
    print(f"longest stall: {quiet:.2f} s quiet, {apart:.2f} s while the return was tried in vain")
    tell("consumer-without-one-replica", verdict, max(stall, apart), redundant)
    assert stall < LOSS_STALL
    assert apart <= quiet + MOST_MORE
    end(stand, volume, verdict)


def test_the_consumer_is_cut_off_from_both_replicas(stand: Stand) -> None:
    """The control plane hears it: the consumer's own replica is left, and writes go on."""
    volume = stand.create("alone")
    m1, m2, m3 = stand.cluster.machines
    with stand.writing(volume, "m1") as checked:
        checked.collector.restart_stall_watch()
        m1.cut_from(m2.address, m3.address)
        for node in ("m2", "m3"):
            stand.wait_for_state(volume, node, ReplicaState.STALE)
        checked.wait_for_writes(100)
        stall = checked.collector.stall()
        assert stand.state(volume, "m1") is ReplicaState.IN_SYNC
        m1.heal_from()
        redundant = stand.wait_until_redundant(volume)
        checked.wait_for_writes(100)
        verdict = checked.finish()
    tell("consumer-without-both-replicas", verdict, stall, redundant)
    assert stall < LOSS_STALL
    end(stand, volume, verdict)


def test_the_consumer_is_cut_off_from_all_for_a_while(stand: Stand) -> None:
    """From the control plane as well: writes wait, since nobody records, and go on when the cable is back."""
    volume = stand.create("waits")
    m1 = stand.machine("m1")
    with stand.writing(volume, "m1") as checked:
        m1.cut()
        checked.wait_until_waiting()
        checked.assert_waiting(SHORT)
        states = {replica.state for replica in stand.control.volumes.get(volume.id).replicas}
        assert states == {ReplicaState.IN_SYNC}, "nobody has told"
        begun = SystemClock().now()
        m1.heal()
        checked.wait_for_writes(200, PATIENCE)
        stall, released_after = checked.collector.stall(), SystemClock().now() - begun
        redundant = stand.wait_until_redundant(volume)
        checked.wait_for_writes(100)
        verdict = checked.finish()
    print(f"200 writes {released_after:.1f} s after the cable was back")
    tell("consumer-without-anybody", verdict, stall, redundant)
    assert released_after < LOSS_STALL
    end(stand, volume, verdict)
