"""All replicas in sync are gone for good: the volume says so, and only somebody's word makes it go on."""

import pytest

from hack.lab import images
from hack.lab.errors import LabError
from hack.lab.vm import Machine
from replication.clock import SystemClock
from replication.model import ReplicaState, Volume
from tests.lab.stand import PATIENCE, Stand, dump, wait_for
from tests.lab.stories.healing import create_on, health, recover, take_disks, wait_until_on
from tests.lab.stories.told import end, tell

pytestmark = [pytest.mark.lab, pytest.mark.long, pytest.mark.cluster(nodes=4, fresh=True)]
SEEK = 16  # MiB: where no checker writes


def test_a_lost_volume_goes_on_from_a_stale_replica_by_somebodys_word(stand: Stand) -> None:
    """One node returns with an empty disk, one never: what the third missed is gone, all else is there."""
    volume = create_on(stand, "lost", ("m1", "m2", "m3"))
    m1, m2, m3 = (stand.machine(name) for name in ("m1", "m2", "m3"))
    with stand.writing(volume, "m1") as kept:
        kept.finish()
        m3.cut()
        m1.succeed(f"dd if=/dev/urandom of={kept.device} bs=1M seek={SEEK} count=1 oflag=direct status=none")
        stand.wait_for_state(volume, "m3", ReplicaState.STALE)
        missed = sum_there(m1, kept.device)
        begun = SystemClock().now()
        m1.crash()
        m2.crash()
        images.empty_disk(m1)
        stand.revive(m1)
        m3.heal()
        give_up(stand, volume, "m2")
        recover(stand, volume, "m3")
        device = stand.control.volumes.attach(volume.id, "m3")
        found, outage = kept.collector.judge(dump(m3, device)), SystemClock().now() - begun
        assert sum_there(m3, device) != missed
    with stand.writing(volume, "m3") as checked:
        take_disks(stand)
        redundant = wait_until_on(stand, volume, {"m1", "m3", "m4"})
        checked.wait_for_writes(100)
        stall, after = checked.collector.stall(), checked.finish()
    tell("lost-and-recovered", found, outage, redundant)
    tell("lost-and-recovered-next", after, stall, redundant)
    stand.cluster.renew_disks(m2)
    m2.start()  # another machine in its place
    end(stand, stand.control.volumes.get(volume.id), found, after)


def give_up(stand: Stand, volume: Volume, node: str) -> None:
    """Its machine never comes back, the volume says that it is lost, and nobody can use it."""
    stand.site.run_cli("volume", "detach", volume.name)
    stand.site.run_cli("node", "remove", node, "--lost")
    wait_for(lambda: health(stand, volume) == "lost", "the volume to say that it is lost", PATIENCE)
    assert "every replica in sync is gone" in stand.site.run_cli("events", volume.name)
    with pytest.raises(LabError, match="no replica of volume lost can start"):
        stand.site.run_cli("volume", "attach", volume.name, "m3")


def sum_there(machine: Machine, device: str) -> str:
    """Of what no checker writes."""
    return machine.succeed(f"dd if={device} bs=1M skip={SEEK} count=1 iflag=direct status=none | md5sum")
