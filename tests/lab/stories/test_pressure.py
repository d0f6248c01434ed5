"""The consumer is short of memory, which is full of what is to be written, while its writes are held."""

import pytest

from hack.checker.collector import Collector
from hack.lab.network import HOST_ADDRESS
from hack.lab.paths import REPOSITORY
from hack.lab.vm import Machine, Spawned
from replication.model import MIB, ReplicaState
from tests.lab.stand import PATIENCE, Checked, Stand, wait_for
from tests.lab.stories.told import end, tell

pytestmark = [pytest.mark.lab, pytest.mark.cluster(nodes=3), pytest.mark.long]
FOLDER = "/run/pods/filled"
DIRTY_BYTES = 192 * MIB
HELD = 10.0  # seconds
RELEASED_AFTER = 25.0  # seconds: five times the goal of 5


def test_a_held_write_is_released_on_a_node_without_memory(stand: Stand) -> None:
    """Dirty pages wait for the volume, it waits for the agent, and the agent must not wait for memory."""
    volume = stand.create("filled", 512 * MIB)
    m1, m3 = stand.machine("m1"), stand.machine("m3")
    mount(m1, stand.control.volumes.attach(volume.id, "m1"))
    with Collector(HOST_ADDRESS) as collector:
        checked = Checked(m1, f"{FOLDER}/checked", collector)
        checked.wait_for_writes(200)
        spare(m1, checked.writer)
        fill_page_cache(m1)
        stand.kill_control()
        m3.crash()
        checked.wait_until_waiting()
        hog = exhaust(m1)
        checked.assert_waiting(HELD)
        assert_short(m1)
        stand.start_control()
        checked.wait_for_writes(1, RELEASED_AFTER)
        checked.wait_for_writes(200)  # slowly: what was dirty is written too, and programs are read again
        assert stand.state(volume, "m3") is ReplicaState.STALE
        stall = checked.collector.stall()
        assert hog.status is None, "it has been short of memory up to here"
        m1.succeed(f"sync -f {FOLDER}", timeout=PATIENCE)
        hog.kill()
        stand.revive(m3)
        redundant = stand.wait_until_redundant(volume)
        verdict = checked.finish()
    m1.succeed(f"umount {FOLDER}")
    tell("node-without-memory", verdict, stall, redundant)
    end(stand, volume, verdict)


def mount(machine: Machine, device: str) -> None:
    machine.succeed(
        f"mkfs.ext4 -q {device} && mkdir -p {FOLDER} && mount {device} {FOLDER}", timeout=PATIENCE
    )


def fill_page_cache(machine: Machine) -> None:
    """With pages of a file that has its blocks already, and that nobody writes back for now."""
    count = f"count={DIRTY_BYTES // MIB}"
    file = f"dd if=/dev/zero of={FOLDER}/dirty bs=1M {count} status=none"
    machine.succeed(f"{file} oflag=direct conv=fsync", timeout=PATIENCE)
    limits = f"vm.dirty_bytes={4 * DIRTY_BYTES} vm.dirty_background_bytes={3 * DIRTY_BYTES}"
    machine.succeed(f"sysctl -q {limits} vm.dirty_expire_centisecs=60000")
    machine.succeed(f"{file} conv=notrunc", timeout=PATIENCE)


def spare(machine: Machine, spawned: Spawned) -> None:
    """The kernel ends others before it."""
    machine.succeed(f"choom -p {spawned.pid} -n -1000")


def exhaust(machine: Machine) -> Spawned:
    program = f"{REPOSITORY}/tests/lab/hog.py"
    hog = machine.spawn(f"exec choom -n 1000 -- python3 -I -S {program} {read_left(machine)}")
    wait_for(lambda: "short" in hog.output, "memory to be short", PATIENCE)
    return hog


def read_left(machine: Machine) -> int:
    """MiB that the kernel begins to reclaim below (mm/page_alloc.c); at four fifths of it, it kills."""
    return int(machine.succeed("cat /proc/sys/vm/min_free_kbytes")) * 5 // 4 // 1024


def assert_short(machine: Machine) -> None:
    """Little memory can be had without waiting for a disk, and much of it waits for one."""
    words = (line.split() for line in machine.read_file("/proc/meminfo").decode().splitlines())
    sizes = {name: int(size) * 1024 for name, size, *_ in words}
    dirty = sizes["Dirty:"] + sizes["Writeback:"]
    files = sizes["Active(file):"] + sizes["Inactive(file):"]
    at_hand = sizes["MemFree:"] + max(0, files - dirty)
    print(f"held with {at_hand / MIB:.0f} MiB at hand and {dirty / MIB:.0f} MiB dirty")
    assert at_hand < 2 * read_left(machine) * MIB
    assert dirty > DIRTY_BYTES // 2
