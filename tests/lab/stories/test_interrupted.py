"""An expansion under writes, cut short by what fails meanwhile: a repeat ends it, and nothing is lost."""

import contextlib
import threading
from collections.abc import Callable
from functools import partial

import pytest

from replication.errors import Conflict, FailedPrecondition, Unavailable
from replication.model import MIB, Phase, ReplicaState, Volume
from tests.lab.stand import PATIENCE, Checked, Interception, Stand, wait_for
from tests.lab.stories.acts import kill_agent, move
from tests.lab.stories.told import end, tell

pytestmark = [pytest.mark.lab, pytest.mark.cluster(nodes=3), pytest.mark.more]
GROWN_BYTES = 192 * MIB
LOSS_STALL = 25.0  # seconds: five times the goal of 5 when a replica falls silent
MOST_MORE = 2.0  # seconds that a stall may be longer than without a fault
IN_FLIGHT = 0.3  # seconds after the begin of a call, or after its end


@pytest.mark.long
def test_an_expansion_interrupted_by_a_replicas_power_cut(stand: Stand) -> None:
    """Before its replica has grown: the others grow without it, and it grows when it returns."""
    volume = stand.create("grows")
    m3 = stand.machine("m3")
    with stand.writing(volume, "m1") as checked:
        checked.collector.restart_stall_watch()
        interrupt(stand, volume, "resize_replica", lambda _: m3.crash())
        repeat(stand, volume, checked)
        assert stand.state(volume, "m3") is ReplicaState.STALE
        write_at_the_end(checked)
        stall = checked.collector.stall()
        stand.revive(m3)
        redundant = stand.wait_until_redundant(volume)
        verdict = checked.finish()
    tell("expansion-loses-replica", verdict, stall, redundant)
    assert stall < LOSS_STALL
    end(stand, volume, verdict)


def test_a_replica_that_missed_an_expansion_returns_after_a_move(stand: Stand) -> None:
    """What was written to the new part is marked on the disks: the next consumer knows what to copy."""
    volume = stand.create("missed")
    m3 = stand.machine("m3")
    with stand.writing(volume, "m1") as first:
        m3.cut()
        stand.wait_for_state(volume, "m3", ReplicaState.STALE)
        repeat(stand, volume, first)
        write_at_the_end(first)
        stall, before = first.collector.stall(), first.finish()
    stand.control.volumes.detach(volume.id)
    with stand.writing(volume, "m2") as checked:
        m3.heal()
        redundant = stand.wait_until_redundant(volume)
        checked.wait_for_writes(100)
        next_stall, after = checked.collector.stall(), checked.finish()
    tell("expansion-missed", before, stall, redundant)
    tell("expansion-missed-next", after, next_stall, redundant)
    end(stand, volume, before, after)


@pytest.mark.parametrize("when", [pytest.param("before", marks=pytest.mark.long), "during"])
def test_an_expansion_interrupted_by_the_death_of_the_consumers_agent(stand: Stand, when: str) -> None:
    """When all replicas have grown and the array has not, or while it does."""
    volume = stand.create("grows")
    kill = partial(kill_agent, stand)
    act = kill if when == "before" else partial(later, kill)
    with stand.writing(volume, "m1") as checked:
        quiet = checked.measure(lambda: None)
        checked.collector.restart_stall_watch()
        interrupt(stand, volume, "grow_array", act)
        wait_for(lambda: stand.site.agents["m1"].status is not None, "the agent's end")
        checked.wait_for_writes(200)
        stand.revive(stand.machine("m1"))
        repeat(stand, volume, checked)
        write_at_the_end(checked)
        stall = checked.collector.stall()
        redundant = stand.wait_until_redundant(volume)
        verdict = checked.finish()
    tell(f"expansion-agent-killed-{when}", verdict, stall, redundant)
    assert stall <= quiet + MOST_MORE
    end(stand, volume, verdict)


@pytest.mark.long
def test_an_expansion_interrupted_by_the_consumers_power_cut(stand: Stand) -> None:
    """All replicas have grown, the array has not: the next consumer has the old size first."""
    volume = stand.create("grows")
    m1 = stand.machine("m1")
    with stand.writing(volume, "m1") as lost:
        interrupt(stand, volume, "grow_array", lambda _: m1.crash())
        before, moved_after = move(stand, volume, lost, "m2"), lost.collector.stall()
    with stand.writing(volume, "m2") as checked:
        repeat(stand, volume, checked)
        write_at_the_end(checked)
        stand.revive(m1)
        redundant = stand.wait_until_redundant(volume)
        checked.wait_for_writes(100)
        stall, after = checked.collector.stall(), checked.finish()
    tell("expansion-consumer-power-cut", before, moved_after, redundant)
    tell("expansion-consumer-power-cut-next", after, stall, redundant)
    end(stand, volume, before, after)


def interrupt(stand: Stand, volume: Volume, method: str, act: Callable[[str], None]) -> None:
    """Expand, and have it cut short by `act` at its first call of `method`."""
    interception = Interception(stand, method, act)
    with contextlib.suppress(Unavailable):  # one that dies late may have done what it was asked
        interception.control().volumes.expand(volume.id, GROWN_BYTES)
    assert interception.happened


def repeat(stand: Stand, volume: Volume, checked: Checked) -> None:
    """As an orchestrator does, and the control plane unasked, until the device has its new size."""

    def grown() -> bool:
        with contextlib.suppress(Unavailable, FailedPrecondition, Conflict):
            stand.control.volumes.expand(volume.id, GROWN_BYTES)
            return True
        return False

    wait_for(grown, f"{volume.name} to grow", PATIENCE)
    now = stand.control.volumes.get(volume.id)
    assert (now.phase, now.size_bytes, now.target_size_bytes) == (Phase.READY, GROWN_BYTES, 0)
    size = checked.machine.succeed(["blockdev", "--getsize64", checked.device])
    assert int(size) == GROWN_BYTES


def write_at_the_end(checked: Checked) -> None:
    """Where there was nothing before."""
    seek = GROWN_BYTES // MIB - 16
    where = f"of={checked.device} bs=1M seek={seek} count=16"
    checked.machine.succeed(f"dd if=/dev/urandom {where} oflag=direct status=none", timeout=120)
    checked.wait_for_writes(100)


def later(act: Callable[[str], None], name: str) -> None:
    threading.Timer(IN_FLIGHT, act, (name,)).start()
