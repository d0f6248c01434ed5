"""Inside a machine: things of ours that no record names, made by hand, each kind once.

    python strays.py GROUP DISK ADDRESS

Says the number of the array's device in the end. The connection to the export is made on another machine, by
`python strays.py ADDRESS`.
"""

import contextlib
import sys
import threading
import uuid
from collections.abc import Iterator

from replication.agent.names import ExportName, HoldName, array_name
from replication.clock import SystemClock
from replication.kernel import blockdev, cgroup, md
from replication.kernel.cgroup import IoLimits
from replication.kernel.dm import DeviceMapper
from replication.kernel.filesystem import Kind, ensure_filesystem
from replication.kernel.hold import HoldLayer
from replication.kernel.lvm import Lvm
from replication.kernel.mounts import Mounts
from replication.kernel.nvme import Connection, NvmeHost
from replication.kernel.nvmet import Export, Nvmet
from replication.kernel.run import run
from replication.kernel.sysfs import Tree
from replication.model import MIB

STRAY = "vfeedfacefeedface"
PLACE = "/run/pods/stray"
_HOST = "nqn.2026-11.io.trilith:host:stray"
_NQN = str(ExportName(STRAY, "r1", 3, 7, "0badb007"))
_PORT = 4420
_ROOM, _DATA = 96 * MIB, 32 * MIB


def make(tree: Tree, group: str, disk: str, address: str) -> None:
    """Logical volumes r0 and r1; a mounted and limited array over r0, an export of r1."""
    lvm = Lvm(run, (disk,))
    below, shown = (
        lvm.ensure_logical_volume(group, f"{STRAY}_{replica}", _ROOM, frozenset({"trilith"}))
        for replica in ("r0", "r1")
    )
    _export(tree, blockdev.device_path(tree, shown.number), address)
    device = _assemble(tree, below.number)
    with _acknowledged(tree):
        ensure_filesystem(run, device, Kind.EXT4)
    Mounts(run, tree).ensure_mounted(device, PLACE, Kind.EXT4, ("ro",))  # nobody would acknowledge a write
    _limit(tree, tree.device_number(device))


def _export(tree: Tree, device: str, address: str) -> None:
    export = Export(_NQN, device, _HOST, address, _PORT, str(uuid.uuid5(uuid.NAMESPACE_URL, _NQN)))
    Nvmet(tree).ensure_export(export)


def _assemble(tree: Tree, number: str) -> str:
    size = blockdev.size_bytes(tree, blockdev.kernel_name(tree, number))
    hold = HoldLayer(DeviceMapper(), tree).ensure(str(HoldName(STRAY, "r0", 3)), number, size)
    member = md.MemberSpec(f"/dev/{hold}", 0)
    spec = md.ArraySpec(STRAY, 1, _DATA, 65536, (member,), resync=False)
    device = md.assemble(tree, spec, SystemClock())
    md.activate(tree, STRAY)
    return device


@contextlib.contextmanager
def _acknowledged(tree: Tree) -> Iterator[None]:
    """Writes to the array wait for whoever keeps its metadata, which is us."""
    over = threading.Event()

    def acknowledge() -> None:
        while not over.wait(0.05):
            md.acknowledge_writes(tree, STRAY)

    keeper = threading.Thread(target=acknowledge)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()


def _limit(tree: Tree, number: str) -> None:
    tree.path(f"{cgroup.ROOT}/kubepods").mkdir(exist_ok=True)
    cgroup.ensure_controller(tree)
    cgroup.ensure_limits(tree, "kubepods", number, IoLimits(read_operations=100))


def connect(tree: Tree, address: str) -> None:
    NvmeHost(tree).ensure_connected(Connection(_NQN, address, _PORT, _HOST))


if __name__ == "__main__":
    if len(sys.argv) == 2:
        connect(Tree(), sys.argv[1])
    else:
        make(Tree(), *sys.argv[1:])
        print(array_name(STRAY))
