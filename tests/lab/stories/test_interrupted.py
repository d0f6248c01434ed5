"""An expansion under writes, cut short by what fails meanwhile: a repeat ends it, and nothing is lost."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest

from replication.clock import SystemClock
from replication.model import Phase, ReplicaState, Volume
from tests.lab.stand import PATIENCE, Stand, dump, wait_for
from tests.lab.stories.acts import cut_power_of, kill_agent, make_mortal, move, return_power_to
from tests.lab.stories.growing import (
    BEFORE_ARRAY,
    BEFORE_REPLICAS,
    CUT_SHORT,
    GROWN_BYTES,
    LOSS_STALL,
    end_grown,
    interrupt,
    is_grown,
    repeat,
    sum_end,
    write_at_the_end,
)
from tests.lab.stories.told import tell
from tests.lab.test_bad_days import answers

pytestmark = [pytest.mark.lab, pytest.mark.cluster(nodes=3), pytest.mark.more]
MOST_MORE = 2.0  # seconds that a stall may be longer than without a fault
IN_FLIGHT = 0.3  # seconds after the begin of a call
UNHEARD = 15.0  # seconds: a replica that is brought back is in sync long before
BEFORE_MARKS = "replication.kernel.md:_mark_owed"  # the array has its new size, and nothing is marked there
STAGES = pytest.mark.parametrize(
    "stage", [pytest.param(BEFORE_REPLICAS, marks=pytest.mark.long), BEFORE_ARRAY]
)


@dataclass(frozen=True, slots=True)
class Loss:
    """How the replica of `node` is lost, and how it is had again."""

    name: str
    node: str
    lose: Callable[[], object]
    regain: Callable[[], object]


@pytest.mark.long
def test_an_expansion_interrupted_by_a_replicas_power_cut(stand: Stand) -> None:
    """Before its replica has grown: the others grow without it, and it grows when it returns."""
    m3 = stand.machine("m3")
    loss = Loss("power-cut", "m3", m3.crash, partial(stand.revive, m3))
    expand_and_lose(stand, loss, BEFORE_REPLICAS)


@STAGES
def test_an_expansion_interrupted_by_a_cut_link_to_a_replica(stand: Stand, stage: str) -> None:
    """The consumer's to a replica that the control plane reaches: the array grows without it."""
    m1, m3 = stand.machine("m1"), stand.machine("m3")
    expand_and_lose(stand, Loss("link-cut", "m3", partial(m1.cut_from, m3.address), m1.heal_from), stage)


@STAGES
@pytest.mark.parametrize("node", ["m3", pytest.param("m1", marks=pytest.mark.long)])
def test_an_expansion_interrupted_by_a_dead_disk(stand: Stand, node: str, stage: str) -> None:
    """A replica's or the consumer's own answers with errors: the others grow without it."""
    machine = stand.machine(node)
    expand_and_lose(stand, Loss("dead-disk", node, machine.fail_disk_io, machine.heal_disk_io), stage)


@pytest.mark.long
def test_an_expansion_interrupted_by_a_disk_that_is_pulled_out(stand: Stand) -> None:
    """Under a replica, which is there again when its machine has booted."""
    m3 = stand.machine("m3")

    def boot() -> None:
        m3.crash()
        stand.revive(m3)

    expand_and_lose(stand, Loss("disk-pulled", "m3", m3.break_disk, boot), BEFORE_ARRAY)


@pytest.mark.parametrize("node", ["m1", pytest.param("m3", marks=pytest.mark.long)])
def test_an_expansion_interrupted_by_a_node_that_control_does_not_hear(stand: Stand, node: str) -> None:
    """What was asked of the consumer, or of a replica, is done and never answered. No write notices."""
    volume = stand.create("grows")
    machine, stage = stand.machine(node), BEFORE_ARRAY if node == "m1" else BEFORE_REPLICAS
    with stand.writing(volume, "m1") as checked:
        quiet = checked.measure(lambda: None)
        checked.collector.restart_stall_watch()
        assert interrupt(stand, volume, stage, machine.cut_agent)
        assert stand.control.volumes.get(volume.id).phase is Phase.EXPANDING
        checked.wait_for_writes(100)
        machine.heal_agent()
        repeat(stand, volume, checked)
        write_at_the_end(checked)
        stall = checked.collector.stall()
        redundant = stand.wait_until_redundant(volume)
        verdict = checked.finish()
    tell(f"expansion-{node}-unheard", verdict, stall, redundant)
    assert stall <= quiet + MOST_MORE
    end_grown(stand, volume, verdict)


