"""A volume of three replicas on one machine, built by the wrappers alone, with disks that fail when told to.

nvme disk ─ logical volume ─ fault (dm linear) ─┬─ hold layer ─ slot 0
                                                └─ nvmet ─ loopback ─ nvme-tcp ─ hold layer ─ slots 1, 2
"""

import contextlib
import mmap
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache

from replication.clock import SystemClock, wait_until
from replication.control.keys import new_key
from replication.errors import TrilithError
from replication.kernel import bitmap, blockdev, md, md_members, md_state
from replication.kernel.apart import Apart
from replication.kernel.direct import read_direct, zero_range
from replication.kernel.dm import DeviceMapper
from replication.kernel.dm_wire import Target
from replication.kernel.hold import HoldLayer
from replication.kernel.md import ArraySpec, MemberSpec
from replication.kernel.nvme import Connection, NvmeHost
from replication.kernel.nvmet import Export, Nvmet
from replication.kernel.sysfs import Tree
from replication.layout import DATA_OFFSET_BYTES

CHUNK = 65536
DATA = 60 << 20
CLOCK = SystemClock()
PREFIX = "nqn.2026-01.io.trilith:test:"


def wait(condition: Callable[[], bool], what: str, timeout: float = 20) -> None:
    wait_until(condition, what, timeout=timeout, clock=CLOCK)


@dataclass
class Replica:
    """One copy and everything that stands on it."""

    index: int
    disk: str  # path of the fault device
    fault: str  # its device-mapper name
    below: str  # MAJOR:MINOR of the logical volume
    sectors: int
    nqn: str
    hold: str
    member: str = ""  # kernel name of the hold layer
    number: str = ""
    keys: tuple[str, str] = field(default_factory=lambda: (new_key(), new_key()))


class Write(threading.Thread):
    """One direct write of 4 KiB; done when the kernel acknowledged it."""

    def __init__(self, device: str, offset: int, letter: bytes) -> None:
        super().__init__(daemon=True)
        self.device, self.offset, self.letter = device, offset, letter
        self.acknowledged = False
        self.error: OSError | None = None
        self.start()

    def run(self) -> None:
        buffer = mmap.mmap(-1, 4096)
        buffer.write(self.letter * 4096)
        descriptor = os.open(self.device, os.O_WRONLY | os.O_DIRECT)
        try:
            os.pwrite(descriptor, buffer, self.offset)
            self.acknowledged = True
        except OSError as error:
            self.error = error
        finally:
            os.close(descriptor)


def count(writes: list[Write]) -> int:
    return sum(write.acknowledged for write in writes)


@cache
def start_apart() -> Apart:
    """One for all: it ends with this process."""
    return Apart()


