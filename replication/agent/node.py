"""The agent: every act of rpc/contract.py, handed to the part that does it."""

import os
from itertools import groupby

from replication.agent.assembled import Arrays, Assembled
from replication.agent.attachment import Attachments, check_owner
from replication.agent.flush import Flusher
from replication.agent.health import Health
from replication.agent.limits import set_limits
from replication.agent.machine import Machine
from replication.agent.members import Members
from replication.agent.peers import Peers
from replication.agent.rejoin import give_up_unfinished, rejoin
from replication.agent.release import finish_dropping, let_go, obey
from replication.agent.replicas import Replicas
from replication.agent.reports import Listener, Reports
from replication.agent.reshaping import grow
from replication.agent.staging import Staging
from replication.agent.storage import Storage
from replication.agent.suspects import Marking
from replication.agent.traces import Traces
from replication.agent.tuning import scrub, tune
from replication.agent.usage import measure
from replication.agent.watcher import Watcher
from replication.agent.wiping import Wiping
from replication.errors import StaleEpoch
from replication.kernel import md
from replication.kernel.md_state import find_array
from replication.model import (
    Ailment,
    ArrayReport,
    AttachSpec,
    Confirmation,
    Limits,
    NodeFacts,
    Prepared,
    PrepareSpec,
    PublishSpec,
    RejoinSpec,
    ReplicaFacts,
    ReplicaSpec,
    StageSpec,
    VolumeGroup,
)
from replication.peer import Peer, PeerVerdict
from replication.traces import Trace, TraceKind
from replication.tuning import Tuning
from replication.usage import VolumeUsage


