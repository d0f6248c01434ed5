"""The lab keeps its promises: what the tests of everything else stand on."""

import signal
import subprocess  # noqa: TID251 - a lab of its own, to be killed
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hack.lab import network, rundir
from hack.lab.cluster import Cluster
from hack.lab.errors import CommandFailed, CommandTimedOut, MachineGone
from hack.lab.vm import Machine
from replication.clock import SystemClock, wait_until

pytestmark = pytest.mark.lab
_PING = "ping -c1 -W2"
_HOLDER = """
import time
from hack.lab.network import enter_private_network
enter_private_network()
from hack.lab.cluster import Cluster
with Cluster(nodes=1) as cluster:
    machine = cluster.machines[0]
    print(machine.pid, machine.hardware.folder, flush=True)
    time.sleep(600)
"""


def test_three_machines_see_each_other(cluster: Cluster) -> None:
    for machine in cluster.machines:
        assert machine.succeed("hostname").strip() == machine.name
        for other in cluster.machines:
            machine.succeed(f"{_PING} {other.name} && {_PING} {other.address}")


def test_a_guest_has_what_a_node_needs(cluster: Cluster) -> None:
    modules = "raid1 nvme-tcp nvmet-tcp dm-multipath dm-thin-pool dm-service-time"
    cluster["m1"].succeed(f"for module in {modules}; do modprobe $module || exit 1; done")
    cluster["m1"].succeed("test -d /sys/kernel/config/nvmet && mountpoint /sys/fs/cgroup")
    cluster["m1"].succeed("lvm version && fio --version && mkfs.xfs -V && mke2fs -V && dmsetup version")


def test_machines_run_the_environment_of_the_checkout(cluster: Cluster) -> None:
    cluster["m1"].succeed([sys.executable, "-c", "import grpc, pyroute2, replication.errors"])


def test_the_ids_of_machines_differ(cluster: Cluster) -> None:
    assert len({machine.succeed("cat /etc/machine-id") for machine in cluster.machines}) == 3


def test_a_cut_machine_hears_nobody_and_still_takes_commands(cluster: Cluster) -> None:
    m1, m2 = cluster["m1"], cluster["m2"]
    m1.cut()
    m1.fail(f"{_PING} m2")
    m2.fail(f"{_PING} m1")
    m2.succeed(f"{_PING} m3")
    m1.heal()
    m1.wait_until_succeeds(f"{_PING} m2", timeout=10)


def test_a_delay_is_felt_and_ends(cluster: Cluster) -> None:
    m1 = cluster["m1"]
    m1.succeed(f"{_PING} m2")
    m1.delay(500)
    assert _milliseconds(m1.succeed(f"{_PING} m2")) >= 500
    m1.delay(0)
    assert min(_milliseconds(m1.succeed(f"{_PING} m2")) for _ in range(5)) < 500


def _milliseconds(ping: str) -> float:
    return float(ping.partition("time=")[2].partition(" ")[0])


def test_a_crash_keeps_the_disk_and_nothing_else(cluster: Cluster) -> None:
    m1 = cluster["m1"]
    disk = m1.disk_path()
    boot_id = m1.succeed("cat /proc/sys/kernel/random/boot_id")
    m1.write_file("/root/forgotten", "x")
    m1.succeed(f"echo kept | dd of={disk} bs=4096 count=1 conv=sync oflag=direct")
    m1.crash()
    assert not m1.running
    with pytest.raises(MachineGone):
        m1.succeed("true")
    m1.start()
    assert m1.succeed(f"head -c4 {m1.disk_path()}") == "kept"
    assert m1.succeed("cat /proc/sys/kernel/random/boot_id") != boot_id
    m1.fail("test -e /root/forgotten")


def test_a_crash_while_a_command_runs_is_told(cluster: Cluster) -> None:
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(cluster["m3"].succeed, "sleep 60")
        cluster["m3"].wait_until_succeeds("pgrep -x sleep")
        cluster["m3"].crash()
        with pytest.raises(MachineGone):
            running.result(timeout=10)


def test_commands_run_side_by_side_and_can_be_watched(cluster: Cluster) -> None:
    m2 = cluster["m2"]
    spawned = m2.spawn("echo started; sleep 300")
    m2.wait_until_succeeds(f"grep started {spawned.path}")
    assert spawned.status is None
    spawned.kill()
    assert spawned.wait(timeout=10) == -signal.SIGKILL
    assert spawned.output == "started\n"


def test_a_failed_command_says_what_it_said(cluster: Cluster) -> None:
    with pytest.raises(CommandFailed, match="no such thing"):
        cluster["m1"].succeed("echo no such thing >&2; exit 3")
    with pytest.raises(CommandTimedOut):
        cluster["m1"].succeed("sleep 60", timeout=1)


def test_files_travel_as_they_are(cluster: Cluster) -> None:
    data = bytes(range(256)) * 4096
    cluster["m1"].write_file("/root/new/folder/file", data)
    assert cluster["m1"].read_file("/root/new/folder/file") == data


