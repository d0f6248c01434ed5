"""The mistakes. What each does is what its name says; how the product does it right is at its target."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from replication.agent.judge import Observation
from replication.agent.members import Joint
from replication.agent.names import ExportName
from replication.agent.node import Agent
from replication.agent.release import obey
from replication.agent.replicas import Replicas
from replication.agent.storage import Place, Storage
from replication.control import insync
from replication.control.reporting import Reporting
from replication.kernel.dm_wire import Target
from replication.kernel.md import MemberSpec
from replication.kernel.nvmet import Nvmet
from replication.kernel.sysfs import Tree
from replication.model import (
    ArrayReport,
    Confirmation,
    CopyMode,
    Member,
    MemberHealth,
    MemberReport,
    Prepared,
    PrepareSpec,
    Replica,
    ReplicaState,
    Versioned,
    Volume,
)
from replication.signing import parse_request

Function = Callable[..., Any]


def returns(value: object) -> Callable[[Function], Function]:
    return lambda _: lambda *_args, **_kwargs: value


def returns_its_first(_: Function) -> Function:
    return lambda first, *_: first


def returns_its_second(_: Function) -> Function:
    return lambda _first, second: second


# The record


def released_before_record(_: Function) -> Function:
    def handle(self: Reporting, node: str, report: ArrayReport) -> None:
        """First the agent is told what the record is about to say, then the record."""
        found = self._records.get(report.volume_id)
        after = Versioned(insync.react(found.volume, report), found.version + 1)
        self._confirm(node, after, report)
        self._records.change(report.volume_id, lambda v: insync.react(v, report))

    return handle


def word_says_what_was_reported(original: Function) -> Function:
    def word_of(record: Versioned, report: ArrayReport) -> Confirmation:
        lost = {m.replica_id for m in report.members if m.health is MemberHealth.LOST}
        word: Confirmation = original(record, report)
        return replace(word, in_sync=tuple(r for r in word.in_sync if r not in lost))

    return word_of


def last_replica_stale(_: Function) -> Function:
    def lose(volume: Volume, epoch: int, lost: Mapping[str, bool], recovered: tuple[str, ...] = ()) -> Volume:
        insync._require_epoch(volume, epoch)
        revived = insync._map(volume, lambda r: insync._finished(r) if r.id in recovered else r)
        left = insync._map(revived, lambda r: insync._dropped(r, covers=lost[r.id]) if r.id in lost else r)
        return insync._settled(left) if insync.in_sync(left) else left

    return lose


def recovering_counts(original: Function) -> Function:
    """in_sync before the recovery ends."""

    def react(volume: Volume, report: ArrayReport) -> Volume:
        early = tuple(
            replace(m, health=MemberHealth.RECOVERED) if m.health is MemberHealth.RECOVERING else m
            for m in report.members
        )
        after: Volume = original(volume, replace(report, members=early))
        return after

    return react


def any_attempt_counts(_: Function) -> Function:
    """A recovery of an attempt before this one."""

    def recovered(_: Volume, report: ArrayReport) -> set[str]:
        return {m.replica_id for m in report.members if m.health is MemberHealth.RECOVERED}

    return recovered


def epoch_reused(original: Function) -> Function:
    def begin_attach(volume: Volume, node: str) -> Volume:
        begun: Volume = original(volume, node)
        return replace(begun, epoch=max(1, volume.epoch))

    return begin_attach


def unprepared_start(_: Function) -> Function:
    """No fence: those that did not answer stay in sync."""

    def admit(volume: Volume, epoch: int, ready: object, left_out: object) -> Volume:
        del ready, left_out
        insync._require_epoch(volume, epoch)
        return volume

    return admit


def all_are_sure(original: Function) -> Function:
    return lambda volume, epoch, node, _: original(volume, epoch, node, [r.id for r in volume.replicas])


def any_answer_is_sure(_: Function) -> Function:
    return lambda _, answers: tuple(key for key, answer in answers.items() if isinstance(answer, Prepared))


def no_resync(original: Function) -> Function:
    """After a crash nobody owes a resync."""

    def changed(volume: Volume, *words: str) -> Volume:
        after: Volume = original(volume, *words)
        return replace(after, resync_source=None)

    return changed


def stale_source(_: Function) -> Function:
    def with_source(volume: Volume) -> Volume:
        return replace(volume, resync_source=volume.replicas[-1].id)

    return with_source


def source_follows_consumer(_: Function) -> Function:
    def with_source(volume: Volume) -> Volume:
        best = min(insync.in_sync(volume), key=lambda r: r.node != volume.consumer)
        return replace(volume, resync_source=best.id)

    return with_source


def stale_members_start(_: Function) -> Function:
    """A stale replica is chosen, first of all."""

    def order_members(volume: Volume, prepared: Mapping[str, Prepared]) -> tuple[Member, ...]:
        stale = [r for r in volume.replicas if r.id in prepared]
        stale.sort(key=lambda r: r.state is ReplicaState.IN_SYNC)
        return tuple(Member(r.id, prepared[r.id].target) for r in stale)

    return order_members


def full_forgotten(original: Function) -> Function:
    """A full copy is skipped after the second failure."""

    def dropped(replica: Replica, *, covers: bool) -> Replica:
        return original(replace(replica, copy=CopyMode.BITMAP), covers=covers)  # type: ignore[no-any-return]

    return dropped


def cleared_bitmap_trusted(_: Function) -> Function:
    def settled(volume: Volume) -> Volume:
        return insync._with_source(volume) if volume.resync_source is not None else volume

    return settled


def boot_ignored(_: Function) -> Function:
    def choose_copy(replica: Replica, boot_id: str, *, volatile: bool) -> CopyMode:
        del boot_id, volatile
        return CopyMode.FULL if replica.copy is CopyMode.FULL else CopyMode.BITMAP

    return choose_copy


def late_attempt_counts(original: Function) -> Function:
    """Where the agent has heard of a newer one meanwhile."""

    def _recovered(volume: Volume, report: ArrayReport) -> set[str]:
        members = tuple(replace(member, attempt=0) for member in report.members)
        return set(original(volume, replace(report, members=members)))

    return _recovered


# The agent


def drops_what_is_lost(original: Function) -> Function:
    """A member is failed before the record."""

    def is_dropped_by(joint: Joint, word: Confirmation) -> bool:
        return bool(joint.suspected and not joint.released) or original(joint, word)

    return is_dropped_by


def late_word_drops(original: Function) -> Function:
    """A confirmation of an older report drops a member that was lost only afterwards."""

    def is_dropped_by(joint: Joint, word: Confirmation) -> bool:
        return bool(original(joint, replace(word, report=10**9)))

    return is_dropped_by


def healed_too_late_stays(original: Function) -> Function:
    def is_dropped_by(joint: Joint, word: Confirmation) -> bool:
        return bool(joint.suspected) and bool(original(joint, word))

    return is_dropped_by


def in_sync_believed(original: Function) -> Function:
    """md's `in_sync` is believed before the recovery."""

    def judge(seen: Observation) -> tuple[MemberHealth, str]:
        return original(replace(seen, in_sync=True))  # type: ignore[no-any-return]

    return judge


