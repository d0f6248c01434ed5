"""A volume's bounds, kept by the kernel: io.max of its array, on the cgroup above all workloads.

They last as long as the array; every attachment sets them anew.
"""

from replication.errors import Unsupported
from replication.kernel import cgroup
from replication.kernel.cgroup import IoLimits
from replication.kernel.md_state import device_of
from replication.kernel.sysfs import Tree
from replication.model import Limits

WORKLOADS = ("kubepods.slice", "kubepods")
"""What kubelet makes, with systemd as its cgroup driver and without."""


def set_limits(tree: Tree, volume_id: str, limits: Limits) -> None:
    workloads = find_workloads(tree)
    cgroup.ensure_controller(tree)
    number = tree.device_number(device_of(volume_id))
    cgroup.ensure_limits(tree, workloads, number, to_io_limits(limits))


def find_workloads(tree: Tree) -> str:
    for name in WORKLOADS:
        if tree.exists(f"{cgroup.ROOT}/{name}"):
            return name
    raise Unsupported(f"this node has none of the cgroups {', '.join(WORKLOADS)}: limits bound nobody here")


def to_io_limits(limits: Limits) -> IoLimits:
    return IoLimits(
        read_operations=limits.read_operations or None,
        write_operations=limits.write_operations or None,
        read_bytes=limits.read_bytes or None,
        write_bytes=limits.write_bytes or None,
    )
