"""Requests to the Controller service, checked at the border and turned into values.

Secrets are never read: no call of ours needs any.
"""

from dataclasses import dataclass

from csi.capabilities import (
    DEFAULT_FILESYSTEM,
    Access,
    find_filesystem,
    parse_capabilities,
    parse_capability,
    parse_required_capability,
)
from csi.capacity import LEAST_BYTES, CapacityRange, parse_capacity_range
from csi.identifiers import parse_name, parse_node_id, parse_volume_id
from csi.parameters import FILESYSTEM, StorageClass, parse_storage_class
from csi.topology import Accessibility, Place, parse_accessibility, parse_place
from csi.v1 import csi_pb2
from replication.errors import InvalidRequest
from replication.model import AccessType


@dataclass(frozen=True, slots=True)
class Create:
    """CreateVolume."""

    name: str
    storage_class: StorageClass
    capacity: CapacityRange
    accesses: tuple[Access, ...]
    accessibility: Accessibility

    @property
    def filesystem(self) -> str:
        """The file system that parameters or capabilities name; "" when neither does."""
        return self.storage_class.filesystem or find_filesystem(self.accesses) or ""

    @property
    def least_bytes(self) -> int:
        """What the file system needs that will be made on it, if any will."""
        mounted = any(access.type is AccessType.MOUNT for access in self.accesses)
        return LEAST_BYTES[self.filesystem or DEFAULT_FILESYSTEM if mounted else ""]


@dataclass(frozen=True, slots=True)
class GetCapacity:
    """GetCapacity; `place` is None for: anywhere."""

    storage_class: StorageClass
    accesses: tuple[Access, ...]
    place: Place | None


@dataclass(frozen=True, slots=True)
class Attach:
    """ControllerPublishVolume."""

    volume_id: str
    node: str
    access: Access
    readonly: bool


@dataclass(frozen=True, slots=True)
class Detach:
    """ControllerUnpublishVolume; `node` is None for: from wherever it is."""

    volume_id: str
    node: str | None


@dataclass(frozen=True, slots=True)
class Expand:
    """ControllerExpandVolume."""

    volume_id: str
    capacity: CapacityRange


def parse_create(message: csi_pb2.CreateVolumeRequest) -> Create:
    name = parse_name(message.name)
    if message.HasField("volume_content_source"):
        raise InvalidRequest("volume_content_source: snapshots and clones are not supported")
    accesses = parse_capabilities(message.volume_capabilities)
    create = Create(
        name,
        parse_storage_class(message.parameters, message.mutable_parameters),
        parse_capacity_range(message.capacity_range),
        accesses,
        parse_accessibility(message.accessibility_requirements),
    )
    _check_agreement(create)
    return create


def parse_get_capacity(message: csi_pb2.GetCapacityRequest) -> GetCapacity:
    """Everything may be left out: then it is about the best pool, with its own number of replicas."""
    accesses = parse_capabilities(message.volume_capabilities) if message.volume_capabilities else ()
    has_place = message.HasField("accessible_topology")
    return GetCapacity(
        parse_storage_class(message.parameters, {}, needs_pool=False),
        accesses,
        parse_place(message.accessible_topology, "accessible_topology") if has_place else None,
    )


def parse_attach(message: csi_pb2.ControllerPublishVolumeRequest) -> Attach:
    volume_id = parse_volume_id(message.volume_id)
    if not message.node_id:
        raise InvalidRequest("node_id: missing")
    access = parse_required_capability(message)
    readonly = message.readonly or access.readonly
    return Attach(volume_id, parse_node_id(message.node_id), access, readonly)


def parse_detach(message: csi_pb2.ControllerUnpublishVolumeRequest) -> Detach:
    return Detach(parse_volume_id(message.volume_id), parse_node_id(message.node_id) or None)


def parse_expand(message: csi_pb2.ControllerExpandVolumeRequest) -> Expand:
    volume_id = parse_volume_id(message.volume_id)
    capacity = parse_capacity_range(message.capacity_range)
    if not capacity.required_bytes:
        raise InvalidRequest("capacity_range.required_bytes: missing")
    if message.HasField("volume_capability"):
        parse_capability(message.volume_capability)
    return Expand(volume_id, capacity)


def _check_agreement(create: Create) -> None:
    named, wanted = create.storage_class.filesystem, find_filesystem(create.accesses)
    if named and wanted and named != wanted:
        raise InvalidRequest(f"parameter {FILESYSTEM!r} ({named!r}): the volume capability says {wanted!r}")
