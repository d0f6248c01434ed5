"""The mistakes. What each does is what its name says; how the product does it right is at its target."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from replication.agent.judge import Observation
from replication.agent.members import Joint
from replication.agent.names import ExportName
from replication.agent.node import Agent
from replication.agent.release import obey
from replication.agent.replicas import Replicas
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
    Prepared,
    PrepareSpec,
    Replica,
    ReplicaState,
    Versioned,
    Volume,
)
from tests.mutants.mutant import ENUMERATION, SIMULATION, Mutant

INSYNC = "tests/unit/control/test_insync.py"
REBUILD = "tests/unit/control/test_rebuild.py"
RECONCILER = "tests/unit/control/test_reconciler.py"
MD = "tests/unit/kernel/test_md.py"
NVMET = "tests/unit/kernel/test_nvmet.py"
AGENT = "tests/unit/agent"

Function = Callable[..., Any]


def _returns(value: object) -> Callable[[Function], Function]:
    return lambda _: lambda *_args, **_kwargs: value


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


def own_disk_kept(_: Function) -> Function:
    """The old consumer's own disk joins unconfirmed."""

    def fence(volume: Volume) -> Volume:
        ended = insync._ended(replace(volume, epoch=volume.epoch + 1, attachment=insync.DETACHED))
        return insync._with_source(ended)

    return fence


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


