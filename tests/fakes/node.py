"""Nodes that behave, in memory: logical volumes with headers, exports, arrays; they refuse the unexpected.

cluster = FakeCluster(["a", "b", "c"])
control = build_control(MemoryStore(cluster.name), cluster.connect, SystemClock())
cluster.add_to(control)
cluster.node("a").silent = True                 # does not answer any more
cluster.node("a").boot()                        # power went: arrays and exports are gone
"""

from dataclasses import dataclass, field, replace

from replication.control.control import Control
from replication.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    OutOfRange,
    StaleEpoch,
    Unavailable,
    Unsupported,
)
from replication.model import (
    GIB,
    AccessType,
    Ailment,
    AilmentKind,
    ArrayReport,
    AttachSpec,
    Confirmation,
    Consumer,
    Limits,
    Member,
    MemberHealth,
    MemberReport,
    Node,
    NodeFacts,
    Prepared,
    PrepareSpec,
    PublishSpec,
    RejoinSpec,
    StageSpec,
    Target,
)
from replication.peer import Peer, PeerState, PeerVerdict
from replication.traces import Trace, TraceKind
from replication.tuning import Tuning
from replication.usage import VolumeUsage
from tests.fakes.arrays import WATCH_POLL, FakeArray, FakeExport, FakeReports, confirmed, is_local
from tests.fakes.disks import FakeDisks, Key


