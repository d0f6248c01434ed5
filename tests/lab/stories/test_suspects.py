"""A disk refuses writes, and the consumer, whose own replica has these, cannot tell: dead or unheard."""

import pytest

from csi.inspection import Inspection
from hack.lab import images
from hack.lab.checking import WRITERS
from hack.lab.errors import LabError
from replication.layout import DATA_OFFSET_BYTES
from replication.model import Attachment, CopyMode, ReplicaState, Volume
from tests.lab.stand import PATIENCE, Checked, Stand, dump, wait_for
from tests.lab.stories.acts import move
from tests.lab.stories.healing import health, list_in_sync, place_of, recover, take_disks, wait_until_on
from tests.lab.stories.told import end, tell

pytestmark = [pytest.mark.lab, pytest.mark.more, pytest.mark.cluster(nodes=3)]
WAITS = r"only such can start whose disk has refused a write, others may have it: \w+ on m1"


def test_a_replica_whose_disk_refused_writes_is_no_source(stand: Stand) -> None:
    """The record calls it in sync still, and the volume moves to its very node, where it would come first."""
    volume = stand.create("refused")
    m1 = stand.machine("m1")
    with stand.writing(volume, "m1") as lost:
        refuse(stand, volume, lost)
        m1.crash()
        before, stall = move(stand, volume, lost, "m2"), lost.collector.stall()
        assert stand.state(volume, "m2") is not ReplicaState.IN_SYNC
        assert copy_of(stand, volume, "m2") is CopyMode.FULL
    with stand.writing(volume, "m2") as checked:
        stand.revive(m1)
        redundant = stand.wait_until_redundant(volume)
        after = checked.finish()
    tell("disk-refused-then-consumer-power-cut", before, stall, redundant)
    end(stand, volume, before, after)


@pytest.mark.parametrize("how", ["unheard", pytest.param("dead", marks=pytest.mark.long)])
def test_a_lost_consumers_replica_that_alone_has_all_is_waited_for(stand: Stand, how: str) -> None:
    """The only other one in sync refused what it acknowledged: the fence gives neither up, nobody starts."""
    volume = stand.create("alone")
    m1, m3 = stand.machine("m1"), stand.machine("m3")
    with stand.writing(volume, "m1") as lost:
        lose_m3(stand, volume, lost)
        refuse(stand, volume, lost)
        if how == "dead":
            m1.crash()
        stand.control.volumes.detach(volume.id, "m1")
        assert len(list_in_sync(stand, volume)) == 2
        with pytest.raises(LabError, match=WAITS):
            stand.site.run_cli("volume", "attach", volume.name, "m2")
        assert {"NodeUnreachable", "ReplicaSuspect"} <= list_ailments(stand, volume)
        if how == "dead":
            stand.revive(m1)
        else:
            m1.heal_agent()
            m1.wait_until_succeeds(f"! test -e /sys/block/md_{volume.id}", timeout=PATIENCE)
        device = stand.control.volumes.attach(volume.id, "m2")
        assert stand.state(volume, "m2") is not ReplicaState.IN_SYNC
        assert lost.collector.errors() == []
        before, stall = lost.collector.judge(dump(stand.machine("m2"), device)), lost.collector.stall()
    with stand.writing(volume, "m2") as checked:
        m3.heal()
        redundant = stand.wait_until_redundant(volume)
        checked.wait_for_writes(100)
        after = checked.finish()
    tell(f"alone-and-{how}", before, stall, redundant)
    end(stand, volume, before, after)


def test_a_lost_volume_goes_on_from_a_suspect_replica_by_somebodys_word(stand: Stand) -> None:
    """The one that had all is gone for good: just what the other one's disk refused is gone with it."""
    volume = stand.create("doubtful")
    m1, m2, m3 = (stand.machine(name) for name in ("m1", "m2", "m3"))
    with stand.writing(volume, "m1") as lost:
        lose_m3(stand, volume, lost)
        earlier = lost.collector.snapshot()
        refused = refuse(stand, volume, lost)
        m1.crash()
        stand.control.volumes.detach(volume.id, "m1")
        images.empty_disk(m1)
        stand.revive(m1)
        wait_for(lambda: health(stand, volume) == "lost", "the volume to say that it is lost", PATIENCE)
        with pytest.raises(LabError, match=WAITS):
            stand.site.run_cli("volume", "attach", volume.name, "m2")
        recover(stand, volume, "m2")
        assert stand.control.volumes.get(volume.id).attachment is Attachment.DETACHED
        device = stand.control.volumes.attach(volume.id, "m2")
        found, stall = dump(m2, device), lost.collector.stall()
        assert lost.collector.judge(found).lost == refused
        before = lost.collector.snapshot().demanding(earlier).judge(found.splitlines())
    with stand.writing(volume, "m2") as checked:
        m3.heal()
        stand.site.wait_for_agent(m3)
        take_disks(stand)
        redundant = wait_until_on(stand, volume, {"m1", "m2", "m3"})
        checked.wait_for_writes(100)
        after = checked.finish()
    tell("recovered-from-a-suspect", before, stall, redundant)
    end(stand, stand.control.volumes.get(volume.id), before, after)


def lose_m3(stand: Stand, volume: Volume, checked: Checked) -> None:
    """Its replica is stale."""
    stand.machine("m3").cut()
    stand.wait_for_state(volume, "m3", ReplicaState.STALE)
    checked.wait_for_writes(100)


def refuse(stand: Stand, volume: Volume, checked: Checked) -> tuple[str, ...]:
    """m2's disk refuses writes for a while, and nobody hears of it from m1. What m2's replica lacks then.

    No writer has more than one write acknowledged with such an error: the next one waits for the record.
    """
    m1, m2 = stand.machine("m1"), stand.machine("m2")
    m1.cut_agent()
    m2.fail_disk_io()
    checked.wait_until_waiting()
    m2.heal_disk_io()
    assert stand.state(volume, "m2") is ReplicaState.IN_SYNC, "nobody has told"
    held = dump(m2, place_of(volume, "m2"), DATA_OFFSET_BYTES)
    refused = checked.collector.judge(held).lost
    print(f"m2 refused {len(refused)} acknowledged blocks: {refused[:3]}")
    assert len(refused) <= WRITERS
    return refused


def copy_of(stand: Stand, volume: Volume, node: str) -> CopyMode:
    replicas = stand.control.volumes.get(volume.id).replicas
    return next(replica.copy for replica in replicas if replica.node == node)


def list_ailments(stand: Stand, volume: Volume) -> set[str]:
    """What an orchestrator hears is wrong with it."""
    now = stand.control.volumes.get(volume.id)
    (_, found), *_ = Inspection(stand.control).judge_all(iter((now,)))
    return {ailment.reason for ailment in found}
