"""What an orchestrator does with a volume, as CSI calls."""

from csi.v1 import csi_pb2, csi_pb2_grpc
from hack.lab.site import Site
from hack.lab.vm import Machine

TIMEOUT = 120.0
PODS = "/run/pods"
TARGET = f"{PODS}/target"

_CAPABILITY = csi_pb2.VolumeCapability(
    mount=csi_pb2.VolumeCapability.MountVolume(fs_type="ext4"),
    access_mode=csi_pb2.VolumeCapability.AccessMode(
        mode=csi_pb2.VolumeCapability.AccessMode.SINGLE_NODE_WRITER
    ),
)


class Orchestrator:
    """Calls the controller plugin and the node plugins of a site."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._controller = site.controller()
        self._plugins: dict[str, csi_pb2_grpc.NodeStub] = {}

    def create(self, name: str, pool: str, size_bytes: int) -> str:
        """The id of a new volume with as many replicas as the pool says."""
        request = csi_pb2.CreateVolumeRequest(
            name=name,
            capacity_range=csi_pb2.CapacityRange(required_bytes=size_bytes),
            volume_capabilities=[_CAPABILITY],
            parameters={"pool": pool},
        )
        return str(self._controller.CreateVolume(request, timeout=TIMEOUT).volume.volume_id)

    def attach(self, volume_id: str, machine: Machine) -> dict[str, str]:
        """The publish context."""
        request = csi_pb2.ControllerPublishVolumeRequest(
            volume_id=volume_id, node_id=machine.name, volume_capability=_CAPABILITY
        )
        answer = self._controller.ControllerPublishVolume(request, timeout=TIMEOUT)
        return dict(answer.publish_context)

    def mount(self, volume_id: str, machine: Machine, context: dict[str, str], folder: str = PODS) -> None:
        """Staged and published: a file system at `folder`/target."""
        self._plugin(machine).NodeStageVolume(
            csi_pb2.NodeStageVolumeRequest(
                volume_id=volume_id,
                staging_target_path=f"{folder}/staging",
                volume_capability=_CAPABILITY,
                publish_context=context,
            ),
            timeout=TIMEOUT,
        )
        self._plugin(machine).NodePublishVolume(
            csi_pb2.NodePublishVolumeRequest(
                volume_id=volume_id,
                staging_target_path=f"{folder}/staging",
                target_path=f"{folder}/target",
                volume_capability=_CAPABILITY,
                publish_context=context,
            ),
            timeout=TIMEOUT,
        )

    def unmount(self, volume_id: str, machine: Machine, folder: str = PODS) -> None:
        self._plugin(machine).NodeUnpublishVolume(
            csi_pb2.NodeUnpublishVolumeRequest(volume_id=volume_id, target_path=f"{folder}/target"),
            timeout=TIMEOUT,
        )
        self._plugin(machine).NodeUnstageVolume(
            csi_pb2.NodeUnstageVolumeRequest(volume_id=volume_id, staging_target_path=f"{folder}/staging"),
            timeout=TIMEOUT,
        )

    def detach(self, volume_id: str, machine: Machine) -> None:
        """Also from a machine that is dead: then its attachment is fenced."""
        request = csi_pb2.ControllerUnpublishVolumeRequest(volume_id=volume_id, node_id=machine.name)
        self._controller.ControllerUnpublishVolume(request, timeout=TIMEOUT)

    def expand(self, volume_id: str, size_bytes: int) -> int:
        """The new size in bytes."""
        request = csi_pb2.ControllerExpandVolumeRequest(
            volume_id=volume_id,
            capacity_range=csi_pb2.CapacityRange(required_bytes=size_bytes),
            volume_capability=_CAPABILITY,
        )
        return int(self._controller.ControllerExpandVolume(request, timeout=TIMEOUT).capacity_bytes)

    def modify(self, volume_id: str, **parameters: str) -> None:
        request = csi_pb2.ControllerModifyVolumeRequest(volume_id=volume_id, mutable_parameters=parameters)
        self._controller.ControllerModifyVolume(request, timeout=TIMEOUT)

    def delete(self, volume_id: str) -> None:
        self._controller.DeleteVolume(csi_pb2.DeleteVolumeRequest(volume_id=volume_id), timeout=TIMEOUT)

    def _plugin(self, machine: Machine) -> csi_pb2_grpc.NodeStub:
        if machine.name not in self._plugins:
            self._plugins[machine.name] = self._site.node_plugin(machine)
        return self._plugins[machine.name]
