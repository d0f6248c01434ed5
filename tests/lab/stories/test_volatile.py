"""Power fails, and the disks forget what was not flushed; or they have no cache, and are known for it.

Writers that never sync leave most in the caches: a sync of one has all members flushed, for everybody. What
is left out of a disk when its machine is back is looked at before its agent runs.
"""

import pytest

from hack.checker.collector import Record
from hack.checker.writer import PLAIN
from replication.layout import DATA_OFFSET_BYTES
from replication.model import MIB, CopyMode, Replica, ReplicaState, Volume
from tests.lab.stand import Checked, Stand, dump
from tests.lab.stories.acts import cut_all_power, find_array, kill_agent, move
from tests.lab.stories.told import end, tell

pytestmark = [pytest.mark.lab, pytest.mark.cluster(nodes=3, volatile=True)]
WITHOUT_CACHE = pytest.mark.cluster(nodes=3, volatile=False)
LOSS_STALL = 25.0  # seconds: five times the goal of 5 when a replica falls silent
SIZE_BYTES = 64 * MIB
MARKED_BYTES = 16 * MIB  # at most: the checker's writers go round in two


@pytest.mark.more
@pytest.mark.parametrize("volatile", [True, pytest.param(False, marks=[WITHOUT_CACHE, pytest.mark.long])])
def test_a_replica_forgets_what_the_bitmap_marks(stand: Stand, volatile: bool) -> None:
    """Its newest flush was young when its power failed: what it forgot since is copied, and no more.

    One that can forget nothing gets what it has missed.
    """
    volume = stand.create("forgot", SIZE_BYTES)
    m3 = stand.machine("m3")
    with stand.writing(volume, "m1", PLAIN) as checked:
        checked.wait_for_writes(
            500
        )  # at first md marks chunks all the time, and flushes the disk with each mark
        checked.collector.restart_stall_watch()
        before = checked.collector.snapshot()
        m3.crash()
        replica = wait_until_stale(stand, volume, "m3")
        assert replica.copy is CopyMode.BITMAP
        checked.wait_for_writes(100)
        stall = checked.collector.stall()
        m3.start()
        assert (count_forgotten(stand, volume, replica, before, checked.collector.snapshot()) > 0) is volatile
        copied, redundant = bring_back(stand, volume, checked, "m3")
        assert 0 < copied < SIZE_BYTES
        verdict = checked.finish()
    tell(f"{name_disks(volatile)}-replica-power-cut", verdict, stall, redundant)
    assert stall < LOSS_STALL
    end(stand, volume, verdict)


@pytest.mark.long
@pytest.mark.parametrize("volatile", [True, pytest.param(False, marks=WITHOUT_CACHE)])
def test_a_consumer_forgets_and_the_volume_has_moved(stand: Stand, volatile: bool) -> None:
    """What it had acknowledged without a flush is on the next one; its own disk is known for its cache."""
    volume = stand.create("moved", SIZE_BYTES)
    m1 = stand.machine("m1")
    with stand.writing(volume, "m1", PLAIN) as lost:
        lost.wait_for_writes(500)
        m1.crash()
        before, moved_after = move(stand, volume, lost, "m2"), lost.collector.stall()
    with stand.writing(volume, "m2") as checked:
        m1.start()
        copied, redundant = bring_back(stand, volume, checked, "m1")
        assert (copied == SIZE_BYTES) if volatile else (0 < copied <= MARKED_BYTES)
        stall, after = checked.collector.stall(), checked.finish()
    tell(f"{name_disks(volatile)}-consumer-power-cut", before, moved_after, redundant)
    tell(f"{name_disks(volatile)}-consumer-power-cut-next", after, stall, redundant)
    end(stand, volume, before, after)


@pytest.mark.long
@pytest.mark.parametrize("volatile", [True, pytest.param(False, marks=WITHOUT_CACHE)])
def test_a_replica_that_nobody_knows_to_be_flushed(stand: Stand, volatile: bool) -> None:
    """Lost while the consumer's agent is away, it may have forgotten anything, if it can forget at all."""
    volume = stand.create("unflushed", SIZE_BYTES)
    m1, m3 = stand.machine("m1"), stand.machine("m3")
    with stand.writing(volume, "m1", PLAIN) as checked:
        kill_agent(stand, "m1")
        before = checked.collector.snapshot()
        m3.crash()
        stand.revive(m1)
        replica = wait_until_stale(stand, volume, "m3")
        assert replica.copy is CopyMode.UNLESS_BOOTED
        checked.wait_for_writes(100)
        stall = checked.collector.stall()
        m3.start()
        assert (count_forgotten(stand, volume, replica, before, checked.collector.snapshot()) > 0) is volatile
        copied, redundant = bring_back(stand, volume, checked, "m3")
        assert (copied == SIZE_BYTES) is volatile
        verdict = checked.finish()
    tell(f"{name_disks(volatile)}-replica-unflushed", verdict, stall, redundant)
    end(stand, volume, verdict)


