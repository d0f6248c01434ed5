"""A node, reached over the network: NodeApi over mutual TLS, one call for one call, without retries."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from google.protobuf.message import Message

from replication import model
from replication.identities import Source
from replication.peer import Peer, PeerVerdict
from replication.rpc.convert import from_message, to_message
from replication.rpc.v1 import node_pb2 as pb
from replication.rpc.wire import Stream, Wire
from replication.traces import Trace
from replication.tuning import Tuning
from replication.usage import VolumeUsage

TIMEOUTS: Mapping[str, float] = MappingProxyType(
    {
        "Describe": 5,
        "EnsureDiskPool": 60,
        "RemoveDiskPool": 60,
        "RemoveDisk": 60,
        "EnsureReplica": 120,  # old bytes may have to be wiped
        "RemoveReplica": 60,
        "ResizeReplica": 120,
        "PrepareReplica": 20,  # longer than a busy node is waited for
        "ReleaseReplica": 10,
        "Attach": 60,
        "Detach": 60,  # flushes
        "Abandon": 30,
        "Confirm": 10,
        "Rejoin": 60,
        "SetLimits": 10,
        "Tune": 10,
        "Scrub": 10,
        "GrowArray": 60,
        "Stage": 120,  # makes or checks a file system
        "Unstage": 60,
        "Publish": 30,
        "Unpublish": 30,
        "Measure": 10,
        "ExpandStaged": 120,  # grows a file system
        "ExamineVolume": 10,
        "ExamineStorage": 10,
        "Probe": 3,  # longer than a silent peer is waited for
        "ListTraces": 60,  # LVM is asked anew
        "RemoveTrace": 60,
    }
)
"""Seconds, by method of the service."""


class NodeClient:
    """NodeApi of `node`. Threads may share it. Close it when the node is no longer of interest."""

    def __init__(
        self,
        node: model.Node,
        source: Source,
        timeouts: Mapping[str, float] = TIMEOUTS,
        *,
        wire: Wire | None = None,
    ) -> None:
        self.node = node
        self._source = source
        self._timeouts = timeouts
        self._wire = wire or Wire(node, source)

    def with_deadline(self, seconds: float) -> "NodeClient":
        """Of the same connection, every call but `watch` ending after `seconds`."""
        timeouts = dict.fromkeys(self._timeouts, seconds)
        return NodeClient(self.node, self._source, timeouts, wire=self._wire)

    def close(self) -> None:
        """End the connection, and with it the calls and watches under way, also those of copies."""
        self._wire.close()

    def __enter__(self) -> "NodeClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def describe(self, only: str | None = None) -> model.NodeFacts:
        return from_message(self._call("Describe", pb.DescribeRequest(only=only)), model.NodeFacts)

    def ensure_disk_pool(self, pool: str, disks: tuple[str, ...]) -> tuple[model.VolumeGroup, ...]:
        answer = self._call("EnsureDiskPool", pb.EnsureDiskPoolRequest(pool=pool, disks=disks))
        return tuple(from_message(group, model.VolumeGroup) for group in answer.volume_groups)

    def remove_disk_pool(self, pool: str) -> None:
        self._call("RemoveDiskPool", pb.RemoveDiskPoolRequest(pool=pool))

    def remove_disk(self, volume_group: str) -> None:
        self._call("RemoveDisk", pb.RemoveDiskRequest(volume_group=volume_group))

    def ensure_replica(self, spec: model.ReplicaSpec) -> model.ReplicaFacts:
        return from_message(self._call("EnsureReplica", to_message(spec, pb.ReplicaSpec)), model.ReplicaFacts)

    def remove_replica(self, volume_id: str, replica_id: str, known_version: int | None = None) -> None:
        request = pb.RemoveReplicaRequest(
            volume_id=volume_id, replica_id=replica_id, known_version=known_version
        )
        self._call("RemoveReplica", request)

    def resize_replica(self, volume_id: str, replica_id: str, size_bytes: int) -> model.ReplicaFacts:
        request = pb.ResizeReplicaRequest(volume_id=volume_id, replica_id=replica_id, size_bytes=size_bytes)
        return from_message(self._call("ResizeReplica", request), model.ReplicaFacts)

    def prepare_replica(self, spec: model.PrepareSpec) -> model.Prepared:
        return from_message(self._call("PrepareReplica", to_message(spec, pb.PrepareSpec)), model.Prepared)

    def release_replica(self, volume_id: str, replica_id: str, epoch: int) -> None:
        request = pb.ReleaseReplicaRequest(volume_id=volume_id, replica_id=replica_id, epoch=epoch)
        self._call("ReleaseReplica", request)

    def attach(self, spec: model.AttachSpec) -> str:
        return str(self._call("Attach", to_message(spec, pb.AttachSpec)).device)

    def detach(self, volume_id: str, epoch: int) -> None:
        self._call("Detach", pb.DetachRequest(volume_id=volume_id, epoch=epoch))

    def abandon(self, volume_id: str, epoch: int) -> None:
        self._call("Abandon", pb.AbandonRequest(volume_id=volume_id, epoch=epoch))

    def confirm(self, confirmation: model.Confirmation) -> model.ArrayReport:
        return from_message(
            self._call("Confirm", to_message(confirmation, pb.Confirmation)), model.ArrayReport
        )

    def rejoin(self, spec: model.RejoinSpec) -> None:
        self._call("Rejoin", to_message(spec, pb.RejoinSpec))

    def tune(self, volume_id: str, epoch: int, tuning: Tuning) -> None:
        wanted = to_message(tuning, pb.Tuning)
        self._call("Tune", pb.TuneRequest(volume_id=volume_id, epoch=epoch, tuning=wanted))

    def scrub(self, volume_id: str, epoch: int, repair: bool) -> None:
        self._call("Scrub", pb.ScrubRequest(volume_id=volume_id, epoch=epoch, repair=repair))

    def set_limits(self, volume_id: str, epoch: int, limits: model.Limits) -> None:
        wanted = to_message(limits, pb.Limits)
        self._call("SetLimits", pb.SetLimitsRequest(volume_id=volume_id, epoch=epoch, limits=wanted))

    def grow_array(self, volume_id: str, epoch: int, size_bytes: int) -> None:
        self._call("GrowArray", pb.GrowArrayRequest(volume_id=volume_id, epoch=epoch, size_bytes=size_bytes))

    def watch(self) -> Stream:
        """Until it is closed; raise Unavailable when the connection breaks or the server ends it."""
        return Stream(self._wire)

    def stage(self, spec: model.StageSpec) -> None:
        self._call("Stage", to_message(spec, pb.StageSpec))

    def unstage(self, volume_id: str, path: str) -> None:
        self._call("Unstage", pb.UnstageRequest(volume_id=volume_id, path=path))

    def publish(self, spec: model.PublishSpec) -> None:
        self._call("Publish", to_message(spec, pb.PublishSpec))

    def unpublish(self, volume_id: str, path: str) -> None:
        self._call("Unpublish", pb.UnpublishRequest(volume_id=volume_id, path=path))

    def measure(self, volume_id: str, path: str) -> VolumeUsage:
        request = pb.MeasureRequest(volume_id=volume_id, path=path)
        return from_message(self._call("Measure", request), VolumeUsage)

    def expand_staged(self, volume_id: str, path: str, size_bytes: int) -> int:
        request = pb.ExpandStagedRequest(volume_id=volume_id, path=path, size_bytes=size_bytes)
        return int(self._call("ExpandStaged", request).size_bytes)

    def examine_volume(self, volume_id: str, paths: tuple[str, ...]) -> tuple[model.Ailment, ...]:
        return self._ailments("ExamineVolume", pb.ExamineVolumeRequest(volume_id=volume_id, paths=paths))

    def examine_storage(self) -> tuple[model.Ailment, ...]:
        return self._ailments("ExamineStorage", pb.ExamineStorageRequest())

    def probe(self, peers: tuple[Peer, ...]) -> tuple[PeerVerdict, ...]:
        request = pb.ProbeRequest(peers=[to_message(peer, pb.Peer) for peer in peers])
        found = self._call("Probe", request).verdicts
        return tuple(from_message(verdict, PeerVerdict) for verdict in found)

    def list_traces(self) -> tuple[Trace, ...]:
        found = self._call("ListTraces", pb.ListTracesRequest()).traces
        return tuple(from_message(trace, Trace) for trace in found)

    def remove_trace(self, trace: Trace) -> None:
        self._call("RemoveTrace", to_message(trace, pb.Trace))

    def _ailments(self, method: str, request: Message) -> tuple[model.Ailment, ...]:
        found = self._call(method, request).ailments
        return tuple(from_message(ailment, model.Ailment) for ailment in found)

    def _call(self, method: str, request: Message) -> Any:  # noqa: ANN401  each method knows its answer
        return self._wire.call(method, request, self._timeouts[method])
