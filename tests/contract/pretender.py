"""A NodeApi that notes what it is told, answers with what it was given, and refuses everything else."""

import queue
from collections.abc import Iterator
from typing import Any

from replication import model
from replication.errors import TrilithError
from replication.peer import Peer, PeerState, PeerVerdict
from replication.traces import Trace, TraceKind
from replication.tuning import Tuning
from replication.usage import VolumeUsage

GROUP = model.VolumeGroup("tri-1", "fast", "/dev/nvme1n1", 10 * model.GIB, 4 * model.GIB)
REPLICA = model.ReplicaFacts("v1", "r0", "tri-1", model.GIB, 3, 7, suspect=True, volatile_cache=False)
ARRAY = model.ArrayReport(
    "v1",
    3,
    7,
    (model.MemberReport("r0", model.MemberHealth.LOST, "timed out", bitmap_covers=True),),
    resync_done=False,
    held_seconds=1.5,
    device="/dev/md/v1",
)
FACTS = model.NodeFacts(
    node="a",
    cluster="red",
    boot_id="b1",
    kernel="6.1.0",
    authentication=True,
    disks=(model.Disk("/dev/sda", "s1", "m1", model.GIB, usable=False, why_not="mounted"),),
    volume_groups=(GROUP,),
    replicas=(REPLICA,),
    arrays=(ARRAY,),
)
TARGET = model.Target("nqn.t", "192.0.2.1", 4420, "nqn.h", "hk", "ck")
USAGE = VolumeUsage(model.AccessType.MOUNT, model.GIB, 1, 2, 3, 4, 5)
AILMENT = model.Ailment(model.AilmentKind.DEGRADED, "ReplicaLost", "replica r1 on node b does not answer")
VERDICT = PeerVerdict("b", PeerState.SILENT)
TRACE = Trace(TraceKind.LOGICAL_VOLUME, "tri-1/v1_r0", "v1", "r0", 3, written=True)
PREPARED = model.Prepared(REPLICA, "b1", TARGET)


class Reports:
    """What one listener gets: the reports put in, until it is closed."""

    def __init__(self, *first: model.ArrayReport) -> None:
        self._queue: queue.SimpleQueue[model.ArrayReport | TrilithError | None] = queue.SimpleQueue()
        for report in first:
            self._queue.put(report)

    def __iter__(self) -> Iterator[model.ArrayReport]:
        return self

    def __next__(self) -> model.ArrayReport:
        item = self._queue.get()
        if item is None:
            self.close()
            raise StopIteration
        if isinstance(item, TrilithError):
            raise item
        return item

    def put(self, item: model.ArrayReport | TrilithError) -> None:
        self._queue.put(item)

    def close(self) -> None:
        self._queue.put(None)


class Pretender:
    """`calls` is what it was told, by method and arguments; `error`, when set, is what every call raises."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.error: Exception | None = None
        self.listeners: queue.SimpleQueue[Reports] = queue.SimpleQueue()
        self.hang: queue.SimpleQueue[None] = queue.SimpleQueue()

    def describe(self, only: str | None = None) -> model.NodeFacts:
        self._note("describe", only)
        return FACTS

    def ensure_disk_pool(self, pool: str, disks: tuple[str, ...]) -> tuple[model.VolumeGroup, ...]:
        self._note("ensure_disk_pool", pool, disks)
        return (GROUP,)

    def remove_disk_pool(self, pool: str) -> None:
        self._note("remove_disk_pool", pool)

    def remove_disk(self, volume_group: str) -> None:
        self._note("remove_disk", volume_group)

    def ensure_replica(self, spec: model.ReplicaSpec) -> model.ReplicaFacts:
        self._note("ensure_replica", spec)
        return REPLICA

    def remove_replica(self, volume_id: str, replica_id: str, known_version: int | None = None) -> None:
        self._note("remove_replica", volume_id, replica_id, known_version)

    def resize_replica(self, volume_id: str, replica_id: str, size_bytes: int) -> model.ReplicaFacts:
        self._note("resize_replica", volume_id, replica_id, size_bytes)
        return REPLICA

    def prepare_replica(self, spec: model.PrepareSpec) -> model.Prepared:
        self._note("prepare_replica", spec)
        return PREPARED

    def release_replica(self, volume_id: str, replica_id: str, epoch: int) -> None:
        self._note("release_replica", volume_id, replica_id, epoch)

    def attach(self, spec: model.AttachSpec) -> str:
        self._note("attach", spec)
        return "/dev/md/v1"

    def detach(self, volume_id: str, epoch: int) -> None:
        self._note("detach", volume_id, epoch)

    def abandon(self, volume_id: str, epoch: int) -> None:
        self._note("abandon", volume_id, epoch)

    def confirm(self, confirmation: model.Confirmation) -> model.ArrayReport:
        self._note("confirm", confirmation)
        return ARRAY

    def rejoin(self, spec: model.RejoinSpec) -> None:
        """Hangs until the test puts something into `hang`."""
        self._note("rejoin", spec)
        self.hang.get()

    def tune(self, volume_id: str, epoch: int, tuning: Tuning) -> None:
        self._note("tune", volume_id, epoch, tuning)

    def scrub(self, volume_id: str, epoch: int, repair: bool) -> None:
        self._note("scrub", volume_id, epoch, repair)

    def set_limits(self, volume_id: str, epoch: int, limits: model.Limits) -> None:
        self._note("set_limits", volume_id, epoch, limits)

    def grow_array(self, volume_id: str, epoch: int, size_bytes: int) -> None:
        self._note("grow_array", volume_id, epoch, size_bytes)

    def watch(self) -> Reports:
        self._note("watch")
        reports = Reports(ARRAY)
        self.listeners.put(reports)
        return reports

    def stage(self, spec: model.StageSpec) -> None:
        self._note("stage", spec)

    def unstage(self, volume_id: str, path: str) -> None:
        self._note("unstage", volume_id, path)

    def publish(self, spec: model.PublishSpec) -> None:
        self._note("publish", spec)

    def unpublish(self, volume_id: str, path: str) -> None:
        self._note("unpublish", volume_id, path)

    def measure(self, volume_id: str, path: str) -> VolumeUsage:
        self._note("measure", volume_id, path)
        return USAGE

    def expand_staged(self, volume_id: str, path: str, size_bytes: int) -> int:
        self._note("expand_staged", volume_id, path, size_bytes)
        return size_bytes

    def examine_volume(self, volume_id: str, paths: tuple[str, ...]) -> tuple[model.Ailment, ...]:
        self._note("examine_volume", volume_id, paths)
        return (AILMENT,)

    def examine_storage(self) -> tuple[model.Ailment, ...]:
        self._note("examine_storage")
        return (AILMENT,)

    def probe(self, peers: tuple[Peer, ...]) -> tuple[PeerVerdict, ...]:
        self._note("probe", peers)
        return (VERDICT,)

    def list_traces(self) -> tuple[Trace, ...]:
        self._note("list_traces")
        return (TRACE,)

    def remove_trace(self, trace: Trace) -> None:
        self._note("remove_trace", trace)

    def _note(self, *call: object) -> None:
        if self.error is not None:
            raise self.error
        self.calls.append(call)