@pytest.mark.long
@pytest.mark.parametrize("times", [1, 3])
def test_all_machines_lose_power_and_forget(stand: Stand, times: int) -> None:
    """What was written with O_DSYNC, or before an fdatasync, is there; a plain write may be gone."""
    volume = stand.create("dark", SIZE_BYTES)
    for _ in range(times):
        with stand.writing(volume, "m1") as checked:
            checked.wait_for_writes(500)
            cut_all_power(stand, volume, "m1")
            found = dump(stand.machine("m1"), checked.device)
            redundant, stall = stand.wait_until_redundant(volume), checked.collector.stall()
            assert checked.collector.errors() == []
            verdict = checked.collector.judge(found, durable_only=True)
        tell("volatile-all-power-cut", verdict, stall, redundant)
        print(
            f"of plain writes {len(checked.collector.judge(found).lost)} blocks are older than acknowledged"
        )
        assert verdict.lost == ()
        assert verdict.checked > 100
        assert dump(stand.machine("m1"), checked.device) == found, "what was read once stays"
    end(stand, volume)


@pytest.mark.parametrize(
    "times", [pytest.param(1, marks=pytest.mark.more), pytest.param(3, marks=pytest.mark.long)]
)
@WITHOUT_CACHE
def test_all_machines_lose_power_and_what_is_marked_is_copied(stand: Stand, times: int) -> None:
    """Without caches every acknowledged write is there, and the others are made equal by their bitmaps."""
    volume = stand.create("dark", SIZE_BYTES)
    for _ in range(times):
        with stand.writing(volume, "m1") as checked:
            checked.wait_for_writes(500)
            earlier = list_copies(stand, volume)
            cut_all_power(stand, volume, "m1")
            found = dump(stand.machine("m1"), checked.device)
            redundant, stall = stand.wait_until_redundant(volume), checked.collector.stall()
            assert checked.collector.errors() == []
            verdict = checked.collector.judge(found)
        copies = list_copies(stand, volume)[len(earlier) :]
        copied = find_array(stand, volume, "m1").recovery_total_bytes
        print(f"{copies}, the last one {copied / MIB:g} of {SIZE_BYTES / MIB:g} MiB")
        tell("durable-all-power-cut", verdict, stall, redundant)
        assert verdict.lost == ()
        assert copies == [CopyMode.BITMAP] * 2
        assert 0 < copied <= MARKED_BYTES
    end(stand, volume)


def list_copies(stand: Stand, volume: Volume) -> list[str]:
    """How each replica that was brought back was copied, the oldest first."""
    events = stand.control.events.list(volume.id, 1000)[::-1]
    return [event.message.split()[-1] for event in events if event.kind == "rebuild"]


def name_disks(volatile: bool) -> str:
    return "volatile" if volatile else "durable"


def wait_until_stale(stand: Stand, volume: Volume, node: str) -> Replica:
    stand.wait_for_state(volume, node, ReplicaState.STALE)
    return next(each for each in stand.control.volumes.get(volume.id).replicas if each.node == node)


def count_forgotten(stand: Stand, volume: Volume, replica: Replica, before: Record, now: Record) -> int:
    """Blocks of which the disk holds what is older than acknowledged `before`; no agent runs yet."""
    machine, name = stand.machine(replica.node), f"{replica.volume_group}/{volume.id}_{replica.id}"
    machine.succeed(f"lvchange --config 'activation{{udev_sync=0 udev_rules=0}}' -ay {name}")
    held = dump(machine, f"/dev/{name}", DATA_OFFSET_BYTES)
    forgotten = now.demanding(before).judge(held.splitlines()).lost
    print(f"{replica.node} forgot {len(forgotten)} blocks: {forgotten[:3]}")
    return len(forgotten)


def bring_back(stand: Stand, volume: Volume, checked: Checked, node: str) -> tuple[int, float]:
    """Its machine runs, its agent not yet. The bytes that were copied, and how long it took."""
    stand.revive(stand.machine(node))
    redundant = stand.wait_until_redundant(volume)
    checked.wait_for_writes(100)
    return find_array(stand, volume, checked.machine.name).recovery_total_bytes, redundant
