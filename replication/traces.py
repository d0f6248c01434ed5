"""What volumes leave on a node, named as kernel and LVM name it: to be compared with the records."""

from dataclasses import dataclass
from enum import StrEnum


class TraceKind(StrEnum):
    """From what stands on top to what lies at the bottom: the order in which it is taken away."""

    MOUNT = "mount"
    LIMIT = "limit"  # io.max of an array, on the cgroup of all workloads
    ARRAY = "array"
    HOLD = "hold layer"
    CONNECTION = "connection"  # to an export on another node
    EXPORT = "export"  # an NVMe subsystem
    LOGICAL_VOLUME = "logical volume"


@dataclass(frozen=True, slots=True)
class Trace:
    """One thing on one node. Unknown numbers are 0, unknown names empty."""

    kind: TraceKind
    name: str  # path of a mount, NQN, device number, name of the array, hold layer or GROUP/VOLUME
    volume_id: str
    replica_id: str = ""
    epoch: int = 0
    written: bool = False  # a logical volume that may hold what somebody wrote