def boot_not_in_name(_: Function) -> Function:
    """An export survives a boot."""

    def name(self: ExportName) -> str:
        return f"nqn:{self.volume_id}:{self.replica_id}:{self.epoch}.{self.record_version}"

    return name


def version_not_in_name(_: Function) -> Function:
    def name(self: ExportName) -> str:
        return f"nqn:{self.volume_id}:{self.replica_id}:{self.epoch}:{self.boot}"

    return name


def first_bitmap_only(_: Function) -> Function:
    """As md itself: one member's bitmap."""
    return lambda several: next(iter(several), ())


def resync_from_the_local(original: Function) -> Function:
    """The lowest slot is the local member's, also while a resync is owed from another."""

    def choose_members(joints: list[Joint], *, resync: bool) -> tuple[MemberSpec, ...]:
        order = sorted(joints, key=lambda joint: joint.remote is not None)
        specs = original(order, resync=resync)
        return tuple(specs[order.index(joint)] for joint in joints)

    return choose_members


def any_version_obeyed(_: Function) -> Function:
    """A confirmation of an older version of the record."""

    def confirm(self: Agent, confirmation: Confirmation) -> ArrayReport:
        array = self._get(confirmation.volume_id, confirmation.epoch)
        with array.release_lock:
            obey(self._machine, array, confirmation)
        return self._watcher.look(array)

    return confirm


