"""A node with udev's stock rules, LVM's autoactivation and multipathd beside the agent, also at boot."""

import pytest

from hack.lab.vm import Machine
from replication.model import MIB
from tests.lab.stand import Stand, wait_for
from tests.lab.stories.acts import kill_agent

pytestmark = [pytest.mark.lab, pytest.mark.more, pytest.mark.cluster(nodes=3, disks=2)]

TRIGGER = "udevadm trigger --action=add --subsystem-match=block && udevadm settle --timeout=60"
"""Rules without systemd activate complete volume groups themselves (69-lvm.rules)."""


def test_udev_lvm_and_multipathd_leave_volumes_alone_and_are_left_alone(stand: Stand) -> None:
    """A volume group of a user's in a volume, one of its node's on a disk; a new agent, then a boot."""
    m1 = stand.machine("m1")
    run_daemons(m1)
    kill_agent(stand, "m1")
    stand.revive(m1)
    theirs = m1.disk_path(1)
    m1.succeed(f"lvm vgcreate theirs {theirs} && lvm lvcreate -Zn -an -n data -L 16M theirs")
    volume = stand.create("inside", 64 * MIB)
    device = stand.control.volumes.attach(volume.id, "m1")
    m1.succeed(inside("vgcreate", device, f"users {device}"))
    m1.succeed(inside("lvcreate", device, "-an -Zn -n data -L 8M users"))
    look(m1)
    assert (mapped(m1, "users"), mapped(m1, "theirs")) == ([], ["theirs-data"])
    wait_for(lambda: theirs not in usable(stand), "a look at the node's disks")

    m1.crash()
    m1.start()
    run_daemons(m1)
    look(m1)
    assert mapped(m1, "trilith") == [], "before there is an agent"
    stand.revive(m1)
    wait_for(lambda: is_attached(stand, m1, volume.id), "the volume to be attached again")
    look(m1)
    assert (mapped(m1, "users"), mapped(m1, "theirs")) == ([], ["theirs-data"])
    m1.succeed("pidof multipathd")
    m1.fail("grep ^mpath- /sys/block/dm-*/dm/uuid")
    assert "users" in m1.succeed(inside("vgs", device, "--noheadings -o vg_name"))
    stand.wait_until_redundant(volume)
    stand.assert_replicas_equal(volume)
    stand.remove(volume)


def run_daemons(machine: Machine) -> None:
    machine.succeed("mkdir -p /run/udev && /lib/systemd/systemd-udevd --daemon")
    machine.wait_until_succeeds("test -e /run/udev/control")
    machine.succeed("modprobe dm-multipath")  # as multipathd's unit does
    machine.spawn(["/sbin/multipathd", "-d", "-v0"])


def look(machine: Machine) -> None:
    """As at boot, when everything is there already."""
    machine.succeed(TRIGGER, timeout=120)


def inside(verb: str, device: str, words: str) -> str:
    """LVM on the volume only."""
    config = f'devices{{global_filter=["a|^{device}$|","r|.*|"]}} activation{{udev_sync=0}}'
    return f"lvm {verb} --config '{config}' {words}"


def mapped(machine: Machine, prefix: str) -> list[str]:
    """Names of device-mapper's devices."""
    found = machine.succeed("cat /sys/block/dm-*/dm/name 2>/dev/null; true").split()
    return sorted(name for name in found if name.startswith(prefix))


def usable(stand: Stand) -> list[str]:
    return [disk.path for disk in stand.control.nodes.facts("m1").disks if disk.usable]


def is_attached(stand: Stand, machine: Machine, volume_id: str) -> bool:
    status, _ = machine.execute(["test", "-b", f"/dev/md_{volume_id}"])
    return status == 0 and stand.control.volumes.get(volume_id).consumer == machine.name
