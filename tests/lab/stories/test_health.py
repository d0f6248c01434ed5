"""Replicas that are old, slow, too few, damaged or unused: a volume gets back to health by itself."""

import json

import pytest

from hack.checker.collector import Verdict
from hack.lab import images
from replication.layout import DATA_OFFSET_BYTES
from replication.model import MIB, Attachment, ReplicaState, Volume
from tests.lab.stand import PATIENCE, Checked, Stand, dump, wait_for
from tests.lab.stories.acts import find_array
from tests.lab.stories.healing import place_of, setting, write_elsewhere
from tests.lab.stories.told import end, tell

pytestmark = [pytest.mark.lab, pytest.mark.cluster(nodes=3)]
LOSS_STALL = 25.0  # seconds: five times the goal of 5 when a replica falls silent
SLOW = 2000.0  # milliseconds, less than the 3 s after which a node counts as silent


@pytest.mark.long
@pytest.mark.parametrize(
    "cache",
    [
        "claimed",
        pytest.param("forgets", marks=pytest.mark.cluster(nodes=3, volatile=True)),
        pytest.param("none", marks=pytest.mark.cluster(nodes=3, volatile=False)),
    ],
)
def test_an_old_copy_of_a_disk_is_copied_to_in_full(stand: Stand, cache: str) -> None:
    """It lacks what it had got by a bitmap that was cleared since: no bitmap knows of it any more."""
    volume = stand.create("old")
    m3 = stand.machine("m3")
    with stand.writing(volume, "m1") as checked:
        lose_power(stand, volume, checked, 0)
        old = images.copy_disk(m3)
        stand.revive(m3)
        stand.wait_until_redundant(volume)
        lose_power(stand, volume, checked, 1)
        images.put_disk(m3, old)
        stand.revive(m3)
        redundant = stand.wait_until_redundant(volume)
        assert find_array(stand, volume, "m1").recovery_total_bytes == volume.size_bytes
        checked.wait_for_writes(100)
        stall, verdict = checked.collector.stall(), checked.finish()
    tell(f"old-disk-cache-{cache}", verdict, stall, redundant)
    assert stall < LOSS_STALL
    end(stand, volume, verdict)


@pytest.mark.parametrize(
    "cache",
    [
        pytest.param("claimed", marks=pytest.mark.more),
        pytest.param("forgets", marks=[pytest.mark.long, pytest.mark.cluster(nodes=3, volatile=True)]),
        pytest.param("none", marks=[pytest.mark.long, pytest.mark.cluster(nodes=3, volatile=False)]),
    ],
)
def test_an_old_copy_of_a_disk_is_not_what_its_own_machine_reads(stand: Stand, cache: str) -> None:
    """It was put in while nobody used the volume, and the record calls that replica in sync."""
    volume = stand.create("trap")
    m3 = stand.machine("m3")
    before = write_and_detach(stand, volume)
    m3.crash()
    old = images.copy_disk(m3)
    stand.revive(m3)
    with stand.writing(volume, "m1") as checked:
        write_elsewhere(checked, 0)
        stall, after = checked.collector.stall(), checked.finish()
        stand.control.volumes.detach(volume.id)
        m3.crash()
        images.put_disk(m3, old)
        stand.revive(m3)
        device = stand.control.volumes.attach(volume.id, "m3")
        assert stand.state(volume, "m3") is not ReplicaState.IN_SYNC
        found = checked.collector.judge(dump(m3, device))
        redundant = stand.wait_until_redundant(volume)
        copied = checked.collector.judge(dump(m3, device))
    tell(f"old-disk-of-consumer-cache-{cache}", after, stall, redundant)
    end(stand, volume, before, after, found, copied)


@pytest.mark.more
def test_a_volume_that_nobody_uses_is_repaired_unasked(stand: Stand) -> None:
    """It is attached by ourselves, the replica is brought back, and it is detached again."""
    volume = stand.create("idle")
    m3 = stand.machine("m3")
    with stand.writing(volume, "m1") as checked:
        m3.cut()
        stand.wait_for_state(volume, "m3", ReplicaState.STALE)
        write_elsewhere(checked, 0)
        stall, before = checked.collector.stall(), checked.finish()
        stand.control.volumes.detach(volume.id)
        m3.heal()
        redundant = stand.wait_until_redundant(volume, 3 * PATIENCE)  # it begins after 30 s
        wait_for(lambda: is_detached(stand, volume), "the volume to be detached again", PATIENCE)
        stand.wait_until_sound()
        stand.assert_replicas_equal(volume)
        device = stand.control.volumes.attach(volume.id, "m3")
        after = checked.collector.judge(dump(m3, device))
    tell("unused-volume", before, stall, redundant)
    end(stand, volume, before, after)