def export_before_fence(original: Function) -> Function:
    """Fence after attach."""

    def prepare(self: Replicas, spec: PrepareSpec) -> Prepared:
        place = self._storage.get_place(spec.volume_id, spec.replica_id)
        self._export(spec, place, self._export_name(spec) if spec.consumer else "")
        return original(self, spec)  # type: ignore[no-any-return]

    return prepare


def released_without_looking(_: Function) -> Function:
    def release_pending(tree: Tree, name: str, dropped: frozenset[str]) -> tuple[str, ...]:
        for kname in dropped:
            tree.write(f"/sys/block/md_{name}/md/dev-{kname}/state", "-blocked")
        tree.write(f"/sys/block/md_{name}/md/array_state", "active")
        return ()

    return release_pending


def no_drain(_: Function) -> Function:
    """The fence ends the export and does not wait for what the target had accepted."""

    def end_namespace(self: Nvmet, path: str, timeout: float) -> None:
        del timeout
        self._tree.remove_directory(path)

    return end_namespace


def never_queues(_: Function) -> Function:
    """No hold layer worth the name."""

    def target(device: str, size_bytes: int) -> Target:
        words = f"2 queue_mode bio 0 1 1 service-time 0 1 1 {device} 1"
        return Target(0, size_bytes // 512, "multipath", words)

    return target


def removed_unwiped(_: Function) -> Function:
    def discard_volume(self: Storage, place: Place) -> None:
        self.remove_volume(place)

    return discard_volume


def believed_wiped(_: Function) -> Function:
    """The tag, and no dirty volume."""

    def doubt_free_space(self: Storage, group: str) -> None:
        self._lvm.add_tag(group, "trilith.wiped")
        self._read(self._candidates())

    return doubt_free_space


def looks_once(_: Function) -> Function:
    return lambda self, volume: self._executor.find_array(volume)


def given_up_kept(original: Function) -> Function:
    """Unless it is healthy: then it is dropped."""

    def awaits(member: MemberReport, state: ReplicaState | None) -> bool:
        recovers = member.health in {MemberHealth.RECOVERING, MemberHealth.RECOVERED}
        return bool(original(member, state)) and not (recovers and state is ReplicaState.STALE)

    return awaits


def impatient(original: Function) -> Function:
    return lambda self, volume_id, operation, timeout=0.0: original(self, volume_id, operation, 0.0 * timeout)


# Kubernetes


def signs_for_anybody(_: Function) -> Function:
    return lambda request, _places: parse_request(request.pem)


def removes_unasked(original: Function) -> Function:
    return lambda scene, **_: original(scene, everything=True)


def believes_old_facts(original: Function) -> Function:
    return lambda volume, look: original(volume, replace(look, later=True))


def returns_volumes(_: Function) -> Function:
    """All, whatever their records say."""
    return lambda view: view.volumes


def one_witness(original: Function) -> Function:
    """As if there were nobody else to ask."""
    return lambda sighting, _total: original(sighting, 2)


def at_any_pace(original: Function) -> Function:
    return lambda views, total, policy, _since: original(views, total, policy, math.inf)


def minimum_ignored(_: Function) -> Function:
    return lambda volume: max(volume.replica_count - 1, 1)


def nobody_is_gone(original: Function) -> Function:
    return lambda candidates, ground: original([replace(c, gone=False) for c in candidates], ground)


def reads_lists(_: Function) -> Function:
    return lambda self, _node: self._control.volumes.list()