@pytest.mark.long
def test_an_expansion_interrupted_by_a_cut_of_the_consumers_cable(stand: Stand) -> None:
    """From everybody, before its array grows: writes wait, as nobody records, and go on when it is back."""
    volume = stand.create("grows")
    m1 = stand.machine("m1")
    with stand.writing(volume, "m1") as checked:
        assert interrupt(stand, volume, BEFORE_ARRAY, m1.cut)
        checked.assert_waiting()
        m1.heal()
        repeat(stand, volume, checked)
        write_at_the_end(checked)
        stall = checked.collector.stall()
        redundant = stand.wait_until_redundant(volume)
        verdict = checked.finish()
    tell("expansion-consumer-cut-off", verdict, stall, redundant)
    end_grown(stand, volume, verdict)


@pytest.mark.parametrize("during", [False, pytest.param(True, marks=pytest.mark.long)])
def test_an_expansion_interrupted_by_a_power_cut_of_all_machines(stand: Stand, during: bool) -> None:
    """When all replicas have grown and the array has not, or while they do. Nobody has to ask again."""
    volume = stand.create("grows")
    cut = partial(cut_power_of, stand.cluster.machines)
    with stand.writing(volume, "m1") as lost:
        lost.wait_for_writes(500)
        epoch = stand.control.volumes.get(volume.id).epoch
        if during:
            interrupt_replicas(stand, volume, cut)
        else:
            assert interrupt(stand, volume, BEFORE_ARRAY, cut)
        return_power_to(stand, stand.cluster.machines, volume, "m1", epoch)
        wait_for(lambda: is_grown(stand, volume), "the expansion to be ended", PATIENCE)
        redundant, stall = stand.wait_until_redundant(volume), lost.collector.stall()
        assert lost.collector.errors() == []
        before = lost.collector.judge(dump(lost.machine, lost.device))
    with stand.writing(volume, "m1") as checked:
        write_at_the_end(checked)
        next_stall, after = checked.collector.stall(), checked.finish()
    tell(f"expansion-all-power-cut-{'during' if during else 'before'}", before, stall, redundant)
    tell("expansion-all-power-cut-next", after, next_stall, redundant)
    end_grown(stand, volume, before, after)


@pytest.mark.long
def test_what_is_written_to_the_new_part_before_anybody_heard_of_it_is_kept(stand: Stand) -> None:
    """The array grew, its user wrote there, and the consumer died before it could answer.

    A replica that missed all of it could return on the next consumer, before the other one in sync can be
    asked for its size: it would have come into sync without what was written, and been the source of it.
    """
    volume = stand.create("grows")
    m1, m2, m3 = stand.cluster.machines
    with stand.writing(volume, "m1") as lost:
        m3.cut()
        stand.wait_for_state(volume, "m3", ReplicaState.STALE)
        stand.kill_control()
        assert interrupt(stand, volume, BEFORE_ARRAY, m1.cut_agent)
        lost.machine.wait_until_succeeds(f"test $(blockdev --getsize64 {lost.device}) = {GROWN_BYTES}")
        write_at_the_end(lost)
        written = sum_end(lost.machine, lost.device)
        m1.crash()
        m3.heal()
        wait_for(partial(answers, stand, "m3"), "m3 to answer")
        before, moved_after = move(stand, volume, lost, "m3"), lost.collector.stall()
    m2.cut_agent()
    stand.start_control()
    SystemClock().sleep(UNHEARD)
    m2.heal_agent()
    wait_for(lambda: is_grown(stand, volume), "the expansion to be ended", PATIENCE)
    stand.revive(m1)
    redundant = stand.wait_until_redundant(volume)
    tell("expansion-unheard-then-lost", before, moved_after, redundant)
    assert sum_end(m3, lost.device) == written
    end_grown(stand, volume, before)


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
    end_grown(stand, volume, before, after)


