"""What lies on the lab's machines, against what the records say."""

from collections.abc import Iterator, Sequence

from hack.lab.vm import Machine
from replication.agent.names import PartName, logical_volume_name, whole_name
from replication.control.control import Control
from replication.control.insync import check
from replication.layout import DATA_OFFSET_BYTES
from replication.model import MIB, Attachment, Phase, Replica, Volume

_TRACES = """
ls /sys/kernel/config/nvmet/subsystems /sys/kernel/config/nvmet/hosts | grep trilith
ls -d /sys/block/md*
cat /sys/block/dm-*/dm/name | grep ^trilith-
cat /sys/class/nvme/*/subsysnqn | grep trilith
grep -e /dev/md -e /run/pods -e volumeDevices /proc/mounts
true
"""
LOGICAL_VOLUMES = """
for name in $(cat /sys/block/dm-*/dm/name | grep ^trilith_ | grep -v -e -dirty_); do
    node=/dev/mapper/$name
    dd if=$node bs=4096 count=1 iflag=direct status=none | grep -aq "^TRILITH DISCARDED" && continue
    test ! -e $node || echo ${name#*-}
done
true
"""
"""Those that are replicas: neither dirty nor, by what is in their header's place, about to be named so."""
_SETTLED = {Attachment.DETACHED, Attachment.ATTACHED}


def traces(machine: Machine) -> str:
    """What there is of attachments on it: exports, connections, arrays, hold layers, mounts."""
    return machine.succeed(f"({_TRACES}) 2>/dev/null").strip()


def logical_volumes(machine: Machine) -> set[str]:
    return set(machine.succeed(f"({LOGICAL_VOLUMES}) 2>/dev/null").split())


def find_unsound(control: Control, machines: Sequence[Machine]) -> Iterator[str]:
    """Records that are not consistent or not settled, and machines that do not have just what these name."""
    volumes = control.volumes.list()
    for volume in volumes:
        if volume.phase is not Phase.READY or volume.attachment not in _SETTLED:
            yield f"volume {volume.name} is {volume.phase} and {volume.attachment}"
        yield from (f"volume {volume.name}: {reason}" for reason in check(volume))
    attached = any(volume.attachment is Attachment.ATTACHED for volume in volumes)
    for machine in machines:
        here = [(v.id, replica) for v in volumes for replica in v.replicas if replica.node == machine.name]
        named = {name for volume_id, replica in here for name in _list_names(volume_id, replica)}
        found = logical_volumes(machine)
        if found != named:
            yield f"{machine.name} has the logical volumes {sorted(found)}, not {sorted(named)}"
        if not attached and (left := traces(machine)):
            yield f"{machine.name} still has {left}"


def _list_names(volume_id: str, replica: Replica) -> Iterator[str]:
    """Of its logical volumes."""
    count = len(replica.groups)
    if count == 1:
        yield logical_volume_name(volume_id, replica.id)
    else:
        numbers = range(1, count + 1)
        yield from (str(PartName(volume_id, replica.id, each, count, replica.striped)) for each in numbers)


def _find_device(volume_id: str, replica: Replica) -> str:
    if replica.other_groups:
        return f"/dev/trilith/{whole_name(volume_id, replica.id)}"
    return f"/dev/{replica.volume_group}/{logical_volume_name(volume_id, replica.id)}"


def sum_replicas(control: Control, machines: Sequence[Machine], volume: Volume) -> dict[str, str]:
    """A checksum of each replica's bytes by node, read there. Nobody may be writing."""
    size = control.volumes.get(volume.id).size_bytes // MIB
    by_name = {machine.name: machine for machine in machines}
    sums = {}
    for replica in volume.replicas:
        path, skip = _find_device(volume.id, replica), DATA_OFFSET_BYTES // MIB
        copy = f"dd if={path} bs=1M skip={skip} count={size} iflag=direct"
        sums[replica.node] = by_name[replica.node].succeed(f"{copy} status=none | md5sum")
    return sums
