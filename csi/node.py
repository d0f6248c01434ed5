"""The Node service: passes what Kubernetes wants of this node's paths to this node's agent."""

from contextlib import suppress

import grpc

from csi.capabilities import parse_capability
from csi.capacity import parse_capacity_range
from csi.health import to_storage_health, to_volume_health
from csi.identifiers import parse_path, parse_volume_id, parse_volume_path
from csi.identity import Identity
from csi.node_requests import parse_publish, parse_stage
from csi.topology import place_of_node, to_message
from csi.v1 import csi_pb2, csi_pb2_grpc
from replication.clock import Clock, SystemClock
from replication.errors import FailedPrecondition, Unavailable
from replication.model import AccessType, NodeFacts
from replication.rpc.contract import NodeApi
from replication.usage import VolumeUsage

START_SECONDS = 60.0
"""For an agent that starts beside us; the kubelet waits for two minutes."""
START_INTERVAL = 0.5

CAPABILITY = csi_pb2.NodeServiceCapability
CAPABILITIES = (
    CAPABILITY.RPC.STAGE_UNSTAGE_VOLUME,
    CAPABILITY.RPC.GET_VOLUME_STATS,
    CAPABILITY.RPC.EXPAND_VOLUME,
    CAPABILITY.RPC.SINGLE_NODE_MULTI_WRITER,
    CAPABILITY.RPC.VOLUME_MOUNT_GROUP,
    CAPABILITY.RPC.GET_VOLUME_HEALTH,
    CAPABILITY.RPC.GET_STORAGE_HEALTH,
)


class Node(csi_pb2_grpc.NodeServicer):
    """One instance per node. It keeps nothing: the agent's kernel is what is true."""

    def __init__(self, agent: NodeApi, name: str, clock: Clock | None = None) -> None:
        self._agent = agent
        self._name = name
        self._clock = clock or SystemClock()

    def NodeGetCapabilities(
        self, request: csi_pb2.NodeGetCapabilitiesRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeGetCapabilitiesResponse:
        capabilities = [CAPABILITY(rpc=CAPABILITY.RPC(type=kind)) for kind in CAPABILITIES]
        return csi_pb2.NodeGetCapabilitiesResponse(capabilities=capabilities)

    def NodeGetInfo(
        self, request: csi_pb2.NodeGetInfoRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeGetInfoResponse:
        facts = self._wait_for_agent()
        if facts.node != self._name:
            raise FailedPrecondition(f"node {self._name!r}: the agent here calls itself {facts.node!r}")
        place = place_of_node(self._name, facts.cluster)
        return csi_pb2.NodeGetInfoResponse(node_id=self._name, accessible_topology=to_message(place))

    def _wait_for_agent(self) -> NodeFacts:
        """A kubelet that registers us asks once; if that fails, it takes a while until it asks again."""
        deadline = self._clock.now() + START_SECONDS
        while self._clock.now() < deadline:
            with suppress(Unavailable):
                return self._agent.describe()
            self._clock.sleep(START_INTERVAL)
        return self._agent.describe()

    def NodeStageVolume(
        self, request: csi_pb2.NodeStageVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeStageVolumeResponse:
        self._agent.stage(parse_stage(request))
        return csi_pb2.NodeStageVolumeResponse()

    def NodeUnstageVolume(
        self, request: csi_pb2.NodeUnstageVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeUnstageVolumeResponse:
        volume_id = parse_volume_id(request.volume_id)
        self._agent.unstage(volume_id, parse_path(request.staging_target_path, "staging_target_path"))
        return csi_pb2.NodeUnstageVolumeResponse()

    def NodePublishVolume(
        self, request: csi_pb2.NodePublishVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodePublishVolumeResponse:
        self._agent.publish(parse_publish(request))
        return csi_pb2.NodePublishVolumeResponse()

    def NodeUnpublishVolume(
        self, request: csi_pb2.NodeUnpublishVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeUnpublishVolumeResponse:
        volume_id = parse_volume_id(request.volume_id)
        self._agent.unpublish(volume_id, parse_path(request.target_path, "target_path"))
        return csi_pb2.NodeUnpublishVolumeResponse()

    def NodeGetVolumeStats(
        self, request: csi_pb2.NodeGetVolumeStatsRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeGetVolumeStatsResponse:
        volume_id = parse_volume_id(request.volume_id)
        usage = self._agent.measure(volume_id, parse_volume_path(request.volume_path))
        return csi_pb2.NodeGetVolumeStatsResponse(usage=_to_usage(usage))

    def NodeExpandVolume(
        self, request: csi_pb2.NodeExpandVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeExpandVolumeResponse:
        """Mostly there is nothing left to do: a mounted file system has grown with its array."""
        volume_id, path = parse_volume_id(request.volume_id), parse_volume_path(request.volume_path)
        capacity = parse_capacity_range(request.capacity_range)
        if request.HasField("volume_capability"):
            parse_capability(request.volume_capability)
        size = self._agent.expand_staged(volume_id, path, capacity.required_bytes)
        return csi_pb2.NodeExpandVolumeResponse(capacity_bytes=size)

    def NodeGetVolumeHealth(
        self, request: csi_pb2.NodeGetVolumeHealthRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeGetVolumeHealthResponse:
        volume_id = parse_volume_id(request.volume_id)
        given = (request.staging_target_path, request.volume_publish_path)
        paths = tuple(parse_volume_path(path) for path in given if path)
        health = to_volume_health(volume_id, self._agent.examine_volume(volume_id, paths))
        return csi_pb2.NodeGetVolumeHealthResponse(volume_health=health)

    def NodeGetStorageHealth(
        self, request: csi_pb2.NodeGetStorageHealthRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeGetStorageHealthResponse:
        return to_storage_health(self._agent.examine_storage())


def register_node(agent: NodeApi, name: str, server: grpc.Server, clock: Clock | None = None) -> None:
    """Identity and Node. Ready without an agent: a liveness probe would end us for the want of another."""
    csi_pb2_grpc.add_IdentityServicer_to_server(Identity(lambda: True), server)
    csi_pb2_grpc.add_NodeServicer_to_server(Node(agent, name, clock), server)


def _to_usage(usage: VolumeUsage) -> list[csi_pb2.VolumeUsage]:
    if usage.access is AccessType.BLOCK:
        return [csi_pb2.VolumeUsage(unit=csi_pb2.VolumeUsage.BYTES, total=usage.total_bytes)]
    return [
        csi_pb2.VolumeUsage(
            unit=csi_pb2.VolumeUsage.BYTES,
            total=usage.total_bytes,
            used=usage.used_bytes,
            available=usage.available_bytes,
        ),
        csi_pb2.VolumeUsage(
            unit=csi_pb2.VolumeUsage.INODES,
            total=usage.total_inodes,
            used=usage.used_inodes,
            available=usage.available_inodes,
        ),
    ]
