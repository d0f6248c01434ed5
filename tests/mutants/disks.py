"""Mistakes about disks that refuse writes, what bitmaps mark, how large replicas are, and their exports."""

from dataclasses import replace

from replication.agent.replicas import Replicas
from replication.control import insync
from replication.control.attaching import Attaching
from replication.kernel import md
from replication.kernel.md import WriteInTime
from replication.kernel.sysfs import Tree
from replication.model import CopyMode, Prepared, PrepareSpec, ReplicaState, Volume
from tests.mutants.mistakes import Function


def refusals_unheard(_: Function) -> Function:
    """What a disk refuses is not looked for when its replica is made ready."""
    return lambda *_: False


def made_good_by_attaching(original: Function) -> Function:
    """Any preparation ends the mark of a disk that refused writes."""

    def prepare(self: Replicas, spec: PrepareSpec) -> Prepared:
        return original(self, replace(spec, full_copy=True))  # type: ignore[no-any-return]

    return prepare


def suspect_ignored(original: Function) -> Function:
    """A replica whose disk refused a write starts like the others."""

    def doubt(volume: Volume, replica_id: str, answer: Prepared) -> str:
        clean = replace(answer, facts=replace(answer.facts, suspect=False))
        return original(volume, replica_id, clean)  # type: ignore[no-any-return]

    return doubt


def bitmaps_kept_at_the_begin(original: Function) -> Function:
    """What is stale besides a copy keeps its bitmap until the copy has ended."""

    def start_rebuild(
        volume: Volume, replica_id: str, copy: CopyMode, boot_id: str, *, volatile: bool
    ) -> Volume:
        begun: Volume = original(volume, replica_id, copy, boot_id, volatile=volatile)
        before = {replica.id: replica for replica in volume.replicas}
        kept = (before[r.id] if r.state is ReplicaState.STALE else r for r in begun.replicas)
        return replace(begun, replicas=tuple(kept))

    return start_rebuild


def size_recorded_late(_: Function) -> Function:
    """The record has the new size only once the array has had it."""
    return lambda volume, _size: volume


def growth_forgotten(original: Function) -> Function:
    """What has grown counts as marked as soon as the growth has ended, though nobody had an array."""
    return lambda volume, size_bytes: replace(original(volume, size_bytes), grown_from=0)


def let_go_unmarked(_: Function) -> Function:
    """Writes go on though what has grown is marked in memory alone."""

    def let_writes_go_on(tree: Tree, name: str, write_in_time: WriteInTime) -> None:
        md._keep_writes(tree, name, 0, write_in_time)

    return let_writes_go_on


def undone_unrecorded(_: Function) -> Function:
    """Exports are taken away first, and only then it is found that the attachment was recorded."""

    def undo(self: Attaching, volume: Volume) -> None:
        if volume.consumer is not None:
            self._abandon(volume, volume.consumer)
        self._executor.release_all(volume)
        self._records.change(volume.id, lambda v: insync.undo_attach(v, volume.epoch))

    return undo


def shut_ignored(_: Function) -> Function:
    return lambda facts, _cordons: facts
