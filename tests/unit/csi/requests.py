"""Well-formed requests of the CSI specification, to be made malformed by the tests."""

# ruff: noqa: ANN401 (fields of protobuf messages, by name)

from typing import Any

from csi.v1 import csi_pb2

MODE = csi_pb2.VolumeCapability.AccessMode


def mount(fs_type: str = "", mode: int = MODE.SINGLE_NODE_WRITER, **more: Any) -> csi_pb2.VolumeCapability:
    return csi_pb2.VolumeCapability(
        mount=csi_pb2.VolumeCapability.MountVolume(fs_type=fs_type, **more), access_mode=access_mode(mode)
    )


def block(mode: int = MODE.SINGLE_NODE_WRITER) -> csi_pb2.VolumeCapability:
    return csi_pb2.VolumeCapability(
        block=csi_pb2.VolumeCapability.BlockVolume(), access_mode=access_mode(mode)
    )


def access_mode(mode: int) -> csi_pb2.VolumeCapability.AccessMode:
    message = csi_pb2.VolumeCapability.AccessMode()
    message.mode = mode  # type: ignore[assignment]  # an open enum
    return message


def capacity(required: int = 0, limit: int = 0) -> csi_pb2.CapacityRange:
    return csi_pb2.CapacityRange(required_bytes=required, limit_bytes=limit)


def create(**changes: Any) -> csi_pb2.CreateVolumeRequest:
    fields: dict[str, Any] = {
        "name": "pvc-1",
        "capacity_range": capacity(256 << 20),
        "volume_capabilities": [mount()],
        "parameters": {"pool": "nvme"},
    }
    return csi_pb2.CreateVolumeRequest(**(fields | changes))


def attach(**changes: Any) -> csi_pb2.ControllerPublishVolumeRequest:
    fields: dict[str, Any] = {"volume_id": "v1", "node_id": "m1", "volume_capability": mount()}
    return csi_pb2.ControllerPublishVolumeRequest(**(fields | changes))


def expand(**changes: Any) -> csi_pb2.ControllerExpandVolumeRequest:
    fields: dict[str, Any] = {"volume_id": "v1", "capacity_range": capacity(512 << 20)}
    return csi_pb2.ControllerExpandVolumeRequest(**(fields | changes))


def stage(**changes: Any) -> csi_pb2.NodeStageVolumeRequest:
    fields: dict[str, Any] = {
        "volume_id": "v1",
        "staging_target_path": "/staging",
        "volume_capability": mount(),
    }
    return csi_pb2.NodeStageVolumeRequest(**(fields | changes))


def publish(**changes: Any) -> csi_pb2.NodePublishVolumeRequest:
    fields: dict[str, Any] = {
        "volume_id": "v1",
        "staging_target_path": "/staging",
        "target_path": "/target",
        "volume_capability": mount(),
    }
    return csi_pb2.NodePublishVolumeRequest(**(fields | changes))


def list_volumes(count: int = 0, token: str = "") -> csi_pb2.ListVolumesRequest:
    return csi_pb2.ListVolumesRequest(max_entries=count, starting_token=token)


def modify(volume_id: str, **parameters: str) -> csi_pb2.ControllerModifyVolumeRequest:
    return csi_pb2.ControllerModifyVolumeRequest(volume_id=volume_id, mutable_parameters=parameters)


def topology(*nodes: str, cluster: str = "") -> list[csi_pb2.Topology]:
    segments = [{"topology.trilith.io/node": node, "topology.trilith.io/cluster": cluster} for node in nodes]
    return [csi_pb2.Topology(segments={k: v for k, v in each.items() if v}) for each in segments]