@pytest.mark.more
def test_a_scrub_finds_and_mends_what_rotted(stand: Stand) -> None:
    """Some blocks of a replica are changed behind md's back, while the volume is written to."""
    volume = stand.create("rotten", 32 * MIB)
    with stand.writing(volume, "m1") as checked:
        write_elsewhere(checked, 0)
        rot(stand, volume, "m3", 17 * MIB)
        checked.collector.restart_stall_watch()
        said = stand.site.run_cli("--output", "json", "volume", "scrub", volume.name)
        ended = [row for row in map(json.loads, said.splitlines()) if row["ended"]]
        stall = checked.collector.stall()
        verdict = checked.finish()
    assert [(row["doing"], row["mismatched_bytes"] > 0) for row in ended] == [
        ("check", True),
        ("repair", True),
        ("check", False),
    ]
    tell("scrub", verdict, stall, 0.0)
    end(stand, volume, verdict)


@pytest.mark.long
def test_writes_go_on_without_a_replica_that_is_slow(stand: Stand) -> None:
    """Two seconds late, where one is allowed: it is given up, and comes back when the link is fine."""
    volume = stand.create("slow")
    m3 = stand.machine("m3")
    with setting(stand, "write-latency-bound", "1"), stand.writing(volume, "m1") as checked:
        wait_for(lambda: bound_of(stand, volume) == 1.0, "the bound to be heard of", PATIENCE)
        checked.collector.restart_stall_watch()
        m3.delay(SLOW)
        stand.wait_for_state(volume, "m3", ReplicaState.STALE)
        checked.wait_for_writes(200)
        stall = checked.collector.stall()
        m3.delay(0)
        redundant = stand.wait_until_redundant(volume)
        checked.wait_for_writes(100)
        verdict = checked.finish()
    tell("slow-replica", verdict, stall, redundant)
    assert "s to answer" in stand.site.run_cli("events", volume.name)
    assert stall < LOSS_STALL
    end(stand, volume, verdict)


def test_writes_wait_rather_than_be_on_one_replica(stand: Stand) -> None:
    """Two of three are lost where two are wanted: the status says for whom; with one of them they go on."""
    volume = stand.create("two")
    m2, m3 = stand.machine("m2"), stand.machine("m3")
    with setting(stand, "min-in-sync-replicas", "2"), stand.writing(volume, "m1") as checked:
        wait_for(
            lambda: stand.control.volumes.get(volume.id).min_in_sync == 2, "the minimum to hold", PATIENCE
        )
        m3.cut()
        stand.wait_for_state(volume, "m3", ReplicaState.STALE)
        checked.wait_for_writes(100)
        m2.cut()
        checked.wait_until_waiting()
        reason = "on m2 (min-in-sync-replicas is 2)"
        wait_for(lambda: reason in waits_for(stand, volume), "the status to say for whom", PATIENCE)
        assert stand.state(volume, "m2") is ReplicaState.IN_SYNC
        checked.assert_waiting()
        m2.heal()
        checked.wait_for_writes(200)
        stall = checked.collector.stall()
        m3.heal()
        redundant = stand.wait_until_redundant(volume)
        verdict = checked.finish()
    tell("two-in-sync", verdict, stall, redundant)
    end(stand, volume, verdict)


def lose_power(stand: Stand, volume: Volume, checked: Checked, number: int) -> None:
    """m3's machine, which then lacks what is written `number`th."""
    stand.machine("m3").crash()
    stand.wait_for_state(volume, "m3", ReplicaState.STALE)
    write_elsewhere(checked, number)


def write_and_detach(stand: Stand, volume: Volume) -> Verdict:
    with stand.writing(volume, "m1") as checked:
        verdict = checked.finish()
    stand.control.volumes.detach(volume.id)
    return verdict


def rot(stand: Stand, volume: Volume, node: str, offset: int) -> None:
    """Eight blocks at `offset` of the data of `node`'s replica hold something else."""
    seek = (DATA_OFFSET_BYTES + offset) // 4096
    where = f"of={place_of(volume, node)} bs=4096 seek={seek} count=8"
    stand.machine(node).succeed(f"dd if=/dev/urandom {where} oflag=direct conv=notrunc status=none")


def is_detached(stand: Stand, volume: Volume) -> bool:
    return stand.control.volumes.get(volume.id).attachment is Attachment.DETACHED


def bound_of(stand: Stand, volume: Volume) -> float | None:
    """The bound on write latency that the agent goes by."""
    arrays = stand.control.nodes.facts("m1").arrays
    tuning = next(array.tuning for array in arrays if array.volume_id == volume.id)
    return None if tuning is None else tuning.write_latency_bound


def waits_for(stand: Stand, volume: Volume) -> str:
    shown = json.loads(stand.site.run_cli("--output", "json", "status"))
    return next(str(each["waits_for"]) for each in shown["volumes"] if each["id"] == volume.id)
