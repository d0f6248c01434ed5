"""The demo's story: a replicated volume lives through the death of machines. Each claim in it is checked."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from hack.checker.collector import Collector, Verdict
from hack.demo.csi_calls import TARGET, Orchestrator
from hack.lab.checking import dump, start_writer
from hack.lab.cluster import Cluster
from hack.lab.network import HOST_ADDRESS
from hack.lab.remains import LOGICAL_VOLUMES
from hack.lab.site import Site
from replication.clock import SystemClock, wait_until
from replication.errors import StaleEpoch
from replication.model import MIB, ArrayReport, PrepareSpec, ReplicaState, Volume

SIZE_BYTES, GROWN_BYTES = 256 * MIB, 512 * MIB
_FILE = f"{TARGET}/checked"
_FIO = (
    f"fio --name=verified --directory={TARGET} --size=4m --rw=randwrite --bs=4k --direct=1 "
    "--ioengine=libaio --iodepth=4 --verify=crc32c --output-format=terse"
)


class DeviationError(Exception):
    """The story did not go as promised."""


@dataclass(frozen=True, slots=True)
class Told:
    """One step that went well. `notable` is what a reader wants to know of it."""

    step: str
    seconds: float
    notable: str


class Story:
    """Steps in their order; each raises DeviationError, or whatever went wrong, when it does not hold."""

    def __init__(
        self, cluster: Cluster, site: Site, collector: Collector, tell: Callable[[Told], None]
    ) -> None:
        self._m1, self._m2, self._m3 = cluster.machines
        self._site = site
        self._collector = collector
        self._tell = tell
        self._clock = SystemClock()
        self._volume_id = ""
        self._old_epoch = 0
        self._csi = Orchestrator(site)
        self.verdict: Verdict | None = None

    def steps(self) -> tuple[tuple[str, Callable[[], str]], ...]:
        return (
            ("a control plane, CSI plugins and a pool on three machines", self._install),
            ("a volume with three replicas (CSI CreateVolume)", self._create),
            ("ext4 on m1 (CSI ControllerPublish, NodeStage, NodePublish)", self._mount),
            ("fio verifies its writes while the checker lists acknowledged ones", self._write),
            ("m3, which holds a replica, loses power", self._lose_replica),
            ("m3 is back: what it missed is copied, by the bitmap", self._regain_replica),
            ("m1, which writes, loses power; the volume goes to m2", self._lose_consumer),
            ("every acknowledged block is read back on m2", self._read_back),
            ("m1 is back, and fenced", self._fence),
            ("m1's replica is made equal again", self._regain_consumer),
            ("the volume grows while it is mounted", self._expand),
            ("the volume is deleted, and nothing is left of it", self._delete),
        )

    def run(self) -> Verdict:
        for step, act in self.steps():
            begun = time.monotonic()
            try:
                notable = act()
            except Exception as error:
                raise DeviationError(f"{step}: {error}") from error
            self._tell(Told(step, time.monotonic() - begun, notable))
        if self.verdict is None or self.verdict.lost:
            raise DeviationError(f"acknowledged writes lost: {self.verdict}")
        return self.verdict

    def _install(self) -> str:
        self._site.start_control()
        self._site.start_controller_plugin()
        for machine in (self._m1, self._m2, self._m3):
            self._site.start_node_plugin(machine)
        self._site.run_cli("pool", "create", "nvme", "--node", "m1", "--node", "m2", "--node", "m3")
        self._site.wait_for_plugins()
        return "3 disks, one volume group on each"

    def _create(self) -> str:
        self._volume_id = self._csi.create("demo", "nvme", SIZE_BYTES)
        replicas = self._volume().replicas
        _demand(len({replica.node for replica in replicas}) == 3, "three replicas on three nodes")
        return f"{SIZE_BYTES // MIB} MiB on {', '.join(sorted(replica.node for replica in replicas))}"

    def _mount(self) -> str:
        context = self._csi.attach(self._volume_id, self._m1)
        self._csi.mount(self._volume_id, self._m1, context)
        keys = all(self._site.control.nodes.facts(name).authentication for name in ("m1", "m2", "m3"))
        return f"remote members {'authenticated both ways' if keys else 'without keys: the kernel has none'}"

    def _write(self) -> str:
        start_writer(self._m1, _FILE, self._collector.endpoint)
        output = self._m1.succeed(_FIO, timeout=180)
        self._wait_for_writes(200)
        _demand(not self._collector.errors(), "no error while nothing fails")
        return (
            f"{_fio_writes(output)} KiB written and verified, {self._collector.acknowledged()} acknowledged"
        )

    def _lose_replica(self) -> str:
        self._collector.restart_stall_watch()
        self._m3.crash()
        self._wait_until(
            lambda: self._states()["m3"] is ReplicaState.STALE, "m3's replica to be recorded stale"
        )
        self._wait_for_writes(50)
        _demand(not self._collector.errors(), f"no write failed: {self._collector.errors()}")
        return f"writes stood still for {self._collector.stall():.1f} s, 0 errors"

    def _regain_replica(self) -> str:
        self._m3.start()
        self._site.start_agent(self._m3)
        self._site.wait_for_agent(self._m3)
        self._site.start_node_plugin(self._m3)
        begun = time.monotonic()
        self._wait_until(self._is_redundant, "the volume to be redundant again")
        took = time.monotonic() - begun
        copied = self._report("m1").recovery_total_bytes
        _demand(0 < copied < SIZE_BYTES, f"only what was missed to be copied, not {copied} bytes")
        return f"{copied // 1024} KiB of {SIZE_BYTES // 1024} KiB copied, {took:.1f} s"

    def _lose_consumer(self) -> str:
        self._wait_for_writes(50)
        self._old_epoch = self._volume().epoch
        self._m1.crash()
        begun = time.monotonic()
        self._csi.detach(self._volume_id, self._m1)
        context = self._csi.attach(self._volume_id, self._m2)
        usable = time.monotonic() - begun
        device = f"/dev/md_{self._volume_id}"
        self._m2.succeed(f"e2fsck -p {device} || [ $? -eq 1 ]", timeout=120)
        checked = self._m2.succeed(f"e2fsck -fn {device}", timeout=120)
        self._csi.mount(self._volume_id, self._m2, context)
        return f"usable {usable:.1f} s after the decision; fsck clean ({_fsck_files(checked)})"

    def _read_back(self) -> str:
        self.verdict = self._collector.judge(dump(self._m2, _FILE))
        _demand(not self.verdict.lost, f"blocks older than acknowledged: {self.verdict.lost[:5]}")
        return f"{self.verdict.checked} acknowledged writes checked, 0 lost"

    def _fence(self) -> str:
        self._m1.start()
        self._site.start_agent(self._m1)
        self._site.wait_for_agent(self._m1)
        self._site.start_node_plugin(self._m1)
        volume = self._volume()
        _demand(volume.consumer == "m2" and volume.epoch > self._old_epoch, "a newer epoch, on m2")
        replica = next(each for each in volume.replicas if each.node == "m3")
        old = PrepareSpec(self._volume_id, replica.id, self._old_epoch, 0, None)
        try:
            self._site.control.nodes.to("m3").prepare_replica(old)
        except StaleEpoch as refused:
            return f"epoch {self._old_epoch} is refused: {refused}"
        raise DeviationError(f"m3 accepted epoch {self._old_epoch} after {volume.epoch}")

    def _regain_consumer(self) -> str:
        begun = time.monotonic()
        self._wait_until(self._is_redundant, "the volume to be redundant again")
        return f"three in sync again after {time.monotonic() - begun:.1f} s"

    def _expand(self) -> str:
        grown = self._csi.expand(self._volume_id, GROWN_BYTES)
        _demand(grown == GROWN_BYTES, f"{GROWN_BYTES} bytes, not {grown}")
        room = int(self._m2.succeed(f"df --output=size -B1 {TARGET} | tail -1"))
        _demand(room > SIZE_BYTES * 3 // 2, f"the file system to have grown: it has {room} bytes")
        return f"{SIZE_BYTES // MIB} → {GROWN_BYTES // MIB} MiB, file system {room // MIB} MiB"

    def _delete(self) -> str:
        self._csi.unmount(self._volume_id, self._m2)
        self._csi.detach(self._volume_id, self._m2)
        self._csi.delete(self._volume_id)
        for machine in (self._m1, self._m2, self._m3):
            left = machine.succeed(_LEFT_OVERS).strip()
            _demand(not left, f"nothing left on {machine.name}: {left}")
        _demand(not self._site.control.volumes.list(), "no record left")
        return "no logical volume, subsystem, array, hold layer, connection or mount on any machine"

    # What several steps look at

    def _volume(self) -> Volume:
        return self._site.control.volumes.get(self._volume_id)

    def _states(self) -> dict[str, ReplicaState]:
        return {replica.node: replica.state for replica in self._volume().replicas}

    def _is_redundant(self) -> bool:
        volume = self._volume()
        return volume.resync_source is None and set(self._states().values()) == {ReplicaState.IN_SYNC}

    def _report(self, node: str) -> ArrayReport:
        arrays = self._site.control.nodes.facts(node).arrays
        return next(report for report in arrays if report.volume_id == self._volume_id)

    def _wait_for_writes(self, count: int) -> None:
        goal = self._collector.acknowledged() + count
        self._wait_until(lambda: self._collector.acknowledged() >= goal, f"{count} more acknowledged writes")

    def _wait_until(self, condition: Callable[[], bool], what: str) -> None:
        wait_until(condition, what, timeout=120, clock=self._clock, interval=0.2)


_LEFT_OVERS = f"""
ls /sys/kernel/config/nvmet/subsystems /sys/kernel/config/nvmet/hosts 2>/dev/null | grep trilith
ls -d /sys/block/md_* 2>/dev/null
grep -l trilith- /sys/block/dm-*/dm/name 2>/dev/null
grep -l trilith /sys/class/nvme/*/subsysnqn 2>/dev/null
grep /dev/md_ /proc/mounts
({LOGICAL_VOLUMES}) 2>/dev/null
true
"""


def _fio_writes(terse: str) -> int:
    """Total KiB written, field 47 of fio's terse format 3 (fio's HOWTO)."""
    line = next(line for line in terse.splitlines() if line.startswith("3;"))
    return int(line.split(";")[46])


def _fsck_files(output: str) -> str:
    found = re.search(r"(\d+)/\d+ files", output)
    if not found:
        raise DeviationError(f"e2fsck said {output!r}")
    return f"{found[1]} files"


def _demand(holds: bool, what: str) -> None:
    if not holds:
        raise DeviationError(f"expected {what}")


def play(cluster: Cluster, tell: Callable[[Told], None]) -> Verdict:
    """The whole story on machines that have just booted."""
    with Site(cluster) as site, Collector(HOST_ADDRESS) as collector:
        return Story(cluster, site, collector, tell).run()