MUTANTS = (
    Mutant("release before record", "replication.control.reporting:Reporting.handle", released_before_record,
           (SIMULATION, f"{RECONCILER}::test_nothing_is_confirmed_that_is_not_recorded",)),
    Mutant("a confirmation of what was reported, not recorded", "replication.control.reporting:_word_of",
           word_says_what_was_reported, (f"{RECONCILER}::test_when_all_are_lost_none_is_dropped",)),
    Mutant("a member failed before the record", "replication.agent.release:is_dropped_by", drops_what_is_lost,
           (ENUMERATION, SIMULATION, f"{AGENT}/test_release.py")),
    Mutant("two members failed, one looked at", "replication.kernel.md_members:release_pending",
           released_without_looking, (f"{MD}::test_a_second_failure_is_not_released_with_the_first",)),
    Mutant("confirmation of an older report", "replication.agent.release:is_dropped_by", late_word_drops,
           (f"{AGENT}/test_release.py",)),
    Mutant("confirmation of an older record version", "replication.agent.node:Agent.confirm",
           any_version_obeyed, (f"{AGENT}/test_words.py",)),
    Mutant("a member that healed too late stays", "replication.agent.release:is_dropped_by",
           healed_too_late_stays, (f"{AGENT}/test_release.py",)),
    Mutant("no fence: who did not answer starts", "replication.control.insync:admit", unprepared_start,
           (ENUMERATION, SIMULATION, INSYNC)),
    Mutant("no fence: old exports stay", "replication.agent.replicas:Replicas._fence", _returns(None),
           (f"{AGENT}/test_fencing.py",)),
    Mutant("fence without drain", "replication.kernel.nvmet:Nvmet._end_namespace", no_drain,
           (f"{NVMET}::test_a_disk_that_does_not_drain_is_not_fenced_however_often_one_asks",)),
    Mutant("fence after attach", "replication.agent.replicas:Replicas.prepare", export_before_fence,
           (f"{AGENT}/test_fencing.py",)),
    Mutant("the header's epoch is not checked", "replication.agent.replicas:Replicas._check_epoch",
           _returns(None), (f"{AGENT}/test_fencing.py",)),
    Mutant("old consumer's own disk joined unconfirmed", "replication.control.insync:fence", own_disk_kept,
           (ENUMERATION, INSYNC)),
    Mutant("returning member's own bits left out", "replication.agent.rejoin:_read_bits", _returns(()),
           (f"{AGENT}/test_rejoining.py",)),
    Mutant("returning member in the lowest slot", "replication.agent.rejoin:choose_slot", _returns(0),
           (f"{AGENT}/test_choices.py",)),
    Mutant("the local member first while a resync is owed from another",
           "replication.agent.attachment:choose_members", resync_from_the_local, (ENUMERATION,)),
    Mutant("md's in_sync believed before the recovery", "replication.agent.judge:judge", in_sync_believed,
           (ENUMERATION, SIMULATION, f"{AGENT}/test_judge.py")),
    Mutant("an export that survives a boot", "replication.agent.names:ExportName.__str__", boot_not_in_name,
           (ENUMERATION, f"{AGENT}/test_names.py")),
    Mutant("an export that keeps its name when it is made anew",
           "replication.agent.names:ExportName.__str__", version_not_in_name, (f"{AGENT}/test_names.py",)),
    Mutant("in_sync before the recovery ends", "replication.control.insync:react", recovering_counts,
           (ENUMERATION, SIMULATION)),
    Mutant("a recovery of an earlier attempt counts", "replication.control.insync:_recovered",
           any_attempt_counts, (ENUMERATION, INSYNC, RECONCILER)),
    Mutant("full copy skipped after two failures", "replication.control.insync:_dropped", full_forgotten,
           (INSYNC,)),
    Mutant("bitmap not carried over at assembly", "replication.kernel.md:_set_bits", _returns(None),
           (f"{MD}::test_nothing_can_be_written_before_the_bits_are_set",)),
    Mutant("what has grown is marked in memory alone", "replication.kernel.md:_mark_owed", _returns(None),
           (f"{MD}::test_what_has_grown_is_marked_on_the_disks_before_the_resync_of_it_begins",)),
    Mutant("no bitmap carried over", "replication.kernel.bitmap:unite", _returns(()),
           (ENUMERATION, SIMULATION)),
    Mutant("one member's bitmap carried over", "replication.kernel.bitmap:unite", first_bitmap_only,
           ("tests/unit/kernel/test_bitmap.py",)),
    Mutant("bitmap trusted after it was cleared with the replica elsewhere",
           "replication.control.insync:_settled", cleared_bitmap_trusted, (INSYNC,)),
    Mutant("a boot does not matter to a volatile cache", "replication.control.rebuild:choose_copy",
           boot_ignored, (ENUMERATION, REBUILD)),
    Mutant("an old copy of a disk is brought back by bitmap", "replication.control.rebuild:is_old",
           _returns(False), ("tests/unit/control/test_old_disks.py",)),
    Mutant("an old copy of a disk is made ready", "replication.agent.replicas:Replicas._check_age",
           _returns(None), (f"{AGENT}/test_replicas.py",)),
    Mutant("any flush counts", "replication.agent.flush:bitmap_covers", _returns(True),
           (ENUMERATION, f"{AGENT}/test_release.py")),
    Mutant("who booted starts like the others", "replication.control.starting:_doubt", _returns(""),
           (ENUMERATION,)),
    Mutant("last replica recorded stale", "replication.control.insync:lose", last_replica_stale,
           (ENUMERATION, SIMULATION, INSYNC)),
    Mutant("stale replica chosen as source", "replication.control.insync:_with_source", stale_source,
           (ENUMERATION, SIMULATION, INSYNC)),
    Mutant("the source follows the consumer", "replication.control.insync:_with_source",
           source_follows_consumer, (ENUMERATION, INSYNC)),
    Mutant("stale members start", "replication.control.starting:order_members", stale_members_start,
           ("tests/unit/control/test_starting.py",)),
    Mutant("no resync is owed after the fence", "replication.control.insync:fence", no_resync,
           (ENUMERATION, INSYNC)),
    Mutant("no resync is owed after a crash", "replication.control.insync:begin_attach", no_resync,
           (ENUMERATION, SIMULATION, INSYNC)),
    Mutant("record not compared", "replication.control.store.memory:_require_version", _returns(None),
           (ENUMERATION, "tests/unit/control/test_stores.py")),
    Mutant("epoch reused", "replication.control.insync:begin_attach", epoch_reused, (ENUMERATION, INSYNC)),
    Mutant("reports of an older epoch are taken", "replication.control.insync:_require_epoch", _returns(None),
           (INSYNC,)),
    Mutant("an array that was given up is never abandoned", "replication.control.rebuild:_is_current",
           _returns(True), (REBUILD,)),
    Mutant("no hold layer", "replication.kernel.hold:_target", never_queues,
           ("tests/unit/kernel/test_dm.py",)),
)  # fmt: skip
