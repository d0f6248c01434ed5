"""An expansion under writes, and beside it what lasts for a while, or befalls more than one machine."""

import contextlib
import threading
from functools import partial

import pytest

from hack.lab.locking import locked
from replication.model import ReplicaState
from tests.lab.stand import PATIENCE, Stand, dump
from tests.lab.stories.acts import flap, move
from tests.lab.stories.growing import (
    BEFORE_ARRAY,
    BEFORE_REPLICAS,
    LOSS_STALL,
    end_grown,
    interrupt,
    repeat,
    write_at_the_end,
)
from tests.lab.stories.healing import counting, create_on, wait_until_on
from tests.lab.stories.told import tell

pytestmark = [pytest.mark.lab, pytest.mark.cluster(nodes=3), pytest.mark.long]
OUTAGE = 60.0  # seconds
RELEASED_AFTER = 26.0  # seconds: five times the 5.2 s after which what could not be done is tried again
FLAPS = 5
DRAINED_WITHIN = 3 * PATIENCE


def test_an_expansion_beside_a_link_that_flaps(stand: Stand) -> None:
    """From right before the replicas grow: some outages are a loss, and end in the midst of a recovery."""
    volume = stand.create("grows")
    flapping = threading.Thread(target=flap, args=(stand.machine("m3"), FLAPS))
    with stand.writing(volume, "m1") as checked:
        checked.collector.restart_stall_watch()
        interrupt(stand, volume, BEFORE_REPLICAS, flapping.start)
        repeat(stand, volume, checked)
        write_at_the_end(checked)
        flapping.join()
        stall = checked.collector.stall()
        redundant = stand.wait_until_redundant(volume)
        checked.wait_for_writes(100)
        verdict = checked.finish()
    tell(f"expansion-link-flaps-{FLAPS}", verdict, stall, redundant)
    assert stall < LOSS_STALL
    end_grown(stand, volume, verdict)


def test_an_expansion_beside_a_link_that_is_slow_and_loses_packets(stand: Stand) -> None:
    """200 ms and 5 %, from right before the replicas grow: it takes longer, or does without that one."""
    volume = stand.create("grows")
    m3 = stand.machine("m3")
    with stand.writing(volume, "m1") as checked:
        checked.collector.restart_stall_watch()
        interrupt(stand, volume, BEFORE_REPLICAS, partial(m3.degrade, 200, 5))
        repeat(stand, volume, checked)
        write_at_the_end(checked)
        stall, state = checked.collector.stall(), stand.state(volume, "m3")
        m3.delay(0)
        redundant = stand.wait_until_redundant(volume)
        checked.wait_for_writes(100)
        verdict = checked.finish()
    print(f"under 200 ms and 5 % the replica was {state}")
    tell("expansion-link-lossy", verdict, stall, redundant)
    assert stall < LOSS_STALL
    end_grown(stand, volume, verdict)


@pytest.mark.parametrize("stage", [BEFORE_REPLICAS, BEFORE_ARRAY])
def test_an_expansion_interrupted_by_a_store_that_is_locked(stand: Stand, stage: str) -> None:
    """What comes next is done and cannot be recorded. A replica is lost then: writes wait for the store."""
    volume = stand.create("grows")
    m3 = stand.machine("m3")
    with stand.writing(volume, "m1") as checked:
        with contextlib.ExitStack() as outage:
            lock = partial(outage.enter_context, locked(stand.site.state / "state.db"))
            assert interrupt(stand, volume, stage, lock), "nobody can record that it has grown"
            m3.crash()
            checked.wait_until_waiting()
            checked.assert_waiting(OUTAGE)
            assert stand.state(volume, "m3") is ReplicaState.IN_SYNC, "nothing can be recorded"
        checked.wait_for_writes(1, RELEASED_AFTER)
        stand.wait_for_state(volume, "m3", ReplicaState.STALE)
        repeat(stand, volume, checked)
        write_at_the_end(checked)
        stall = checked.collector.stall()
        stand.revive(m3)
        redundant = stand.wait_until_redundant(volume)
        verdict = checked.finish()
    tell(f"expansion-store-locked-before-{stage}", verdict, stall, redundant)
    end_grown(stand, volume, verdict)


