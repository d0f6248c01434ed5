"""The node's service: each method takes its message apart, asks the NodeApi, and puts the answer together."""

from collections.abc import Iterator
from threading import BoundedSemaphore

import grpc

from replication.errors import Conflict
from replication.model import (
    Ailment,
    AttachSpec,
    Confirmation,
    Limits,
    PrepareSpec,
    PublishSpec,
    RejoinSpec,
    ReplicaSpec,
    StageSpec,
)
from replication.peer import Peer
from replication.rpc.contract import NodeApi, Reports
from replication.rpc.convert import from_message, to_message
from replication.rpc.v1 import node_pb2 as pb
from replication.rpc.v1.node_pb2_grpc import NodeServicer
from replication.traces import Trace
from replication.tuning import Tuning

LISTENERS = 8
"""Each open watch holds a thread: a bound, so that listeners alone cannot make a node deaf."""


class NodeService(NodeServicer):
    """Errors pass through it; replication.rpc.edge turns them into statuses."""

    def __init__(self, api: NodeApi) -> None:
        self._api = api
        self._listeners = BoundedSemaphore(LISTENERS)

    def Describe(self, request: pb.DescribeRequest, context: grpc.ServicerContext) -> pb.NodeFacts:
        only = request.only if request.HasField("only") else None
        return to_message(self._api.describe(only), pb.NodeFacts)

    def EnsureDiskPool(
        self, request: pb.EnsureDiskPoolRequest, context: grpc.ServicerContext
    ) -> pb.EnsureDiskPoolResponse:
        groups = self._api.ensure_disk_pool(request.pool, tuple(request.disks))
        return pb.EnsureDiskPoolResponse(
            volume_groups=[to_message(group, pb.VolumeGroup) for group in groups]
        )

    def RemoveDiskPool(
        self, request: pb.RemoveDiskPoolRequest, context: grpc.ServicerContext
    ) -> pb.RemoveDiskPoolResponse:
        self._api.remove_disk_pool(request.pool)
        return pb.RemoveDiskPoolResponse()

    def RemoveDisk(
        self, request: pb.RemoveDiskRequest, context: grpc.ServicerContext
    ) -> pb.RemoveDiskResponse:
        self._api.remove_disk(request.volume_group)
        return pb.RemoveDiskResponse()

    def EnsureReplica(self, request: pb.ReplicaSpec, context: grpc.ServicerContext) -> pb.ReplicaFacts:
        return to_message(self._api.ensure_replica(from_message(request, ReplicaSpec)), pb.ReplicaFacts)

    def RemoveReplica(
        self, request: pb.RemoveReplicaRequest, context: grpc.ServicerContext
    ) -> pb.RemoveReplicaResponse:
        known = request.known_version if request.HasField("known_version") else None
        self._api.remove_replica(request.volume_id, request.replica_id, known)
        return pb.RemoveReplicaResponse()

    def ResizeReplica(
        self, request: pb.ResizeReplicaRequest, context: grpc.ServicerContext
    ) -> pb.ReplicaFacts:
        facts = self._api.resize_replica(request.volume_id, request.replica_id, request.size_bytes)
        return to_message(facts, pb.ReplicaFacts)

    def PrepareReplica(self, request: pb.PrepareSpec, context: grpc.ServicerContext) -> pb.Prepared:
        return to_message(self._api.prepare_replica(from_message(request, PrepareSpec)), pb.Prepared)

    def ReleaseReplica(
        self, request: pb.ReleaseReplicaRequest, context: grpc.ServicerContext
    ) -> pb.ReleaseReplicaResponse:
        self._api.release_replica(request.volume_id, request.replica_id, request.epoch)
        return pb.ReleaseReplicaResponse()

    def Attach(self, request: pb.AttachSpec, context: grpc.ServicerContext) -> pb.AttachResponse:
        return pb.AttachResponse(device=self._api.attach(from_message(request, AttachSpec)))

    def Detach(self, request: pb.DetachRequest, context: grpc.ServicerContext) -> pb.DetachResponse:
        self._api.detach(request.volume_id, request.epoch)
        return pb.DetachResponse()

    def Abandon(self, request: pb.AbandonRequest, context: grpc.ServicerContext) -> pb.AbandonResponse:
        self._api.abandon(request.volume_id, request.epoch)
        return pb.AbandonResponse()

    def Confirm(self, request: pb.Confirmation, context: grpc.ServicerContext) -> pb.ArrayReport:
        return to_message(self._api.confirm(from_message(request, Confirmation)), pb.ArrayReport)

    def Rejoin(self, request: pb.RejoinSpec, context: grpc.ServicerContext) -> pb.RejoinResponse:
        self._api.rejoin(from_message(request, RejoinSpec))
        return pb.RejoinResponse()

    def Tune(self, request: pb.TuneRequest, context: grpc.ServicerContext) -> pb.TuneResponse:
        self._api.tune(request.volume_id, request.epoch, from_message(request.tuning, Tuning))
        return pb.TuneResponse()

    def Scrub(self, request: pb.ScrubRequest, context: grpc.ServicerContext) -> pb.ScrubResponse:
        self._api.scrub(request.volume_id, request.epoch, request.repair)
        return pb.ScrubResponse()

    def SetLimits(self, request: pb.SetLimitsRequest, context: grpc.ServicerContext) -> pb.SetLimitsResponse:
        limits = from_message(request.limits, Limits)
        self._api.set_limits(request.volume_id, request.epoch, limits)
        return pb.SetLimitsResponse()

    def GrowArray(self, request: pb.GrowArrayRequest, context: grpc.ServicerContext) -> pb.GrowArrayResponse:
        self._api.grow_array(request.volume_id, request.epoch, request.size_bytes)
        return pb.GrowArrayResponse()

    def Watch(self, request: pb.WatchRequest, context: grpc.ServicerContext) -> Iterator[pb.ArrayReport]:
        if not self._listeners.acquire(blocking=False):
            raise Conflict(f"{LISTENERS} listeners watch this node already")
        try:
            yield from self._watch(self._api.watch(), context)
        finally:
            self._listeners.release()

    def Stage(self, request: pb.StageSpec, context: grpc.ServicerContext) -> pb.StageResponse:
        self._api.stage(from_message(request, StageSpec))
        return pb.StageResponse()

    def Unstage(self, request: pb.UnstageRequest, context: grpc.ServicerContext) -> pb.UnstageResponse:
        self._api.unstage(request.volume_id, request.path)
        return pb.UnstageResponse()

    def Publish(self, request: pb.PublishSpec, context: grpc.ServicerContext) -> pb.PublishResponse:
        self._api.publish(from_message(request, PublishSpec))
        return pb.PublishResponse()

    def Unpublish(self, request: pb.UnpublishRequest, context: grpc.ServicerContext) -> pb.UnpublishResponse:
        self._api.unpublish(request.volume_id, request.path)
        return pb.UnpublishResponse()

    def Measure(self, request: pb.MeasureRequest, context: grpc.ServicerContext) -> pb.VolumeUsage:
        return to_message(self._api.measure(request.volume_id, request.path), pb.VolumeUsage)

    def ExpandStaged(
        self, request: pb.ExpandStagedRequest, context: grpc.ServicerContext
    ) -> pb.ExpandStagedResponse:
        size = self._api.expand_staged(request.volume_id, request.path, request.size_bytes)
        return pb.ExpandStagedResponse(size_bytes=size)

    def ExamineVolume(self, request: pb.ExamineVolumeRequest, context: grpc.ServicerContext) -> pb.Ailments:
        return _to_ailments(self._api.examine_volume(request.volume_id, tuple(request.paths)))

    def ExamineStorage(self, request: pb.ExamineStorageRequest, context: grpc.ServicerContext) -> pb.Ailments:
        return _to_ailments(self._api.examine_storage())

    def Probe(self, request: pb.ProbeRequest, context: grpc.ServicerContext) -> pb.ProbeResponse:
        found = self._api.probe(tuple(from_message(peer, Peer) for peer in request.peers))
        return pb.ProbeResponse(verdicts=[to_message(verdict, pb.PeerVerdict) for verdict in found])

    def ListTraces(
        self, request: pb.ListTracesRequest, context: grpc.ServicerContext
    ) -> pb.ListTracesResponse:
        return pb.ListTracesResponse(traces=[to_message(t, pb.Trace) for t in self._api.list_traces()])

    def RemoveTrace(self, request: pb.Trace, context: grpc.ServicerContext) -> pb.RemoveTraceResponse:
        self._api.remove_trace(from_message(request, Trace))
        return pb.RemoveTraceResponse()

    @staticmethod
    def _watch(reports: Reports, context: grpc.ServicerContext) -> Iterator[pb.ArrayReport]:
        """Nobody would tell the thread that waits for the next report that its listener is gone."""
        try:
            if context.add_callback(reports.close):
                for report in reports:
                    yield to_message(report, pb.ArrayReport)
        finally:
            reports.close()


def _to_ailments(found: tuple[Ailment, ...]) -> pb.Ailments:
    return pb.Ailments(ailments=[to_message(ailment, pb.Ailment) for ailment in found])