@dataclass(kw_only=True)
class FakeNode(FakeDisks):
    """NodeApi of one machine."""

    cluster: "FakeCluster"
    authentication: bool = True
    boots: int = 1
    deaf: bool = False
    staged: dict[Key, StageSpec] = field(default_factory=dict)  # (volume, path)
    published: dict[Key, PublishSpec] = field(default_factory=dict)
    has_workloads: bool = True
    watch_poll: float = WATCH_POLL
    limits: dict[str, Limits] = field(default_factory=dict)
    rejoined: list[RejoinSpec] = field(default_factory=list)
    strays: list[Trace] = field(default_factory=list)  # made by hand
    used_strays: set[str] = field(default_factory=set)  # names of those that somebody has open
    _listeners: list[FakeReports] = field(default_factory=list)

    @property
    def boot_id(self) -> str:
        return f"boot-{self.name}-{self.boots}"

    # What tests do to it

    def boot(self) -> None:
        """Power went and came back: what is on disks stays, the kernel forgets the rest."""
        self.boots += 1
        self.silent = False
        for held in (self.exports, self.ready, self.arrays, self.staged, self.published):
            held.clear()

    def set_health(self, volume_id: str, replica_id: str, health: MemberHealth, covers: bool = False) -> None:
        array = self.arrays[volume_id]
        array.members[replica_id] = MemberReport(replica_id, health, "by the test", covers)
        self._publish_report(array)

    def finish_resync(self, volume_id: str) -> None:
        self.arrays[volume_id].resync_done = True
        self._publish_report(self.arrays[volume_id])

    # NodeApi

    def describe(self, only: str | None = None) -> NodeFacts:
        self._called("describe" if only is None else "sketch")
        return NodeFacts(
            node=self.name,
            cluster=self.cluster.name,
            boot_id=self.boot_id,
            kernel="6.12.0-fake",
            authentication=self.authentication,
            disks=self._disks(),
            volume_groups=self._groups(),
            replicas=tuple(self._facts(key) for key in sorted(self.replicas)) if only is None else (),
            arrays=tuple(array.report() for key, array in self.arrays.items() if only in {None, key}),
        )

    def prepare_replica(self, spec: PrepareSpec) -> Prepared:
        self._called("prepare_replica")
        key = (spec.volume_id, spec.replica_id)
        with self._mutex:
            self._raise_epoch(key, spec.epoch, spec.record_version, spec.marked)
            array = self.arrays.get(spec.volume_id)
            if array is not None and array.spec.epoch < spec.epoch and is_local(array, spec.replica_id):
                raise FailedPrecondition(f"array of epoch {array.spec.epoch} on {self.name} holds {key}")
            self.exports.pop(key, None)
            target = None if spec.consumer is None else self._export(key, spec.epoch, spec.consumer)
        return Prepared(self._facts(key), self.boot_id, target)

    def release_replica(self, volume_id: str, replica_id: str, epoch: int) -> None:
        self._called("release_replica")
        export = self.exports.get((volume_id, replica_id))
        if export is not None and export.epoch <= epoch:
            del self.exports[volume_id, replica_id]

    def attach(self, spec: AttachSpec) -> str:
        self._called("attach")
        present = self.arrays.get(spec.volume_id)
        if present is not None and present.spec.epoch != spec.epoch:
            raise FailedPrecondition(f"an array of epoch {present.spec.epoch} is there")
        if present is None:
            for member in spec.members:
                self._reach(spec.volume_id, member, spec.epoch)
            members = {m.replica_id: MemberReport(m.replica_id, MemberHealth.GOOD) for m in spec.members}
            array = FakeArray(spec, members, spec.size_bytes, spec.record_version, not spec.resync)
            self.arrays[spec.volume_id] = array
            self._publish_report(array)
        return self.arrays[spec.volume_id].device

    def detach(self, volume_id: str, epoch: int) -> None:
        self._called("detach")
        array = self.arrays.get(volume_id)
        if array is not None and array.spec.epoch <= epoch:
            if array.in_use or any(key[0] == volume_id for key in self.staged):
                raise FailedPrecondition(f"{array.device} on {self.name} is in use")
            del self.arrays[volume_id]

    def abandon(self, volume_id: str, epoch: int) -> None:
        self._called("abandon")
        array = self.arrays.get(volume_id)
        if array is not None and array.spec.epoch <= epoch:
            del self.arrays[volume_id]
            for key in [key for key in self.staged if key[0] == volume_id]:
                del self.staged[key]

    def confirm(self, confirmation: Confirmation) -> ArrayReport:
        self._called("confirm")
        array = self._array(confirmation.volume_id, confirmation.epoch)
        if confirmation.record_version < array.record_version:
            raise StaleEpoch(f"record version {confirmation.record_version} is older than what is known")
        array.record_version = confirmation.record_version
        array.members = {key: confirmed(member, confirmation) for key, member in array.members.items()}
        return array.report()

    def rejoin(self, spec: RejoinSpec) -> None:
        self._called("rejoin")
        self.rejoined.append(spec)
        array = self._array(spec.volume_id, spec.epoch)
        if spec.record_version < array.record_version:
            raise StaleEpoch(f"record version {spec.record_version} is older than what is known")
        health = array.members.get(spec.member.replica_id, None)
        if health is not None and health.health is not MemberHealth.DROPPED:
            raise FailedPrecondition(f"member {spec.member.replica_id} is {health.health}")
        if array.count_members() >= array.slots:
            raise FailedPrecondition(f"{array.device} has all of its {array.slots} members")
        self._reach(spec.volume_id, spec.member, spec.epoch)
        array.record_version = max(array.record_version, spec.record_version)
        self.set_health(spec.volume_id, spec.member.replica_id, MemberHealth.RECOVERING)

    def grow_array(self, volume_id: str, epoch: int, size_bytes: int) -> None:
        self._called("grow_array")
        array = self._array(volume_id, epoch)
        for replica_id, member in array.members.items():
            holder = self.cluster.holder(volume_id, replica_id)
            small = holder.replicas[volume_id, replica_id].size_bytes < size_bytes
            if small and member.health is not MemberHealth.DROPPED:
                raise FailedPrecondition(f"member {replica_id} is too small")
        array.size_bytes = size_bytes

    def tune(self, volume_id: str, epoch: int, tuning: Tuning) -> None:
        self._called("tune")
        array = self._array(volume_id, epoch)
        array.tuning = replace(tuning, slots=max(tuning.slots, array.count_members()))

    def scrub(self, volume_id: str, epoch: int, repair: bool) -> None:
        self._called("scrub")
        array = self._array(volume_id, epoch)
        if array.activity != "idle":
            raise FailedPrecondition(f"{array.device} is busy: {array.activity}")
        array.activity = "repair" if repair else "check"

    def set_limits(self, volume_id: str, epoch: int, limits: Limits) -> None:
        self._called("set_limits")
        self._array(volume_id, epoch)
        if not self.has_workloads:
            raise Unsupported(f"{self.name} has no cgroup above all workloads")
        self.limits[volume_id] = limits

    def watch(self) -> FakeReports:
        self._called("watch")
        reports = FakeReports(self, self.watch_poll)
        with self._mutex:
            for array in self.arrays.values():
                reports.queue.put(array.report())
            self._listeners.append(reports)
        return reports

    def stage(self, spec: StageSpec) -> None:
        self._called("stage")
        array = self._local(spec.volume_id)
        if array.spec.readonly and not spec.readonly:
            raise FailedPrecondition(f"volume {spec.volume_id} is attached read-only to {self.name}")
        present = self.staged.setdefault((spec.volume_id, spec.path), spec)
        if present != spec:
            raise AlreadyExists(f"{spec.path} is staged differently")

    def unstage(self, volume_id: str, path: str) -> None:
        self._called("unstage")
        self.staged.pop((volume_id, path), None)

    def publish(self, spec: PublishSpec) -> None:
        self._called("publish")
        if (spec.volume_id, spec.staging_path) not in self.staged:
            raise FailedPrecondition(f"volume {spec.volume_id} is not staged at {spec.staging_path}")
        others = {path for volume, path in self.published if volume == spec.volume_id} - {spec.path}
        if spec.exclusive and others:
            raise FailedPrecondition(f"volume {spec.volume_id} is published at {others} already")
        present = self.published.setdefault((spec.volume_id, spec.path), spec)
        if present != spec:
            raise AlreadyExists(f"{spec.path} is published differently")

    def unpublish(self, volume_id: str, path: str) -> None:
        self._called("unpublish")
        self.published.pop((volume_id, path), None)

    def measure(self, volume_id: str, path: str) -> VolumeUsage:
        self._called("measure")
        size = self._local(volume_id).size_bytes
        access = self._use(volume_id, path)
        if access is AccessType.BLOCK:
            return VolumeUsage(access, size)
        return VolumeUsage(
            access, size, size // 4, size // 2, total_inodes=100, used_inodes=11, available_inodes=89
        )

    def expand_staged(self, volume_id: str, path: str, size_bytes: int) -> int:
        self._called("expand_staged")
        self._use(volume_id, path)
        room = self._local(volume_id).size_bytes
        if room < size_bytes:
            raise OutOfRange(f"the array has {room} bytes, not {size_bytes}")
        return room

    def examine_volume(self, volume_id: str, paths: tuple[str, ...]) -> tuple[Ailment, ...]:
        self._called("examine_volume")
        ailing = [m for m in self._local(volume_id).members.values() if m.health is not MemberHealth.GOOD]
        return tuple(Ailment(AilmentKind.DEGRADED, "ReplicaLost", f"replica {m.replica_id}") for m in ailing)

    def probe(self, peers: tuple[Peer, ...]) -> tuple[PeerVerdict, ...]:
        """Nodes that answer control answer each other; `deaf` hears none of them."""
        self._called("probe")
        return tuple(PeerVerdict(peer.name, self._judge(peer.name)) for peer in peers)

    def _judge(self, peer: str) -> PeerState:
        if not self.deaf and not self.cluster.node(peer).silent:
            self.heard.add(peer)
            return PeerState.ANSWERS
        return PeerState.SILENT if peer in self.heard else PeerState.UNKNOWN

    def list_traces(self) -> tuple[Trace, ...]:
        self._called("list_traces")
        mounts = {**self.staged, **self.published}
        return (
            *self.strays,
            *(Trace(TraceKind.MOUNT, path, volume_id) for volume_id, path in mounts),
            *(
                Trace(TraceKind.ARRAY, f"md_{volume_id}", volume_id, epoch=array.spec.epoch)
                for volume_id, array in self.arrays.items()
            ),
            *(
                Trace(TraceKind.EXPORT, export.nqn, *key, export.epoch)
                for key, export in self.exports.items()
            ),
            *(
                Trace(TraceKind.LOGICAL_VOLUME, "/".join(key), *key, facts.epoch, written=facts.epoch > 0)
                for key, facts in self.replicas.items()
            ),
        )

    def remove_trace(self, trace: Trace) -> None:
        self._called("remove_trace")
        if trace.name in self.used_strays:
            raise FailedPrecondition(f"{trace.kind} {trace.name} is in use")
        if trace in self.strays:
            self.strays.remove(trace)
        elif trace.kind is TraceKind.LOGICAL_VOLUME:
            self.remove_replica(trace.volume_id, trace.replica_id)
        else:
            raise InvalidRequest(f"{trace} is not what tests remove")

    # How it does it

    def _export(self, key: Key, epoch: int, consumer: Consumer) -> Target:
        if consumer.host_key and not self.authentication:
            raise Unsupported(f"the kernel of {self.name} has no NVMe in-band authentication")
        nqn = f"nqn.fake:{key[0]}:{epoch}:{key[1]}:{self.boots}"
        self.exports[key] = FakeExport(nqn, epoch, consumer)
        return Target(nqn, f"data-{self.name}", 4420, consumer.host_nqn)

    def _reach(self, volume_id: str, member: Member, epoch: int) -> None:
        """What the kernels would do: connect, or find the local logical volume, at the right epoch."""
        holder = self.cluster.holder(volume_id, member.replica_id)
        if (member.target is None) != (holder is self):
            raise InvalidRequest(f"member {member.replica_id}: local and remote are confused")
        if member.target is not None:
            holder._admit((volume_id, member.replica_id), member.target)
        holder._require_ready((volume_id, member.replica_id), epoch)

    def _admit(self, key: Key, target: Target) -> None:
        export = self.exports.get(key)
        if self.silent or export is None or export.nqn != target.nqn:
            raise Unavailable(f"{target.nqn} is not reached on {self.name}")
        wanted = export.consumer
        shown = Consumer(target.host_nqn, target.host_key, target.controller_key)
        if shown != wanted:
            raise FailedPrecondition(f"{target.host_nqn} is refused by {self.name}")

    def _local(self, volume_id: str) -> FakeArray:
        if volume_id not in self.arrays:
            raise NotFound(f"volume {volume_id} has no array on {self.name}")
        return self.arrays[volume_id]

    def _use(self, volume_id: str, path: str) -> AccessType:
        self._local(volume_id)
        key = (volume_id, path)
        found = self.published.get(key) or self.staged.get(key)
        if found is None:
            raise NotFound(f"volume {volume_id} is neither staged nor published at {path}")
        return found.access

    def _array(self, volume_id: str, epoch: int) -> FakeArray:
        array = self.arrays.get(volume_id)
        if array is None:
            raise NotFound(f"no array of volume {volume_id} on {self.name}")
        if array.spec.epoch != epoch:
            raise StaleEpoch(f"the array on {self.name} is of epoch {array.spec.epoch}, not {epoch}")
        return array

    def _publish_report(self, array: FakeArray) -> None:
        with self._mutex:
            for listener in self._listeners:
                listener.queue.put(array.report())


class FakeCluster:
    """Nodes that reach each other."""

    def __init__(
        self,
        names: list[str],
        name: str = "cluster",
        disk_bytes: int = 100 * GIB,
        watch_poll: float = WATCH_POLL,
    ) -> None:
        self.name = name
        self.nodes = {
            node: FakeNode(name=node, cluster=self, disk_bytes=disk_bytes, watch_poll=watch_poll)
            for node in names
        }

    def node(self, name: str) -> FakeNode:
        return self.nodes[name]

    def connect(self, node: Node) -> FakeNode:
        return self.nodes[node.name]

    def add_to(self, control: Control, pool: str = "nvme", replica_count: int = 3) -> None:
        """All nodes, and one pool over all of them."""
        for name in self.nodes:
            control.nodes.add(Node(name, f"{name}:7000", f"data-{name}"))
        control.pools.create(pool, tuple(self.nodes), replica_count)

    def holder(self, volume_id: str, replica_id: str) -> FakeNode:
        """The node that has a replica, by what is on the disks."""
        for node in self.nodes.values():
            if (volume_id, replica_id) in node.replicas:
                return node
        raise NotFound(f"nobody has replica {replica_id} of {volume_id}")
