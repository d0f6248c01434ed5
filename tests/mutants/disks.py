"""Mistakes about disks that refuse writes, about what their bitmaps mark, and about how large they are."""

from dataclasses import replace

from replication.agent.replicas import Replicas
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
