"""The machine that uses a volume dies, freezes or is cut off from control; then all machines lose power."""

from functools import partial

import pytest

from replication.errors import StaleEpoch
from replication.model import PrepareSpec, ReplicaState, Volume
from tests.lab.stand import PATIENCE, Stand, dump
from tests.lab.stories.acts import cut_all_power, move
from tests.lab.stories.told import end, tell

pytestmark = [pytest.mark.lab, pytest.mark.cluster(nodes=3)]
MOST_MORE = 2.0  # seconds that a stall may be longer than without a fault
AWAY = 10.0  # seconds: longer than the 3 after which what is silent counts as lost


def test_the_consumer_loses_power_and_the_volume_moves(stand: Stand) -> None:
    """Its machine returns under the next consumer's writes: its epoch is refused, its replica made equal."""
    volume = stand.create("moved")
    m1 = stand.machine("m1")
    with stand.writing(volume, "m1") as lost:
        old_epoch = stand.control.volumes.get(volume.id).epoch
        lost.wait_for_writes(500)
        m1.crash()
        before, moved_after = move(stand, volume, lost, "m2"), lost.collector.stall()
    with stand.writing(volume, "m2") as checked:
        checked.collector.restart_stall_watch()
        stand.revive(m1)
        redundant = stand.wait_until_redundant(volume)
        checked.wait_for_writes(100)
        with pytest.raises(StaleEpoch):
            prepare(stand, volume, "m3", old_epoch)
        m1.fail(f"test -e /sys/block/md_{volume.id}")
        stall = checked.collector.stall()
        after = checked.finish()
    tell("consumer-power-cut", before, moved_after, redundant)
    tell("old-consumer-returns", after, stall, redundant)
    end(stand, volume, before, after)


def test_a_consumer_that_was_frozen_writes_too_late(stand: Stand) -> None:
    """It goes on where it was when the volume has moved: its agent abandons, its late writes are nowhere."""
    volume = stand.create("frozen")
    m1 = stand.machine("m1")
    with stand.writing(volume, "m1") as late:
        late.wait_for_writes(500)
        m1.freeze()
        move(stand, volume, late, "m2")
        moved_after = late.collector.stall()
        found = dump(stand.machine("m2"), late.device)
        with stand.writing(volume, "m2") as checked:
            m1.thaw()
            m1.wait_until_succeeds(f"! test -e /sys/block/md_{volume.id}", timeout=PATIENCE)
            redundant = stand.wait_until_redundant(volume)
            checked.wait_for_writes(100)
            stall, after = checked.collector.stall(), checked.finish()
        assert late.collector.errors() == []
        before = late.collector.judge(found)
    tell("frozen-consumer", before, moved_after, redundant)
    tell("frozen-consumer-next", after, stall, redundant)
    end(stand, volume, before, after)


@pytest.mark.more
def test_a_consumer_cut_off_from_control_only(stand: Stand) -> None:
    """Nobody notices until a replica is lost: then writes wait for the record, and go on without an error."""
    volume = stand.create("unheard")
    m1, m3 = stand.machine("m1"), stand.machine("m3")
    with stand.writing(volume, "m1") as checked:
        quiet = checked.measure(lambda: None)
        unheard = checked.measure(m1.cut_agent, AWAY)
        m3.crash()
        checked.wait_until_waiting()
        checked.assert_waiting()
        assert stand.state(volume, "m3") is ReplicaState.IN_SYNC, "nobody has told"
        m1.heal_agent()
        checked.wait_for_writes(200)
        assert stand.state(volume, "m3") is ReplicaState.STALE
        stall = checked.collector.stall()
        stand.revive(m3)
        redundant = stand.wait_until_redundant(volume)
        verdict = checked.finish()
    tell("consumer-without-control", verdict, stall, redundant)
    assert unheard <= quiet + MOST_MORE
    end(stand, volume, verdict)


@pytest.mark.parametrize("times", [1, pytest.param(3, marks=pytest.mark.long)])
def test_all_machines_lose_power_at_once(stand: Stand, times: int) -> None:
    """Once they and their agents run, the volume is attached again and redundant; nobody has to ask."""
    volume = stand.create("dark")
    for _ in range(times):
        with stand.writing(volume, "m1") as checked:
            checked.wait_for_writes(500)
            cut_all_power(stand, volume, "m1")
            redundant = stand.wait_until_redundant(volume)
            stall = checked.collector.stall()
            assert checked.collector.errors() == []
            verdict = checked.collector.judge(dump(stand.machine("m1"), checked.device))
        tell("all-power-cut", verdict, stall, redundant)
        assert verdict.lost == ()
    end(stand, volume)


@pytest.mark.long
def test_all_machines_lose_power_and_two_of_three_are_back(stand: Stand) -> None:
    """They wait for the third for a while, which may know better; then the volume is used without it."""
    volume = stand.create("dark")
    m3 = stand.machine("m3")
    with stand.writing(volume, "m1") as before:
        before.wait_for_writes(500)
        cut_all_power(stand, volume, "m1", stays_off="m3")
        outage = before.collector.stall()
        assert before.collector.errors() == []
        found = before.collector.judge(dump(stand.machine("m1"), before.device))
    with stand.writing(volume, "m1") as checked:
        stand.wait_for_state(volume, "m2", ReplicaState.IN_SYNC, PATIENCE)
        assert stand.state(volume, "m3") is ReplicaState.STALE
        stand.revive(m3)
        redundant = stand.wait_until_redundant(volume)
        checked.wait_for_writes(100)
        stall, after = checked.collector.stall(), checked.finish()
    tell("all-power-cut-two-back", found, outage, redundant)
    tell("all-power-cut-two-back-next", after, stall, redundant)
    end(stand, volume, found, after)


@pytest.mark.long
def test_the_clock_of_a_node_jumps_by_an_hour(stand: Stand) -> None:
    """The consumer's forwards and back, a replica's too: it is not noticed, and a loss is handled as ever."""
    volume = stand.create("hour")
    m1, m3 = stand.machine("m1"), stand.machine("m3")
    with stand.writing(volume, "m1") as checked:
        quiet = checked.measure(lambda: None)
        jumps = [
            checked.measure(partial(machine.shift_clock, hours))
            for machine in (m1, m3)
            for hours in (1, -1, 1)
        ]
        assert max(jumps) <= quiet + MOST_MORE, jumps
        assert states(stand, volume) == {ReplicaState.IN_SYNC}
        checked.collector.restart_stall_watch()
        m3.cut()
        stand.wait_for_state(volume, "m3", ReplicaState.STALE)
        checked.wait_for_writes(100)
        m3.heal()
        redundant = stand.wait_until_redundant(volume)
        stall = checked.collector.stall()
        for machine in (m1, m3):
            machine.shift_clock(-1)
        verdict = checked.finish()
    tell("clock-jumps", verdict, max(stall, *jumps), redundant)
    end(stand, volume, verdict)


def prepare(stand: Stand, volume: Volume, node: str, epoch: int) -> None:
    replica = next(each for each in volume.replicas if each.node == node)
    stand.control.nodes.to(node).prepare_replica(PrepareSpec(volume.id, replica.id, epoch, 0, None))


def states(stand: Stand, volume: Volume) -> set[ReplicaState]:
    return {replica.state for replica in stand.control.volumes.get(volume.id).replicas}
