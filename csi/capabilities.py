"""How a workload wants to use a volume, from volume capabilities."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from csi.v1 import csi_pb2
from replication.errors import InvalidRequest
from replication.model import AccessType

FILESYSTEMS = ("ext4", "xfs")
DEFAULT_FILESYSTEM = "ext4"

MODE = csi_pb2.VolumeCapability.AccessMode

MODES = (
    MODE.SINGLE_NODE_WRITER,
    MODE.SINGLE_NODE_READER_ONLY,
    MODE.SINGLE_NODE_SINGLE_WRITER,
    MODE.SINGLE_NODE_MULTI_WRITER,
)
"""What is kept: SINGLE_NODE_WRITER as Kubernetes means it, by any number of workloads of one node."""

FORBIDDEN_FLAGS = frozenset({"bind", "rbind", "move", "remount", "loop"})
"""They would have something else mounted than the volume."""

MAX_FLAGS_BYTES = 4096
NO_GROUP = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Access:
    """One way of using a volume."""

    type: AccessType
    filesystem: str = ""  # "" when the caller did not say
    mount_flags: tuple[str, ...] = field(default=(), repr=False)  # may be sensitive, by the specification
    readonly: bool = False
    exclusive: bool = False  # at one path of its node only
    mount_group: str = ""


def parse_capabilities(messages: Iterable[csi_pb2.VolumeCapability]) -> tuple[Access, ...]:
    """At least one, all of them supported, and agreeing on the file system."""
    accesses = tuple(parse_capability(message) for message in messages)
    if not accesses:
        raise InvalidRequest("volume_capabilities: missing")
    find_filesystem(accesses)
    return accesses


def parse_capability(message: csi_pb2.VolumeCapability) -> Access:
    kind = message.WhichOneof("access_type")
    if kind is None:
        raise InvalidRequest("volume_capability: says neither block nor mount")
    mode = _parse_mode(message)
    readonly, exclusive = mode == MODE.SINGLE_NODE_READER_ONLY, mode == MODE.SINGLE_NODE_SINGLE_WRITER
    if kind == "block":
        return Access(AccessType.BLOCK, readonly=readonly, exclusive=exclusive)
    return _parse_mount(message.mount, readonly=readonly, exclusive=exclusive)


def parse_required_capability(
    message: csi_pb2.ControllerPublishVolumeRequest
    | csi_pb2.NodeStageVolumeRequest
    | csi_pb2.NodePublishVolumeRequest,
) -> Access:
    if not message.HasField("volume_capability"):
        raise InvalidRequest("volume_capability: missing")
    return parse_capability(message.volume_capability)


def find_filesystem(accesses: Iterable[Access]) -> str | None:
    """The one file system that is named, if any is."""
    named = sorted({access.filesystem for access in accesses if access.filesystem})
    if len(named) > 1:
        raise InvalidRequest(
            f"volume_capabilities: one volume cannot have the file systems {' and '.join(named)}"
        )
    return named[0] if named else None


def check_filesystem(name: str, where: str) -> str:
    if name not in FILESYSTEMS:
        raise InvalidRequest(f"{where}: {name!r}: must be one of {', '.join(FILESYSTEMS)}")
    return name


def _parse_mode(message: csi_pb2.VolumeCapability) -> int:
    if not message.HasField("access_mode") or message.access_mode.mode == MODE.UNKNOWN:
        raise InvalidRequest("volume_capability: access_mode: missing")
    mode = message.access_mode.mode
    if mode not in MODES:
        allowed = ", ".join(_name_mode(m) for m in MODES)
        raise InvalidRequest(f"volume_capability: access_mode {_name_mode(mode)}: must be one of {allowed}")
    return mode


def _name_mode(mode: int) -> str:
    known = MODE.Mode.DESCRIPTOR.values_by_number.get(mode)
    return str(known.name) if known else str(mode)


def _parse_mount(message: csi_pb2.VolumeCapability.MountVolume, *, readonly: bool, exclusive: bool) -> Access:
    if message.fs_type:
        check_filesystem(message.fs_type, "volume_capability: mount.fs_type")
    return Access(
        AccessType.MOUNT,
        message.fs_type,
        _parse_flags(message.mount_flags),
        readonly,
        exclusive,
        _parse_group(message.volume_mount_group),
    )


def _parse_flags(flags: Iterable[str]) -> tuple[str, ...]:
    """Those that are refused are known, so that telling them tells nothing."""
    given = tuple(flags)
    if any(not flag or "\0" in flag for flag in given) or sum(map(len, given)) > MAX_FLAGS_BYTES:
        raise InvalidRequest("volume_capability: mount.mount_flags: one is empty or malformed, or too long")
    words = {word.strip().partition("=")[0] for flag in given for word in flag.split(",")}
    if words & FORBIDDEN_FLAGS:
        named = ", ".join(sorted(words & FORBIDDEN_FLAGS))
        raise InvalidRequest(f"volume_capability: mount.mount_flags: {named}: not allowed")
    return given


def _parse_group(group: str) -> str:
    """The number of a group. Names mean different groups on different nodes."""
    if group and not (group.isascii() and group.isdigit() and len(group) <= 10 and int(group) < NO_GROUP):
        raise InvalidRequest(
            f"volume_capability: mount.volume_mount_group {group!r}: must be the number of a group"
        )
    return group
