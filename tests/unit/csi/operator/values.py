"""Values that tests of the operator begin with."""

from typing import Any

from csi.operator.resources import Machine, StoragePool
from replication.model import GIB, Disk, NodeFacts, VolumeGroup


def pool(name: str = "nvme", **changes: Any) -> StoragePool:  # noqa: ANN401 (each field has a type of its own)
    plain: dict[str, Any] = {
        "namespace": "trilith",
        "uid": f"uid-{name}",
        "version": "1",
        "generation": 1,
        "created": 0.0,
        "deleting": False,
        "finalizers": (),
        "replicas": 3,
    }
    return StoragePool(name=name, **{**plain, **changes})


def machine(
    name: str, labels: dict[str, str] | None = None, taints: tuple[str, ...] = (), cordoned: bool = False
) -> Machine:
    pairs = {"kubernetes.io/hostname": name, **(labels or {})}
    return Machine(name, f"uid-{name}", tuple(sorted(pairs.items())), cordoned, frozenset(taints))


def disk(path: str, why_not: str = "", serial: str = "S1", model: str = "A B") -> Disk:
    return Disk(path, serial, model, 100 * GIB, not why_not, why_not, f"vg-{path[5:]}")


def facts(node: str, *disks: Disk, pools: dict[str, str] | None = None) -> NodeFacts:
    """`pools`: of disks that are taken already."""
    groups = tuple(
        VolumeGroup(f"vg-{path[5:]}", owner, path, 100 * GIB, 60 * GIB, 10 * GIB)
        for path, owner in (pools or {}).items()
    )
    return NodeFacts(node, "cluster", "boot", "6.12", True, disks, groups, (), ())