@pytest.mark.long
def test_an_expansion_interrupted_by_the_death_of_the_consumers_agent(stand: Stand) -> None:
    """When all replicas have grown and the array has not."""
    volume = stand.create("grows")
    with stand.writing(volume, "m1") as checked:
        quiet = checked.measure(lambda: None)
        checked.collector.restart_stall_watch()
        assert interrupt(stand, volume, BEFORE_ARRAY, partial(kill_agent, stand, "m1"))
        wait_for(lambda: stand.site.agents["m1"].status is not None, "the agent's end")
        checked.wait_for_writes(200)
        stand.revive(stand.machine("m1"))
        repeat(stand, volume, checked)
        write_at_the_end(checked)
        stall = checked.collector.stall()
        redundant = stand.wait_until_redundant(volume)
        verdict = checked.finish()
    tell("expansion-agent-killed-before", verdict, stall, redundant)
    assert stall <= quiet + MOST_MORE
    end_grown(stand, volume, verdict)


def test_writes_that_an_agent_kept_from_a_growing_array_wait_for_the_next_agent(stand: Stand) -> None:
    """It dies when the array has its new size, is frozen, and has not been marked yet."""
    volume = stand.create("grows")
    m1, md = stand.machine("m1"), f"/sys/block/md_{volume.id}/md"
    with stand.writing(volume, "m1") as checked:
        make_mortal(stand, "m1", BEFORE_MARKS)
        with pytest.raises(CUT_SHORT):
            stand.control.volumes.expand(volume.id, GROWN_BYTES)
        told = m1.succeed(["cat", f"{md}/sync_action", f"{md}/component_size"])
        assert told.split() == ["frozen", str(GROWN_BYTES // 1024)]
        wait_for(lambda: stand.site.agents["m1"].status is not None, "the agent's end")
        checked.wait_until_waiting()
        checked.assert_waiting()
        stand.revive(m1)
        checked.wait_for_writes(200)
        repeat(stand, volume, checked)
        write_at_the_end(checked)
        stall, redundant = checked.collector.stall(), stand.wait_until_redundant(volume)
        verdict = checked.finish()
    tell("expansion-agent-killed-amid", verdict, stall, redundant)
    end_grown(stand, volume, verdict)


@pytest.mark.long
def test_an_expansion_interrupted_by_the_consumers_power_cut(stand: Stand) -> None:
    """All replicas have grown, the array has not: the next consumer has the new size at once."""
    volume = stand.create("grows")
    m1 = stand.machine("m1")
    with stand.writing(volume, "m1") as lost:
        assert interrupt(stand, volume, BEFORE_ARRAY, m1.crash)
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
    end_grown(stand, volume, before, after)


def expand_and_lose(stand: Stand, loss: Loss, stage: str) -> None:
    """Right before the call `stage`: the volume grows without that replica, which grows when it returns."""
    volume = stand.create("grows")
    with stand.writing(volume, "m1") as checked:
        checked.collector.restart_stall_watch()
        interrupt(stand, volume, stage, loss.lose)
        stand.wait_for_state(volume, loss.node, ReplicaState.STALE)
        repeat(stand, volume, checked)
        assert stand.state(volume, loss.node) is not ReplicaState.IN_SYNC
        write_at_the_end(checked)
        stall = checked.collector.stall()
        loss.regain()
        redundant = stand.wait_until_redundant(volume)
        checked.wait_for_writes(100)
        verdict = checked.finish()
    tell(f"expansion-{loss.name}-{loss.node}-before-{stage}", verdict, stall, redundant)
    assert stall < LOSS_STALL
    end_grown(stand, volume, verdict)


def interrupt_replicas(stand: Stand, volume: Volume, act: Callable[[], object]) -> None:
    """The same, while the replicas grow: the record has the new size when all have."""
    timer = threading.Timer(IN_FLIGHT, act)
    cut_short = interrupt(stand, volume, BEFORE_REPLICAS, timer.start)
    timer.join()
    assert cut_short
    assert stand.control.volumes.get(volume.id).size_bytes < GROWN_BYTES
