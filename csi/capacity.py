"""How big a volume has to be, from a capacity range."""

from dataclasses import dataclass

from csi.v1 import csi_pb2
from replication.errors import InvalidRequest, OutOfRange
from replication.model import GIB, MIB

STEP_BYTES = 4 * MIB
"""Sizes are whole extents of LVM, so that what is reported is what there is."""

DEFAULT_BYTES = GIB

LEAST_BYTES = {"xfs": 300 * MIB, "ext4": 16 * MIB, "": STEP_BYTES}
"""What a file system needs to be made; "" is a block volume."""


@dataclass(frozen=True, slots=True)
class CapacityRange:
    """Bytes, both ends included; 0 as `limit_bytes`: no limit."""

    required_bytes: int = 0
    limit_bytes: int = 0

    def admits(self, size_bytes: int) -> bool:
        return size_bytes >= self.required_bytes and not self.forbids(size_bytes)

    def forbids(self, size_bytes: int) -> bool:
        return 0 < self.limit_bytes < size_bytes


def parse_capacity_range(message: csi_pb2.CapacityRange) -> CapacityRange:
    """InvalidRequest for what no volume can ever meet; an empty message means: any size."""
    required, limit = message.required_bytes, message.limit_bytes
    if required < 0 or limit < 0:
        raise InvalidRequest(f"capacity_range: required {required}, limit {limit}: must not be negative")
    if 0 < limit < required:
        raise InvalidRequest(f"capacity_range: limit_bytes {limit} is less than required_bytes {required}")
    return CapacityRange(required, limit)


def choose_size(wanted: CapacityRange, least_bytes: int = STEP_BYTES) -> int:
    """The smallest size in the range that can be made."""
    size = max(round_up(wanted.required_bytes or _default_size(wanted)), least_bytes)
    if wanted.forbids(size):
        raise OutOfRange(
            f"capacity_range: sizes are multiples of {STEP_BYTES} bytes from {least_bytes} on, and none lies "
            f"between {wanted.required_bytes} and {wanted.limit_bytes}"
        )
    return size


def round_up(size_bytes: int) -> int:
    return -(-size_bytes // STEP_BYTES) * STEP_BYTES


def _default_size(wanted: CapacityRange) -> int:
    largest = wanted.limit_bytes // STEP_BYTES * STEP_BYTES
    return min(DEFAULT_BYTES, largest) if largest else DEFAULT_BYTES
