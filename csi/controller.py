"""The Controller service: volumes as Kubernetes asks for them. Replicas are the control plane's matter."""

from collections.abc import Callable, Iterator

import grpc

from csi.capabilities import parse_capabilities
from csi.capacity import choose_size
from csi.claims import CheckClaim, admit_all
from csi.health import to_volume_health
from csi.identifiers import FILESYSTEM_CONTEXT, READONLY_CONTEXT, parse_volume_id
from csi.identity import Identity
from csi.inspection import Inspection
from csi.making import check_existing, check_filesystem, check_limit, to_request, wants_other_limits
from csi.pages import choose_batch, cut, iterate, parse_max_entries, parse_token
from csi.parameters import change_limits
from csi.requests import parse_attach, parse_create, parse_detach, parse_expand, parse_get_capacity
from csi.topology import find_places, to_message
from csi.v1 import csi_pb2, csi_pb2_grpc
from replication.control.control import Control
from replication.control.volumes import VolumeRequest
from replication.errors import InvalidRequest, NotFound
from replication.model import Attachment, Phase, Volume

DEVICE_CONTEXT = "device"
"""Key in the publish context: the device's path on the node. Nothing secret ever goes there."""

CAPABILITY = csi_pb2.ControllerServiceCapability
CAPABILITIES = (
    CAPABILITY.RPC.CREATE_DELETE_VOLUME,
    CAPABILITY.RPC.PUBLISH_UNPUBLISH_VOLUME,
    CAPABILITY.RPC.LIST_VOLUMES,
    CAPABILITY.RPC.GET_CAPACITY,
    CAPABILITY.RPC.PUBLISH_READONLY,
    CAPABILITY.RPC.EXPAND_VOLUME,
    CAPABILITY.RPC.LIST_VOLUMES_PUBLISHED_NODES,
    CAPABILITY.RPC.GET_VOLUME,
    CAPABILITY.RPC.SINGLE_NODE_MULTI_WRITER,
    CAPABILITY.RPC.MODIFY_VOLUME,
    CAPABILITY.RPC.GET_VOLUME_HEALTH,
    CAPABILITY.RPC.LIST_VOLUME_HEALTH,
)


