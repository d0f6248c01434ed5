"""A replica is lost, and returns when the volume has moved or lost another; in the end all are equal."""

import pytest

from replication.clock import SystemClock
from replication.model import ReplicaState
from tests.lab.stand import PATIENCE, Stand, dump
from tests.lab.stories.healing import write_elsewhere
from tests.lab.stories.told import end, tell

pytestmark = [pytest.mark.lab, pytest.mark.cluster(nodes=3)]
MOST_MORE = 2.0  # seconds that a stall may be longer than without a fault
LOSS_STALL = 25.0  # seconds: five times the goal of 5 when a replica falls silent
AWAY = 10.0  # seconds: longer than the 3 after which what is silent counts as lost


@pytest.mark.more
@pytest.mark.parametrize("moves", [1, pytest.param(2, marks=pytest.mark.long)])
def test_a_stale_replica_returns_after_clean_moves(stand: Stand, moves: int) -> None:
    """What it missed under each consumer lies in different places: no bitmap may be forgotten."""
    volume = stand.create("stale")
    m3 = stand.machine("m3")
    verdicts = []
    for number in range(moves):
        with stand.writing(volume, ("m1", "m2")[number % 2]) as checked:
            if number == 0:
                m3.cut()
                stand.wait_for_state(volume, "m3", ReplicaState.STALE)
            write_elsewhere(checked, number)
            verdicts.append(checked.finish())
        stand.control.volumes.detach(volume.id)
    with stand.writing(volume, ("m1", "m2")[moves % 2]) as checked:
        m3.heal()
        redundant = stand.wait_until_redundant(volume)
        checked.wait_for_writes(100)
        stall = checked.collector.stall()
        verdicts.append(checked.finish())
    for verdict in verdicts:
        tell(f"stale-moved-{moves}", verdict, stall, redundant)
    end(stand, volume, *verdicts)


@pytest.mark.parametrize(
    "first",
    [pytest.param("m3", marks=pytest.mark.more), pytest.param("m1", marks=pytest.mark.long)],
)
def test_a_stale_replica_returns_after_a_power_cut_of_the_consumer(stand: Stand, first: str) -> None:
    """One replica is left. The stale one and the consumer's come back in either order."""
    volume = stand.create("survivor")
    m1, m2, m3 = stand.cluster.machines
    with stand.writing(volume, "m1") as lost:
        m3.cut()
        stand.wait_for_state(volume, "m3", ReplicaState.STALE)
        write_elsewhere(lost, 0)
        m1.crash()
        stand.control.volumes.detach(volume.id)
        device = stand.control.volumes.attach(volume.id, "m2")
        assert lost.collector.errors() == []
        before = lost.collector.judge(dump(m2, device))
        stall = lost.collector.stall()
    with stand.writing(volume, "m2") as checked:
        write_elsewhere(checked, 1)
        begun = SystemClock().now()
        for returned in (m3, m1) if first == "m3" else (m1, m3):
            returned.heal()
            if not returned.running:
                stand.revive(returned)
            stand.wait_for_state(volume, returned.name, ReplicaState.IN_SYNC, PATIENCE)
        stand.wait_until_redundant(volume)
        redundant = SystemClock().now() - begun
        checked.wait_for_writes(100)
        after = checked.finish()
    tell(f"stale-power-cut-{first}-first", before, stall, redundant)
    tell(f"stale-power-cut-{first}-first-next", after, checked.collector.stall(), redundant)
    end(stand, volume, before, after)


@pytest.mark.more
def test_a_replica_cut_off_from_control_only(stand: Stand) -> None:
    """The consumer reaches it: it stays in sync, and is what writes go on with when another is lost."""
    volume = stand.create("unseen")
    m2, m3 = stand.machine("m2"), stand.machine("m3")
    with stand.writing(volume, "m1") as checked:
        quiet = checked.measure(lambda: None)
        unseen = checked.measure(m3.cut_agent, AWAY)
        assert stand.state(volume, "m3") is ReplicaState.IN_SYNC
        checked.collector.restart_stall_watch()
        m2.crash()
        stand.wait_for_state(volume, "m2", ReplicaState.STALE)
        checked.wait_for_writes(100)
        stall = checked.collector.stall()
        assert stand.state(volume, "m3") is ReplicaState.IN_SYNC
        m3.heal_agent()
        stand.revive(m2)
        redundant = stand.wait_until_redundant(volume)
        verdict = checked.finish()
    tell("replica-without-control", verdict, stall, redundant)
    assert unseen <= quiet + MOST_MORE
    assert stall < LOSS_STALL
    end(stand, volume, verdict)