class Stand:
    """`remote` replicas are reached over the network, the others directly."""

    def __init__(self, name: str, volumes: tuple[str, ...], remote: tuple[int, ...] = (1, 2)) -> None:
        """`volumes` are the device numbers of logical volumes with room to grow."""
        self.name, self.remote = name, remote
        self.dropped: set[str] = set()
        self.tree = Tree()
        self.write_in_time = start_apart().write
        self.mapper = DeviceMapper()
        self.holds = HoldLayer(self.mapper, self.tree)
        self.target = Nvmet(self.tree, is_open=self.mapper.is_open)
        self.host = NvmeHost(self.tree)
        self.replicas = [self._make_replica(index, number) for index, number in enumerate(volumes)]
        for replica in self.replicas:
            self.connect(replica)

    @property
    def device(self) -> str:
        return md_state.device_of(self.name)

    def _make_replica(self, index: int, number: str) -> Replica:
        name = f"{self.name}r{index}"
        size = DATA_OFFSET_BYTES + DATA
        zero_range(blockdev.device_path(self.tree, number), 0, size)
        made = self.mapper.create(f"{name}-fault", "", (Target(0, size // 512, "linear", f"{number} 0"),))
        disk = blockdev.device_path(self.tree, made.number)
        return Replica(
            index, disk, made.name, number, size // 512, nqn=f"{PREFIX}{name}:1", hold=f"{name}-hold"
        )

    def connect(self, replica: Replica) -> None:
        """Bring the replica to this machine as a consumer, with the hold layer on it."""
        below = blockdev.kernel_name(self.tree, replica.disk)
        if replica.index in self.remote:
            self.export(replica)
            below = self.host.ensure_connected(self.connection(replica))
        number = blockdev.number(self.tree, below)
        if self.holds.find(replica.hold) is None:
            replica.member = self.holds.ensure(replica.hold, number, replica.sectors * 512)
            replica.number = blockdev.number(self.tree, replica.member)
        else:
            self.holds.reload(replica.hold, number, replica.sectors * 512)

    def export(self, replica: Replica) -> None:
        self.target.ensure_export(
            Export(
                replica.nqn, replica.disk, replica.nqn + ":host", "127.0.0.1", 4420,
                str(uuid.uuid5(uuid.NAMESPACE_URL, replica.nqn)), *replica.keys,
            )
        )  # fmt: skip

    def connection(self, replica: Replica) -> Connection:
        host_key, controller_key = replica.keys
        return Connection(
            replica.nqn, "127.0.0.1", 4420, replica.nqn + ":host",
            host_key=host_key, controller_key=controller_key,
        )  # fmt: skip

    # Faults of a disk

    def err(self, replica: Replica) -> None:
        self._swap(replica, Target(0, replica.sectors, "error", ""))

    def heal(self, replica: Replica) -> None:
        self._swap(replica, Target(0, replica.sectors, "linear", f"{replica.below} 0"))

    def _swap(self, replica: Replica, target: Target) -> None:
        self.mapper.replace_table(replica.fault, (target,))

    def enlarge(self, replica: Replica, data_bytes: int) -> None:
        """The disk alone grows; what stands on it has to be told. The new part is zeroed."""
        old, replica.sectors = replica.sectors, (DATA_OFFSET_BYTES + data_bytes) // 512
        zero_range(f"/dev/{self._disk_of(replica)}", old * 512, (replica.sectors - old) * 512)
        self.heal(replica)

    def grow(self, data_bytes: int) -> None:
        """Everything grows, for replicas that are all local."""
        self.enlarge_all(data_bytes)
        md.grow(self.tree, self.name, data_bytes, self.write_in_time)
        self.settle()

    def enlarge_all(self, data_bytes: int) -> None:
        """All that the array stands on."""
        for replica in self.replicas:
            self.enlarge(replica, data_bytes)
            path = self.holds.read(replica.hold).path
            self.holds.reload(replica.hold, path, replica.sectors * 512)

    # The array

    def spec(self, *members: int, resync: bool = False, bits: bitmap.Ranges = ()) -> ArraySpec:
        chosen = [self.replicas[index] for index in members or range(len(self.replicas))]
        specs = tuple(MemberSpec(each.number, each.index, each.index in self.remote) for each in chosen)
        return ArraySpec(self.name, len(self.replicas), DATA, CHUNK, specs, resync, bits)

    def start(self, *members: int, resync: bool = False, bits: bitmap.Ranges = ()) -> None:
        md.assemble(self.tree, self.spec(*members, resync=resync, bits=bits))
        md.activate(self.tree, self.name, time_base_seconds=1)

    def state(self) -> md_state.ArrayState:
        return md_state.read_array(self.tree, self.name)

    def write(self, chunk: int, letter: bytes) -> None:
        """Write and see it acknowledged, answering md's questions meanwhile."""
        write = Write(self.device, chunk * CHUNK, letter)
        wait(lambda: write.acknowledged or self.acknowledge(), "the write")
        assert write.error is None

    def acknowledge(self) -> bool:
        """Let writes go that wait for a word of ours. Always False, for whoever goes on waiting."""
        dropped = frozenset(each.kname for each in self.state().members if each.faulty)
        if self.state().write_pending:
            md_members.release_pending(self.tree, self.name, dropped)
        return False

    def drop(self, replica: Replica) -> None:
        """What the agent does after the record: faulty, let held requests fail, disconnect, release."""
        md_members.fail_member(self.tree, self.name, replica.member)
        self.holds.release(replica.hold)
        if replica.index in self.remote:
            self.host.disconnect(replica.nqn)
        self.dropped.add(replica.member)
        assert md_members.release_pending(self.tree, self.name, frozenset(self.dropped)) == ()

    def rejoin(self, replica: Replica, *, use_bitmap: bool) -> None:
        """Bring it back and wait until it is equal to the others."""
        self.connect(replica)
        self.holds.hold(replica.hold)
        self.dropped.discard(replica.member)
        member = MemberSpec(replica.number, replica.index, replica.index in self.remote)
        md_members.re_add_member(self.tree, self.name, member, bitmap=use_bitmap)
        md_members.start_recovery(self.tree, self.name)
        self.settle()

    def settle(self) -> None:
        """Wait for the end of a resync or recovery, answering md's questions meanwhile."""
        wait(self._is_settled, "the end of the recovery", timeout=60)

    def _is_settled(self) -> bool:
        self.acknowledge()
        state = self.state()
        return state.sync_action == "idle" and not state.resync_owed and not state.write_pending

    def read(self, replica: Replica, chunk: int) -> bytes:
        """The first byte of a chunk on the replica's own disk."""
        return read_direct(f"/dev/{self._disk_of(replica)}", DATA_OFFSET_BYTES + chunk * CHUNK, 4096)[:1]

    def bits(self, replica: Replica) -> bitmap.Ranges:
        return bitmap.read_bits(f"/dev/{self._disk_of(replica)}", DATA, CHUNK)

    def data(self, replica: Replica) -> bytes:
        return read_direct(f"/dev/{self._disk_of(replica)}", DATA_OFFSET_BYTES, DATA)

    def _disk_of(self, replica: Replica) -> str:
        return blockdev.kernel_name(self.tree, replica.below)

    # The end

    def close(self) -> None:
        """Take everything away, whatever state a failed test left it in."""
        with contextlib.suppress(TrilithError):
            self._let_go()
        for step in (*self._steps(),):
            step()

    def _let_go(self) -> None:
        for replica in self.replicas:
            self.heal(replica)
            self.holds.release(replica.hold)
        if md_state.find_array(self.tree, self.name) is not None:
            self.acknowledge()
            md.let_writes_go_on(self.tree, self.name, self.write_in_time)

    def _steps(self) -> Iterator[Callable[[], None]]:
        yield lambda: wait(self._is_stopped, f"array {self.name} to stop")
        for replica in self.replicas:
            yield lambda name=replica.hold: self.holds.remove(name)  # type: ignore[misc]
            yield lambda nqn=replica.nqn: self.host.disconnect(nqn)  # type: ignore[misc]
            yield lambda nqn=replica.nqn: self.target.fence(nqn)  # type: ignore[misc]
            yield lambda name=replica.fault: self.mapper.remove(name)  # type: ignore[misc]

    def _is_stopped(self) -> bool:
        try:
            md.stop(self.tree, self.name)
        except TrilithError:
            self.acknowledge()
            return False
        return True