class Controller(csi_pb2_grpc.ControllerServicer):
    """Any number of instances may serve one cluster: the store decides who was first."""

    def __init__(self, control: Control, check_claim: CheckClaim = admit_all) -> None:
        self._control = control
        self._check_claim = check_claim
        self._cluster = control.store.cluster()
        self._inspection = Inspection(control)

    def ControllerGetCapabilities(
        self, request: csi_pb2.ControllerGetCapabilitiesRequest, context: grpc.ServicerContext
    ) -> csi_pb2.ControllerGetCapabilitiesResponse:
        capabilities = [CAPABILITY(rpc=CAPABILITY.RPC(type=kind)) for kind in CAPABILITIES]
        return csi_pb2.ControllerGetCapabilitiesResponse(capabilities=capabilities)

    def CreateVolume(
        self, request: csi_pb2.CreateVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.CreateVolumeResponse:
        """A claim is looked at before its volume is made, and not again: it may be gone by a repeat.

        Whoever asks takes a refusal for good, and would leave the volume behind instead of deleting it.
        """
        wanted = parse_create(request)

        def ask(existing: Volume | None) -> VolumeRequest:
            if existing is None:
                self._check_claim(request.parameters)
            return to_request(wanted, self._control, existing)

        volume = self._control.volumes.ensure(wanted.name, ask)
        check_existing(volume, wanted, self._control.nodes.list(), self._cluster)
        if wants_other_limits(volume, wanted):
            volume = self._control.volumes.modify(volume.id, lambda _: wanted.storage_class.limits)
        return csi_pb2.CreateVolumeResponse(volume=self._to_message(volume))

    def DeleteVolume(
        self, request: csi_pb2.DeleteVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.DeleteVolumeResponse:
        volume_id = parse_volume_id(request.volume_id)
        if self._exists(volume_id):
            self._control.volumes.delete(volume_id)
        return csi_pb2.DeleteVolumeResponse()

    def ControllerPublishVolume(
        self, request: csi_pb2.ControllerPublishVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.ControllerPublishVolumeResponse:
        wanted = parse_attach(request)
        volume = self._control.volumes.recall(wanted.volume_id)
        check_filesystem(volume, wanted.access)
        device = self._control.volumes.attach(volume.id, wanted.node, readonly=wanted.readonly)
        readonly = {READONLY_CONTEXT: "true"} if wanted.readonly else {}
        return csi_pb2.ControllerPublishVolumeResponse(publish_context={DEVICE_CONTEXT: device, **readonly})

    def ControllerUnpublishVolume(
        self, request: csi_pb2.ControllerUnpublishVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.ControllerUnpublishVolumeResponse:
        wanted = parse_detach(request)
        if self._exists(wanted.volume_id):
            self._control.volumes.detach(wanted.volume_id, wanted.node)
        return csi_pb2.ControllerUnpublishVolumeResponse()

    def ValidateVolumeCapabilities(
        self, request: csi_pb2.ValidateVolumeCapabilitiesRequest, context: grpc.ServicerContext
    ) -> csi_pb2.ValidateVolumeCapabilitiesResponse:
        volume_id = parse_volume_id(request.volume_id)
        if not request.volume_capabilities:
            raise InvalidRequest("volume_capabilities: missing")
        volume = self._control.volumes.get(volume_id)
        try:
            for access in parse_capabilities(request.volume_capabilities):
                check_filesystem(volume, access)
        except InvalidRequest as reason:
            return csi_pb2.ValidateVolumeCapabilitiesResponse(message=str(reason))
        return csi_pb2.ValidateVolumeCapabilitiesResponse(confirmed=_confirm(request))

    def ControllerExpandVolume(
        self, request: csi_pb2.ControllerExpandVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.ControllerExpandVolumeResponse:
        """The agent grows array and file system together, so nothing is left to do on the node.

        What is growing is made to end, as the record has the new size before the array does.
        """
        wanted = parse_expand(request)
        volume = self._control.volumes.get(wanted.volume_id)
        check_limit(volume, wanted.capacity)
        if volume.phase is Phase.EXPANDING or not wanted.capacity.admits(volume.size_bytes):
            volume = self._control.volumes.expand(volume.id, choose_size(wanted.capacity))
        return csi_pb2.ControllerExpandVolumeResponse(
            capacity_bytes=volume.size_bytes, node_expansion_required=False
        )

    def ControllerModifyVolume(
        self, request: csi_pb2.ControllerModifyVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.ControllerModifyVolumeResponse:
        volume_id, wanted = parse_volume_id(request.volume_id), dict(request.mutable_parameters)
        volume = self._control.volumes.get(volume_id)
        change_limits(volume.limits, wanted)  # refused before anything is locked
        self._control.volumes.modify(volume_id, lambda limits: change_limits(limits, wanted))
        return csi_pb2.ControllerModifyVolumeResponse()

    def ListVolumes(
        self, request: csi_pb2.ListVolumesRequest, context: grpc.ServicerContext
    ) -> csi_pb2.ListVolumesResponse:
        count, after = parse_max_entries(request.max_entries), parse_token(request.starting_token)
        volumes = iterate(self._control.volumes.list_page, after, choose_batch(count))
        entries, token = cut(self._make_entries(volumes), count)
        return csi_pb2.ListVolumesResponse(entries=entries, next_token=token)

    def ControllerGetVolume(
        self, request: csi_pb2.ControllerGetVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.ControllerGetVolumeResponse:
        volume = self._get_visible(parse_volume_id(request.volume_id))
        status = csi_pb2.ControllerGetVolumeResponse.VolumeStatus(published_node_ids=_published_on(volume))
        return csi_pb2.ControllerGetVolumeResponse(volume=self._to_message(volume), status=status)

    def GetCapacity(
        self, request: csi_pb2.GetCapacityRequest, context: grpc.ServicerContext
    ) -> csi_pb2.GetCapacityResponse:
        return self._inspection.find_capacity(parse_get_capacity(request))

    def ControllerGetVolumeHealth(
        self, request: csi_pb2.ControllerGetVolumeHealthRequest, context: grpc.ServicerContext
    ) -> csi_pb2.ControllerGetVolumeHealthResponse:
        volume = self._get_visible(parse_volume_id(request.volume_id))
        (_, ailments), *_ = self._inspection.judge_all(iter((volume,)))
        return csi_pb2.ControllerGetVolumeHealthResponse(volume_health=to_volume_health(volume.id, ailments))

    def ControllerListVolumeHealth(
        self, request: csi_pb2.ControllerListVolumeHealthRequest, context: grpc.ServicerContext
    ) -> csi_pb2.ControllerListVolumeHealthResponse:
        """Only of volumes that ail."""
        count, after = parse_max_entries(request.max_entries), parse_token(request.starting_token)
        judged = self._inspection.judge_all(iterate(self._control.volumes.list_page, after))
        ailing = ((v.id, to_volume_health(v.id, ailments)) for v, ailments in judged if ailments)
        entries, token = cut(ailing, count)
        return csi_pb2.ControllerListVolumeHealthResponse(entries=entries, next_token=token)

    def _make_entries(
        self, volumes: Iterator[Volume]
    ) -> Iterator[tuple[str, csi_pb2.ListVolumesResponse.Entry]]:
        for volume in volumes:
            status = csi_pb2.ListVolumesResponse.VolumeStatus(published_node_ids=_published_on(volume))
            yield volume.id, csi_pb2.ListVolumesResponse.Entry(volume=self._to_message(volume), status=status)

    def _get_visible(self, volume_id: str) -> Volume:
        """NotFound also for what is not made yet, or being taken away."""
        volume = self._control.volumes.get(volume_id)
        if volume.phase not in {Phase.READY, Phase.EXPANDING}:
            raise NotFound(f"volume {volume_id} is {volume.phase}")
        return volume

    def _exists(self, volume_id: str) -> bool:
        """Asked first, so that ids that were never ours are not even locked."""
        try:
            self._control.volumes.recall(volume_id)
        except NotFound:
            return False
        return True

    def _to_message(self, volume: Volume) -> csi_pb2.Volume:
        filesystem = dict(volume.parameters).get(FILESYSTEM_CONTEXT)
        return csi_pb2.Volume(
            volume_id=volume.id,
            capacity_bytes=volume.size_bytes,
            volume_context={FILESYSTEM_CONTEXT: filesystem} if filesystem else {},
            accessible_topology=[to_message(place) for place in find_places(volume, self._cluster)],
        )


def register_controller(
    control: Control,
    server: grpc.Server,
    check_claim: CheckClaim = admit_all,
    may_act: Callable[[], bool] = lambda: True,
) -> None:
    """Identity and Controller; ready as soon as the store can be read, and whoever asks `may_act`."""
    identity = Identity(lambda: bool(control.store.cluster()) and may_act())
    csi_pb2_grpc.add_IdentityServicer_to_server(identity, server)
    csi_pb2_grpc.add_ControllerServicer_to_server(Controller(control, check_claim), server)


def _published_on(volume: Volume) -> list[str]:
    attached = volume.attachment in {Attachment.ATTACHED, Attachment.DETACHING}
    return [volume.consumer] if attached and volume.consumer and not volume.upkeep else []


def _confirm(
    request: csi_pb2.ValidateVolumeCapabilitiesRequest,
) -> csi_pb2.ValidateVolumeCapabilitiesResponse.Confirmed:
    """Everything that was asked: what is not understood has been refused before."""
    return csi_pb2.ValidateVolumeCapabilitiesResponse.Confirmed(
        volume_context=request.volume_context,
        volume_capabilities=request.volume_capabilities,
        parameters=request.parameters,
        mutable_parameters=request.mutable_parameters,
    )