def test_an_expansion_interrupted_by_a_second_failure(stand: Stand) -> None:
    """One replica is stale, another is lost before the array grows: it grows with the one that is left."""
    volume = stand.create("grows")
    m2, m3 = stand.machine("m2"), stand.machine("m3")
    with stand.writing(volume, "m1") as checked:
        m3.cut()
        stand.wait_for_state(volume, "m3", ReplicaState.STALE)
        checked.collector.restart_stall_watch()
        interrupt(stand, volume, BEFORE_ARRAY, m2.cut)
        stand.wait_for_state(volume, "m2", ReplicaState.STALE)
        repeat(stand, volume, checked)
        write_at_the_end(checked)
        stall = checked.collector.stall()
        m2.heal()
        m3.heal()
        redundant = stand.wait_until_redundant(volume)
        checked.wait_for_writes(100)
        verdict = checked.finish()
    tell("expansion-second-failure", verdict, stall, redundant)
    assert stall < LOSS_STALL
    end_grown(stand, volume, verdict)


def test_an_expansion_interrupted_by_a_consumer_that_freezes(stand: Stand) -> None:
    """What it was asked it does when it goes on, in an array that is over: the volume has moved and grown."""
    volume = stand.create("grows")
    m1 = stand.machine("m1")
    with stand.writing(volume, "m1") as late:
        assert interrupt(stand, volume, BEFORE_ARRAY, m1.freeze)
        move(stand, volume, late, "m2")
        moved_after = late.collector.stall()
        found = dump(stand.machine("m2"), late.device)
        with stand.writing(volume, "m2") as checked:
            repeat(stand, volume, checked)
            write_at_the_end(checked)
            m1.thaw()
            m1.wait_until_succeeds(f"! test -e /sys/block/md_{volume.id}", timeout=PATIENCE)
            redundant = stand.wait_until_redundant(volume)
            checked.wait_for_writes(100)
            stall, after = checked.collector.stall(), checked.finish()
        assert late.collector.errors() == []
        before = late.collector.judge(found)
    tell("expansion-frozen-consumer", before, moved_after, redundant)
    tell("expansion-frozen-consumer-next", after, stall, redundant)
    end_grown(stand, volume, before, after)


@pytest.mark.cluster(nodes=4)
def test_an_expansion_beside_a_drain(stand: Stand) -> None:
    """Of a replica's node, from right before the array grows: the new replica is as large as the volume."""
    volume = create_on(stand, "grows", ("m1", "m2", "m3"))
    drain = partial(stand.control.emptying.cordon, "m3", draining=True)
    with stand.writing(volume, "m1") as checked:
        checked.collector.restart_stall_watch()
        with counting(stand, volume) as counts:
            interrupt(stand, volume, BEFORE_ARRAY, drain)
            repeat(stand, volume, checked)
            write_at_the_end(checked)
            took = wait_until_on(stand, volume, {"m1", "m2", "m4"}, DRAINED_WITHIN)
        stall = checked.collector.stall()
        checked.wait_for_writes(100)
        verdict = checked.finish()
    stand.control.emptying.uncordon("m3")
    tell("expansion-drain", verdict, stall, took)
    assert min(counts) >= 3
    assert stall < LOSS_STALL
    end_grown(stand, stand.control.volumes.get(volume.id), verdict)


@pytest.mark.cluster(nodes=5)
def test_an_expansion_of_five_replicas_interrupted_by_the_loss_of_two(stand: Stand) -> None:
    """Right before the array grows, which three go on with."""
    volume = stand.create("grows", replicas=5)
    m4, m5 = stand.machine("m4"), stand.machine("m5")

    def lose() -> None:
        m5.crash()
        m4.cut()

    with stand.writing(volume, "m1") as checked:
        checked.collector.restart_stall_watch()
        interrupt(stand, volume, BEFORE_ARRAY, lose)
        for name in ("m4", "m5"):
            stand.wait_for_state(volume, name, ReplicaState.STALE)
        repeat(stand, volume, checked)
        write_at_the_end(checked)
        stall = checked.collector.stall()
        m4.heal()
        stand.revive(m5)
        redundant = stand.wait_until_redundant(volume)
        checked.wait_for_writes(100)
        verdict = checked.finish()
    tell("expansion-five-lose-two", verdict, stall, redundant)
    assert stall < LOSS_STALL
    end_grown(stand, volume, verdict)