def test_a_disk_that_is_zeroed_takes_no_room(cluster: Cluster) -> None:
    """Or making a replica would write all of its bytes on the host."""
    m2 = cluster["m2"]
    before = m2.hardware.disks[0].stat().st_blocks
    m2.succeed(f"blkdiscard -z -l {256 << 20} {m2.disk_path()}")
    assert m2.hardware.disks[0].stat().st_blocks <= before


def test_a_failing_disk_answers_with_errors_until_healed(cluster: Cluster) -> None:
    m2 = cluster["m2"]
    read = f"dd if={m2.disk_path()} of=/dev/null bs=4096 count=1 iflag=direct"
    write = f"dd if=/dev/zero of={m2.disk_path()} bs=4096 count=1 oflag=direct"
    m2.fail_disk_io()
    m2.fail(read)
    m2.fail(write)
    m2.heal_disk_io()
    m2.succeed(f"{read} && {write}")


@pytest.mark.more
def test_a_broken_disk_gives_errors_at_once_and_comes_back_with_a_boot(cluster: Cluster) -> None:
    m2 = cluster["m2"]
    disk = m2.disk_path()
    writer = m2.spawn(
        f"exec 3<>{disk}; while dd if=/dev/zero bs=4096 count=1 oflag=direct >&3; do echo ok; done; exit 7"
    )
    m2.wait_until_succeeds(f"grep ok {writer.path}")
    m2.break_disk()
    assert writer.wait(timeout=10) == 7, writer.output
    m2.fail(f"dd if={disk} of=/dev/null bs=4096 count=1 iflag=direct")
    m2.crash()
    m2.start()
    m2.succeed(f"dd if={m2.disk_path()} of=/dev/null bs=4096 count=1 iflag=direct")


def test_nothing_is_left_of_a_lab_that_was_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", _HOLDER], stdout=subprocess.PIPE, text=True) as lab:
        assert lab.stdout
        pid, folder = lab.stdout.readline().split()
        namespace = Path(f"/proc/{lab.pid}/ns/net").readlink()
        lab.kill()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "QEMU is gone", timeout=10, clock=SystemClock())
    assert namespace not in _network_namespaces()
    rundir.sweep()
    assert not Path(folder).exists()


def _network_namespaces() -> set[Path]:
    found = set()
    for process in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            found.add(process.readlink())
        except OSError:  # ended meanwhile
            continue
    return found


@pytest.mark.more
@pytest.mark.cluster(nodes=1, kernel="6.1")
def test_an_older_kernel_can_be_had(cluster: Cluster) -> None:
    assert cluster["m1"].succeed("uname -r").startswith("6.1.")
    cluster["m1"].succeed("modprobe nvme-tcp && modprobe raid1")


@pytest.mark.cluster(nodes=1, volatile=True)
def test_a_volatile_disk_forgets_what_was_not_flushed(cluster: Cluster) -> None:
    """O_DSYNC is forced unit access; the disk has none, and the kernel flushes instead."""
    m1 = cluster["m1"]
    put(m1, 0, "flushed", "conv=fsync")
    put(m1, 1, "synced", "oflag=direct,dsync")
    put(m1, 1, "neither")
    put(m1, 2, "neither")
    assert [get(m1, block) for block in range(3)] == ["flushed", "neither", "neither"]
    assert write_cache(m1) == "write back"
    m1.crash()
    m1.start()
    assert [get(m1, block) for block in range(3)] == ["flushed", "synced", ""]


@pytest.mark.more
@pytest.mark.cluster(nodes=1, volatile=False)
def test_a_disk_without_a_volatile_cache_forgets_nothing(cluster: Cluster) -> None:
    m1 = cluster["m1"]
    put(m1, 0, "kept")
    assert write_cache(m1) == "write through"
    m1.crash()
    m1.start()
    assert get(m1, 0) == "kept"


def put(machine: Machine, block: int, text: str, how: str = "oflag=direct") -> None:
    write = f"dd of={machine.disk_path()} bs=4096 count=1 seek={block} conv=sync {how} status=none"
    machine.succeed(f"printf %s {text} | {write.replace('conv=sync conv=', 'conv=sync,')}")


def write_cache(machine: Machine) -> str:
    name = Path(machine.disk_path()).name
    return machine.succeed(f"cat /sys/block/{name}/queue/write_cache").strip()


def get(machine: Machine, block: int) -> str:
    read = f"dd if={machine.disk_path()} bs=4096 count=1 skip={block} iflag=direct status=none"
    return machine.succeed(f"{read} | tr -d '\\0'")


@pytest.mark.long
@pytest.mark.cluster(nodes=5, disks=2)
def test_five_machines_with_two_disks_each(cluster: Cluster) -> None:
    assert len(cluster.machines) == 5
    for machine in cluster.machines:
        assert {machine.disk_path(0), machine.disk_path(1)} == {"/dev/nvme0n1", "/dev/nvme1n1"}
        machine.succeed(f"{_PING} {network.HOST_ADDRESS}")
