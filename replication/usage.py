"""How full a volume is, as control plane, contract and agent say it."""

from dataclasses import dataclass

from replication.model import AccessType


@dataclass(frozen=True, slots=True)
class VolumeUsage:
    """How full a staged or published volume is; of a block volume only its size is known."""

    access: AccessType
    total_bytes: int
    used_bytes: int = 0
    available_bytes: int = 0
    total_inodes: int = 0
    used_inodes: int = 0
    available_inodes: int = 0
