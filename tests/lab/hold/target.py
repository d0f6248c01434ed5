"""Inside a machine: a replica's place on the disk, and its export."""

import os
import re
import uuid

from replication.clock import SystemClock, wait_until
from replication.kernel import blockdev
from replication.kernel.direct import read_direct, write_direct
from replication.kernel.dm import DeviceMapper
from replication.kernel.dm_wire import Target
from replication.kernel.hold import HoldLayer
from replication.kernel.nvmet import ROOT, Export, Nvmet
from replication.kernel.sysfs import Tree
from replication.layout import BITMAP_OFFSET_BYTES, DATA_OFFSET_BYTES
from tests.lab.hold.writers import CHUNK_BYTES

_NAMESPACE = re.compile(r"nvme(\d+)(?:c\d+)?n(\d+)")


class Place:
    """Replicas lie on the first disk, one behind the other; dm-linear stands for LVM."""

    def __init__(self, tree: Tree, mapper: DeviceMapper) -> None:
        self._tree = tree
        self._mapper = mapper
        self._nvmet = Nvmet(tree)
        self._holds = HoldLayer(mapper, tree)

    def make(self, volume: str, start_bytes: int, size_bytes: int) -> str:
        """The node of the replica's device. A disk that was pulled out before is put in again."""
        self._tree.write("/sys/bus/pci/rescan", 1)
        disk = self._tree.device_number(self._find_disk())
        sectors, start = size_bytes // blockdev.SECTOR_BYTES, start_bytes // blockdev.SECTOR_BYTES
        table = (Target(0, sectors, "linear", f"{disk} {start}"),)
        made = self._mapper.create(f"place-{volume}", f"place-{volume}", table)
        return blockdev.device_path(self._tree, made.number)

    def _find_disk(self) -> str:
        wait_until(lambda: bool(self._disks()), "the disk to appear", timeout=10, clock=SystemClock())
        return self._disks()[0]

    def _disks(self) -> list[str]:
        serial, found = f"{os.uname().nodename}-disk0", []
        for controller in self._tree.names("/sys/class/nvme"):
            if self._tree.find(f"/sys/class/nvme/{controller}/serial") == serial:
                matches = map(_NAMESPACE.fullmatch, self._tree.names(f"/sys/class/nvme/{controller}"))
                found += [f"/dev/nvme{match[1]}n{match[2]}" for match in matches if match]
        return [path for path in found if self._tree.exists(path)]

    def remake(self, volume: str, start_bytes: int, size_bytes: int) -> str:
        """The same after a boot, or over a disk that was pulled out and put in again."""
        self._remove_layer(volume)
        self._mapper.remove(f"place-{volume}")
        return self.make(volume, start_bytes, size_bytes)

    def _remove_layer(self, volume: str) -> None:
        if self._holds.find(f"target-{volume}") is not None:
            self._holds.release(f"target-{volume}")
            self._holds.remove(f"target-{volume}")

    def export(self, volume: str, nqn: str, endpoint: tuple[str, int], *, layer: bool) -> None:
        number = self._mapper.get(f"place-{volume}").number
        if layer:
            size = blockdev.size_bytes(self._tree, blockdev.kernel_name(self._tree, number))
            kname = self._holds.ensure(f"target-{volume}", number, size)
            number = blockdev.number(self._tree, kname)
        device = blockdev.device_path(self._tree, number)
        address, port = endpoint
        host, unique = f"nqn.2026-01.io.test:{volume}", str(uuid.uuid5(uuid.NAMESPACE_URL, nqn))
        self._nvmet.ensure_export(Export(nqn, device, host, address, port, unique))

    def fence(self, nqn: str, volume: str = "") -> None:
        """`volume`: its layer under the namespace, which may hold what the fence waits for, is released."""
        if volume and self._holds.find(f"target-{volume}") is not None:
            self._holds.release(f"target-{volume}")
        self._nvmet.fence(nqn)

    def disable(self, nqn: str) -> None:
        """What an administrator could do: the namespace goes, the subsystem stays."""
        self._tree.write(f"{ROOT}/subsystems/{nqn}/namespaces/1/enable", 0)

    def write_alone(self, volume: str, chunk: int) -> None:
        """What a fenced consumer may leave: a block that this replica alone has, and its bitmap's bit."""
        device = blockdev.device_path(self._tree, self._mapper.get(f"place-{volume}").number)
        write_direct(device, DATA_OFFSET_BYTES + chunk * CHUNK_BYTES, b"x" * 4096)
        block = chunk // (8 * 4096) * 4096
        bits = bytearray(read_direct(device, BITMAP_OFFSET_BYTES + block, 4096))
        bits[chunk // 8 % 4096] |= 1 << chunk % 8
        write_direct(device, BITMAP_OFFSET_BYTES + block, bytes(bits))