class Agent:
    """Holds no truth: a new one reads arrays, members, exports and replicas back from kernel and disks."""

    def __init__(self, machine: Machine, storage: Storage) -> None:
        self._machine = machine
        self._storage = storage
        self._wiping = Wiping(machine, storage)
        self._replicas = Replicas(machine, storage, self._wiping)
        self._replicas.take_up_discarded()
        self._marking = Marking(self._replicas.suspects, self._replicas.mark_suspect, machine.clock)
        self._members = Members(machine, self._replicas.find_device)
        self._arrays = Arrays(read_back_arrays(machine, self._members))
        self._reports = Reports()
        self._attachments = Attachments(machine, self._arrays, self._members)
        self._staging = Staging(machine.tree, machine.runner, self._arrays)
        self._health = Health(machine, self._arrays, self._reports, storage)
        self._traces = Traces(machine, storage, self._replicas, self._members)
        self._watcher = Watcher(machine, self._arrays, self._members, self._reports)
        self._flusher = Flusher(machine, self._arrays)
        self._peers = Peers(machine.clock)

    def start(self) -> None:
        """Watch and flush what is assembled; serving may begin after this: facts about arrays are there."""
        self._watcher.look_at_all()
        self._watcher.start()
        self._flusher.start()
        self._marking.start()
        self._wiping.follow()

    def stop(self) -> None:
        """Only the watching ends: what is assembled goes on without us until a member is lost."""
        self._watcher.stop()
        self._flusher.stop()
        self._marking.stop()
        self._wiping.stop()

    def describe(self, only: str | None = None) -> NodeFacts:
        arrays = self._reports.list_all()
        return NodeFacts(
            node=self._machine.node,
            cluster=self._machine.cluster,
            boot_id=self._machine.boot_id,
            kernel=os.uname().release,
            authentication=self._machine.authentication,
            disks=self._storage.list_disks(),
            volume_groups=self._storage.list_volume_groups(),
            replicas=self._replicas.list_facts() if only is None else (),
            arrays=tuple(array for array in arrays if only in {None, array.volume_id}),
        )

    def ensure_disk_pool(self, pool: str, disks: tuple[str, ...]) -> tuple[VolumeGroup, ...]:
        groups = self._storage.ensure_pool(pool, disks)
        self._wiping.follow()
        return groups

    def remove_disk_pool(self, pool: str) -> None:
        groups = [group.name for group in self._storage.list_volume_groups() if group.pool == pool]
        with self._wiping.paused(groups):
            self._storage.remove_pool(pool)

    def remove_disk(self, volume_group: str) -> None:
        with self._wiping.paused([volume_group]):
            self._storage.remove_disk(volume_group)

    def ensure_replica(self, spec: ReplicaSpec) -> ReplicaFacts:
        return self._replicas.ensure(spec)

    def remove_replica(self, volume_id: str, replica_id: str, known_version: int | None = None) -> None:
        self._replicas.remove(volume_id, replica_id, known_version)

    def resize_replica(self, volume_id: str, replica_id: str, size_bytes: int) -> ReplicaFacts:
        return self._replicas.resize(volume_id, replica_id, size_bytes)

    def prepare_replica(self, spec: PrepareSpec) -> Prepared:
        """A disk that an array of ours uses is not behind a fence: that array has to go first."""
        with self._attachments.lock(spec.volume_id):
            array = self._arrays.find(spec.volume_id)
            if array is None or array.epoch < spec.epoch:
                self.abandon(spec.volume_id, spec.epoch - 1)
                self._replicas.check_unused(spec.volume_id, spec.replica_id)
            check_owner(array, spec)
            return self._replicas.prepare(spec)

    def release_replica(self, volume_id: str, replica_id: str, epoch: int) -> None:
        self._replicas.release(volume_id, replica_id, epoch)

    def attach(self, spec: AttachSpec) -> str:
        """When this returns there is a report of the array: who asks what is attached here finds it."""
        device = self._attachments.attach(spec)
        if spec.readonly:
            self._staging.protect(spec.volume_id)
        self._watcher.look(self._arrays.get(spec.volume_id))
        self._watcher.wake()
        return device

    def detach(self, volume_id: str, epoch: int) -> None:
        self._attachments.detach(volume_id, epoch)
        self._reports.forget(volume_id)

    def abandon(self, volume_id: str, epoch: int) -> None:
        self._attachments.abandon(volume_id, epoch)
        if self._arrays.find(volume_id) is None:
            self._reports.forget(volume_id)

    def confirm(self, confirmation: Confirmation) -> ArrayReport:
        """A word that is older than one we know, or answers an agent before us, may be long untrue."""
        array = self._get(confirmation.volume_id, confirmation.epoch)
        answers_us = confirmation.report >= self._watcher.first_sequence
        array.restless = True  # until a look has come to its end
        with array.release_lock:
            if answers_us and confirmation.record_version >= array.record_version:
                array.record_version = confirmation.record_version
                obey(self._machine, array, confirmation)
        self._watcher.wake()
        return self._watcher.look(array)

    def rejoin(self, spec: RejoinSpec) -> None:
        """When this returns the reports have the member: who does not find it there begins again."""
        array = self._get(spec.volume_id, spec.epoch)
        with array.changing():
            rejoin(self._machine, self._members, array, spec)
        self._watcher.look(array)
        self._watcher.wake()

    def tune(self, volume_id: str, epoch: int, tuning: Tuning) -> None:
        array = self._get(volume_id, epoch)
        with array.changing():
            tune(self._machine, self._members, array, tuning)
        self._watcher.look(array)

    def scrub(self, volume_id: str, epoch: int, repair: bool) -> None:
        array = self._get(volume_id, epoch)
        with array.changing():
            scrub(self._machine.tree, array, repair=repair)
        self._watcher.look(array)

    def set_limits(self, volume_id: str, epoch: int, limits: Limits) -> None:
        self._get(volume_id, epoch)
        set_limits(self._machine.tree, volume_id, limits)

    def grow_array(self, volume_id: str, epoch: int, size_bytes: int) -> None:
        array = self._get(volume_id, epoch)
        with array.changing():
            grow(self._machine, self._members, array, size_bytes)
        self._staging.grow(volume_id)

    def watch(self) -> Listener:
        return self._reports.listen()

    def stage(self, spec: StageSpec) -> None:
        self._staging.stage(spec)

    def unstage(self, volume_id: str, path: str) -> None:
        self._staging.unstage(volume_id, path)

    def publish(self, spec: PublishSpec) -> None:
        self._staging.publish(spec)

    def unpublish(self, volume_id: str, path: str) -> None:
        self._staging.unpublish(volume_id, path)

    def measure(self, volume_id: str, path: str) -> VolumeUsage:
        return measure(self._machine, self._staging.get_use(volume_id, path), volume_id, path)

    def expand_staged(self, volume_id: str, path: str, size_bytes: int) -> int:
        return self._staging.expand(volume_id, path, size_bytes)

    def examine_volume(self, volume_id: str, paths: tuple[str, ...]) -> tuple[Ailment, ...]:
        return self._health.examine_volume(volume_id, paths)

    def examine_storage(self) -> tuple[Ailment, ...]:
        return self._health.examine_storage()

    def probe(self, peers: tuple[Peer, ...]) -> tuple[PeerVerdict, ...]:
        return self._peers.probe(peers)

    def list_traces(self) -> tuple[Trace, ...]:
        return self._traces.list_all()

    def remove_trace(self, trace: Trace) -> None:
        with self._attachments.lock(trace.volume_id):
            if trace.kind is TraceKind.ARRAY and self._arrays.find(trace.volume_id) is not None:
                self.detach(trace.volume_id, trace.epoch)
            else:
                self._traces.remove(trace)

    def _get(self, volume_id: str, epoch: int) -> Assembled:
        array = self._arrays.get(volume_id)
        if array.epoch != epoch:
            raise StaleEpoch(f"volume {volume_id} is attached here in epoch {array.epoch}, not {epoch}")
        return array


def read_back_arrays(machine: Machine, members: Members) -> list[Assembled]:
    """What an agent before us had assembled. Half-made things are left to the next attach or abandon."""
    members.remove_unfinished()
    found = sorted(members.find_holds(), key=lambda pair: (pair[0].volume_id, pair[0].epoch))
    arrays = []
    for (volume_id, epoch), pairs in groupby(found, key=lambda pair: (pair[0].volume_id, pair[0].epoch)):
        state = find_array(machine.tree, volume_id)
        if state is not None and state.activated:
            joints = [members.read_back(name, hold) for name, hold in pairs]
            give_up_unfinished(machine, state, joints)
            finish_dropping(machine, joints)
            array = Assembled(volume_id, epoch, {joint.replica_id: joint for joint in joints})
            array.writes_kept = md.are_writes_kept(machine.tree, volume_id)
            if state.writable:  # what came while md waited for that agent was woken by nobody: reshaping.py
                let_go(machine, array)
            arrays.append(array)
    return arrays
