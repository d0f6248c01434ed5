"""Something else fails while a replica is being rebuilt."""

import pytest

from hack.lab.vm import Machine
from replication.clock import SystemClock
from replication.model import MIB, ReplicaState, Volume
from tests.lab.stand import PATIENCE, Checked, Stand
from tests.lab.stories.healing import create_on
from tests.lab.stories.told import end, tell

pytestmark = [pytest.mark.lab, pytest.mark.cluster(nodes=3), pytest.mark.more]
LOOK = 2.0  # seconds
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


def test_the_source_of_a_rebuild_answers_with_errors(stand: Stand) -> None:
    """The consumer's own disk: the volume goes on from the other replica, and so does the copy."""
    volume, m1 = stand.create("source", COPIED_BYTES), stand.machine("m1")
    with stand.writing(volume, "m1") as checked:
        begin_rebuild(stand, volume, checked)
        assert find_source(stand) == "m1"
        checked.collector.restart_stall_watch()
        m1.fail_disk_io()
        lose_source(stand, volume, checked, "m1")
        stall = checked.collector.stall()
        m1.heal_disk_io()
        redundant = stand.wait_until_redundant(volume)
        checked.wait_for_writes(100)
        verdict = checked.finish()
    tell("rebuild-loses-local-source", verdict, stall, redundant)
    assert stall < LOSS_STALL
    end(stand, volume, verdict)


@pytest.mark.long
@pytest.mark.cluster(nodes=4)
def test_the_source_of_a_rebuild_loses_power(stand: Stand) -> None:
    """On another machine, because the consumer has no replica: the one that is left is copied from then."""
    volume = create_on(stand, "source", ("m1", "m2", "m3"), COPIED_BYTES)
    with stand.writing(volume, "m4") as checked:
        begin_rebuild(stand, volume, checked)
        source = find_source(stand)
        assert source in {"m1", "m2"}
        checked.collector.restart_stall_watch()
        stand.machine(source).crash()
        lose_source(stand, volume, checked, source)
        stall = checked.collector.stall()
        stand.revive(stand.machine(source))
        redundant = stand.wait_until_redundant(volume)
        checked.wait_for_writes(100)
        verdict = checked.finish()
    tell("rebuild-loses-remote-source", verdict, stall, redundant)
    assert stall < LOSS_STALL
    end(stand, volume, verdict)


def lose_source(stand: Stand, volume: Volume, checked: Checked, source: str) -> None:
    """Writes go on without it, and m3's replica, which was not in sync yet, is made so without it."""
    stand.wait_for_state(volume, source, ReplicaState.STALE)
    assert stand.state(volume, "m3") is not ReplicaState.IN_SYNC, "the copy had not ended"
    checked.wait_for_writes(100)
    stand.wait_for_state(volume, "m3", ReplicaState.IN_SYNC, PATIENCE)
    assert stand.state(volume, source) is ReplicaState.STALE


def find_source(stand: Stand) -> str:
    """Whose disk is read while a replica is copied: nobody else reads."""
    machines = stand.cluster.machines
    before = {machine.name: count_read(machine) for machine in machines}
    SystemClock().sleep(LOOK)
    read = {machine.name: count_read(machine) - before[machine.name] for machine in machines}
    print(f"sectors read in {LOOK:g} s: {read}")
    return max(read, key=lambda name: read[name])


def count_read(machine: Machine) -> int:
    """Sectors of its disk."""
    name = machine.disk_path().removeprefix("/dev/")
    return int(machine.succeed(["cat", f"/sys/block/{name}/stat"]).split()[2])


def begin_rebuild(stand: Stand, volume: Volume, checked: Checked) -> None:
    """m3's replica misses most of the volume, is back, and is being rebuilt."""
    m3 = stand.machine("m3")
    m3.cut()
    stand.wait_for_state(volume, "m3", ReplicaState.STALE)
    count = COPIED_BYTES // MIB - 32
    fill = f"dd if=/dev/zero of={checked.device} bs=1M seek=32 count={count} oflag=direct status=none"
    checked.machine.succeed(fill, timeout=300)
    noise = f"dd if=/dev/urandom of={checked.device} bs=1M seek=16 count=4 oflag=direct status=none"
    checked.machine.succeed(noise)
    m3.heal()
    stand.wait_for_state(volume, "m3", ReplicaState.REBUILDING, 60)
