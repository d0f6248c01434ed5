"""A sector of a disk cannot be read any more, as happens to every disk in the end: nobody may notice."""

import pytest

from hack.lab.vm import Machine
from replication.layout import DATA_OFFSET_BYTES
from replication.model import MIB, ReplicaState, Volume
from tests.lab.stand import PATIENCE, Checked, Stand, wait_for
from tests.lab.stories.healing import place_of
from tests.lab.stories.told import end, tell

pytestmark = [pytest.mark.lab, pytest.mark.long, pytest.mark.cluster(nodes=3)]
LOSS_STALL = 25.0  # seconds: five times the goal of 5 when a replica falls silent
WHERE_BYTES = 20 * MIB  # in the volume; the checker writes elsewhere
BLOCK_BYTES = 4096


def test_the_consumer_reads_what_its_own_disk_cannot(stand: Stand) -> None:
    """It is read elsewhere. Rewriting it is of no use, on this disk: the replica is given up."""
    volume = stand.create("unreadable")
    m1 = stand.machine("m1")
    with stand.writing(volume, "m1") as checked:
        written = write_there(checked)
        checked.collector.restart_stall_watch()
        m1.spoil_sector(find_sector(m1, volume))
        assert read_there(checked) == written
        stand.wait_for_state(volume, "m1", ReplicaState.STALE)
        checked.wait_for_writes(100)
        stall = checked.collector.stall()
        m1.heal_disk_io()
        redundant = stand.wait_until_redundant(volume)
        assert read_there(checked) == written
        checked.wait_for_writes(100)
        verdict = checked.finish()
    tell("unreadable-sector", verdict, stall, redundant)
    assert stall < LOSS_STALL
    end(stand, volume, verdict)


def test_what_cannot_be_read_is_copied_once_it_can(stand: Stand) -> None:
    """The only replica in sync cannot read it: all else is used meanwhile, and copies begin again."""
    volume = stand.create("alone")
    m1, m2, m3 = stand.cluster.machines
    with stand.writing(volume, "m1") as checked:
        for machine in (m2, m3):
            machine.cut()
            stand.wait_for_state(volume, machine.name, ReplicaState.STALE)
        written = write_there(checked)
        m1.spoil_sector(find_sector(m1, volume))
        m2.heal()
        m3.heal()
        wait_for(lambda: told(stand, volume) >= {"m2", "m3"}, "both copies to have been ended", PATIENCE)
        checked.wait_for_writes(100)
        assert [stand.state(volume, node) for node in ("m2", "m3")].count(ReplicaState.IN_SYNC) == 0
        m1.heal_disk_io()
        redundant = stand.wait_until_redundant(volume)
        assert read_there(checked) == written
        checked.wait_for_writes(100)
        stall, verdict = checked.collector.stall(), checked.finish()
    tell("unreadable-source", verdict, stall, redundant)
    assert stall < LOSS_STALL
    end(stand, volume, verdict)


def told(stand: Stand, volume: Volume) -> set[str]:
    """Whose replicas the events say cannot be copied to."""
    events = [event.message for event in stand.control.events.list(volume.id) if event.kind == "given-up"]
    return {node for node in ("m2", "m3") for said in events if f"on node {node}: md has ended" in said}


def find_sector(machine: Machine, volume: Volume) -> int:
    """Of its disk, where its replica has what lies at WHERE_BYTES of the volume."""
    table = machine.succeed(["dmsetup", "table", place_of(volume, machine.name)]).split()
    assert table[2] == "linear"
    return int(table[4]) + (DATA_OFFSET_BYTES + WHERE_BYTES) // 512


def write_there(checked: Checked) -> str:
    """The checksum of what has been written."""
    where = f"bs={BLOCK_BYTES} count=1 seek={WHERE_BYTES // BLOCK_BYTES}"
    checked.machine.succeed(f"dd if=/dev/urandom of={checked.device} {where} oflag=direct status=none")
    return read_there(checked)


def read_there(checked: Checked) -> str:
    where = f"bs={BLOCK_BYTES} count=1 skip={WHERE_BYTES // BLOCK_BYTES}"
    return checked.machine.succeed(f"dd if={checked.device} {where} iflag=direct status=none | sha256sum")
