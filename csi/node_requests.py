"""Requests to the Node service, checked at the border and turned into values.

Secrets are never read: no call of ours needs any.
"""

from csi.capabilities import DEFAULT_FILESYSTEM, Access, parse_required_capability
from csi.identifiers import FILESYSTEM_CONTEXT, READONLY_CONTEXT, parse_path, parse_volume_id
from csi.v1 import csi_pb2
from replication.errors import FailedPrecondition
from replication.model import AccessType, PublishSpec, StageSpec


def parse_stage(message: csi_pb2.NodeStageVolumeRequest) -> StageSpec:
    volume_id = parse_volume_id(message.volume_id)
    path = parse_path(message.staging_target_path, "staging_target_path")
    access = parse_required_capability(message)
    filesystem = _choose_filesystem(access, message.volume_context.get(FILESYSTEM_CONTEXT, ""))
    return StageSpec(
        volume_id,
        path,
        access.type,
        filesystem,
        access.mount_flags,
        access.readonly or _is_attached_readonly(message),
        access.mount_group,
    )


def parse_publish(message: csi_pb2.NodePublishVolumeRequest) -> PublishSpec:
    """FailedPrecondition without a staging path, as the specification has it."""
    volume_id = parse_volume_id(message.volume_id)
    path = parse_path(message.target_path, "target_path")
    access = parse_required_capability(message)
    if not message.staging_target_path:
        raise FailedPrecondition("staging_target_path: missing: NodeStageVolume comes first")
    return PublishSpec(
        volume_id,
        parse_path(message.staging_target_path, "staging_target_path"),
        path,
        access.type,
        message.readonly or access.readonly or _is_attached_readonly(message),
        access.mount_flags,
        access.exclusive,
        access.mount_group,
    )


def _choose_filesystem(access: Access, created_with: str) -> str:
    if access.type is AccessType.BLOCK:
        return ""
    if access.filesystem and created_with and access.filesystem != created_with:
        raise FailedPrecondition(
            f"volume_capability: mount.fs_type {access.filesystem!r}: the volume was made for "
            f"{created_with!r}"
        )
    return access.filesystem or created_with or DEFAULT_FILESYSTEM


def _is_attached_readonly(
    message: csi_pb2.NodeStageVolumeRequest | csi_pb2.NodePublishVolumeRequest,
) -> bool:
    return message.publish_context.get(READONLY_CONTEXT, "") == "true"
