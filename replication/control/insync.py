"""Which replicas hold every acknowledged write: the only places where that may change. Pure.

An acknowledged write is on every replica that the record calls in sync. What keeps it so:

* I1  A write acknowledged in epoch e is on every replica in sync in the record of epoch e, and stays on every
      replica that a later record calls in sync.
* I2  A write of an epoch older than the record's takes no effect, and is not acknowledged unless it took
      effect before, once the newer epoch has a writable array: the record is not changed for an older epoch
      (StaleEpoch), and one fenced replica of it suffices.
* I3  A replica goes rebuilding → in sync only when a recovery has ended under the current epoch.
* I4  The in-sync set is never empty, from the moment that the volume is ready.

`check` says what one record can break of these; tests/simulation shows them for all interleavings.
Every function takes the record as it is now and returns the one to swap in; persist it before acting on it.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from replication.errors import Conflict, FailedPrecondition, NotFound, StaleEpoch
from replication.model import (
    ArrayReport,
    Attachment,
    CopyMode,
    MemberHealth,
    Phase,
    Replica,
    ReplicaState,
    Volume,
)

IN_SYNC, STALE, REBUILDING = ReplicaState.IN_SYNC, ReplicaState.STALE, ReplicaState.REBUILDING
DETACHED, ATTACHING = Attachment.DETACHED, Attachment.ATTACHING
ATTACHED, DETACHING = Attachment.ATTACHED, Attachment.DETACHING


def in_sync(volume: Volume) -> tuple[Replica, ...]:
    """The replicas that hold every acknowledged write."""
    return tuple(r for r in volume.replicas if r.state is IN_SYNC)


def get_replica(volume: Volume, replica_id: str) -> Replica:
    for replica in volume.replicas:
        if replica.id == replica_id:
            return replica
    raise NotFound(f"volume {volume.name} has no replica {replica_id}")


def check(volume: Volume) -> tuple[str, ...]:
    """What this record breaks, by itself: empty when it is sound."""
    usable = volume.phase in {Phase.READY, Phase.EXPANDING}
    sources = {r.id for r in in_sync(volume)}
    rules = {
        "I4: no replica is in sync": not usable or bool(sources),
        "I3: a rebuild without an array": volume.attachment in {ATTACHED, DETACHING}
        or all(r.state is not REBUILDING for r in volume.replicas),
        "a consumer without an attachment": (volume.consumer is None) == (volume.attachment is DETACHED),
        "a resync from a replica that is not in sync": volume.resync_source in sources | {None},
        "two replicas on one disk": len({(r.node, group) for r in volume.replicas for group in r.groups})
        == sum(len(r.groups) for r in volume.replicas),
        "two replicas with one id": len({r.id for r in volume.replicas}) == len(volume.replicas),
    }
    return tuple(rule for rule, holds in rules.items() if not holds)


def react(volume: Volume, report: ArrayReport) -> Volume:
    """What the record must say after a report of the consumer's agent. Level-triggered: repeatable.

    StaleEpoch when the record has superseded that array, which is then to be abandoned.
    """
    lost = {
        m.replica_id: _covered(m.health, covers=m.bitmap_covers) for m in report.members if _gone(m.health)
    }
    dropped = {m.replica_id for m in report.members if m.health is MemberHealth.DROPPED}
    awaited = {r.id for r in volume.replicas if r.state is REBUILDING} & dropped
    recovered = _recovered(volume, report)
    for replica_id in awaited:  # its rejoin is still on the way
        del lost[replica_id]
    after = lose(volume, report.epoch, lost, recovered)
    return resync_done(after, report.epoch) if report.resync_done else after


def _recovered(volume: Volume, report: ArrayReport) -> set[str]:
    """Not of an attempt before this one (I3): the replica was lost again since, and may lack more."""
    as_of = {r.id: r.as_of for r in volume.replicas if report.record_version >= r.as_of}
    done = (m for m in report.members if m.health is MemberHealth.RECOVERED and m.replica_id in as_of)
    return {m.replica_id for m in done if not m.attempt or m.attempt >= as_of[m.replica_id]}


def _gone(health: MemberHealth) -> bool:
    return health in {MemberHealth.LOST, MemberHealth.DROPPED}


def _covered(health: MemberHealth, *, covers: bool) -> bool:
    return covers and health is MemberHealth.LOST


def lose(volume: Volume, epoch: int, lost: Mapping[str, bool], recovered: Collection[str] = ()) -> Volume:
    """`lost` (id → whether bitmaps cover what it lacks) miss writes. Persist it before they are acknowledged.

    `recovered` come into sync in the same step: the last recorded replica may fail just as another, not yet
    recorded, has finished; two swaps in the wrong order would wedge the volume. When fewer than `min_in_sync`
    would be left (none, as a rule), all of them stay in sync and writes wait: who answers first goes on.
    """
    _require_epoch(volume, epoch)
    revived = _map(volume, lambda r: _finished(r) if r.id in recovered else r)
    synced = in_sync(revived)
    too_few = sum(r.id not in lost for r in synced) < min(max(volume.min_in_sync, 1), len(synced))

    def fate(replica: Replica) -> Replica:
        if replica.id not in lost or (replica.state is IN_SYNC and too_few):
            return replica
        return _dropped(replica, covers=lost[replica.id])

    return _settled(_map(revived, fate))


def start_rebuild(volume: Volume, replica_id: str, copy: CopyMode, boot_id: str, *, volatile: bool) -> Volume:
    """A stale replica is about to join the running array. `copy` and the node's boot come from rebuild.py."""
    if volume.attachment is not ATTACHED:
        raise Conflict(f"volume {volume.name} is {volume.attachment}: nothing to rebuild into")
    _require_stale(volume, replica_id)
    replica = get_replica(volume, replica_id)
    kept = CopyMode.FULL if copy is CopyMode.FULL else replica.copy
    begun = replace(
        replica,
        state=REBUILDING,
        copy=kept,
        marked=0 if kept is CopyMode.FULL else replica.marked,
        boot_id=boot_id,
        volatile_cache=replica.volatile_cache or volatile,
    )
    return _without_bitmaps(_map(volume, lambda r: begun if r.id == replica_id else r))


def mark(volume: Volume, replica_ids: Collection[str], version: int) -> Volume:
    """Their headers have this version of the record: a disk that shows an older one is an old copy of itself.

    Before anything is written to them. An old copy may lack what no bitmap knows of any more (I1).
    """
    return _map(volume, lambda r: replace(r, marked=max(r.marked, version)) if r.id in replica_ids else r)


def can_resume(volume: Volume) -> bool:
    """Whether the copy under way makes the array complete: only then md clears bits as it goes."""
    rebuilding = sum(r.state is REBUILDING for r in volume.replicas)
    return rebuilding == 1 and len(in_sync(volume)) + 1 == volume.replica_count


def make_resumable(volume: Volume, epoch: int, replica_id: str) -> Volume:
    """All bits were set before its full copy began: from now on the bitmap covers what it lacks.

    They stay set while it is away: the array is not complete without it (`can_resume`), and a record that
    becomes complete in another way forgets (`_settled`).
    """
    _require_epoch(volume, epoch)

    def fate(replica: Replica) -> Replica:
        begun = replica.id == replica_id and replica.state is REBUILDING and can_resume(volume)
        return replace(replica, copy=CopyMode.UNLESS_BOOTED) if begun else replica

    return _map(volume, fate)


def finish_rebuild(volume: Volume, epoch: int, replica_id: str) -> Volume:
    """Its recovery has ended under `epoch`."""
    return lose(volume, epoch, {}, (replica_id,))


def stop_rebuild(volume: Volume, epoch: int, replica_id: str) -> Volume:
    """It could not join, or its array no longer knows it: it waits for another attempt."""
    _require_epoch(volume, epoch)
    return _map(volume, lambda r: _interrupted(r) if r.id == replica_id else r)


def add_replica(
    volume: Volume, node: str, volume_group: str, other_groups: tuple[str, ...] = (), *, striped: bool = False
) -> Volume:
    """One more, that holds nothing yet. To be made after this is recorded."""
    place = Replica(f"r{volume.next_replica}", node, volume_group, STALE, CopyMode.FULL)
    new = replace(place, other_groups=other_groups, striped=striped)
    return replace(volume, replicas=(*volume.replicas, new), next_replica=volume.next_replica + 1)


def renew_replica(volume: Volume, replica_id: str) -> Volume:
    """What its disk held is gone, and it is to be made anew: it lacks everything."""
    _require_stale(volume, replica_id)
    return _map(volume, lambda r: replace(r, copy=CopyMode.FULL) if r.id == replica_id else r)


def forget_replica(volume: Volume, replica_id: str) -> Volume:
    """It is no part of the volume any more."""
    _require_stale(volume, replica_id)
    return replace(volume, replicas=tuple(r for r in volume.replicas if r.id != replica_id))


def retire_replica(volume: Volume, replica_id: str) -> Volume:
    """More are in sync than the volume wants: this one is to miss writes from now on."""
    if len(in_sync(volume)) <= volume.replica_count or get_replica(volume, replica_id).state is not IN_SYNC:
        raise Conflict(f"replica {replica_id} of volume {volume.name} is not one too many")
    return _settled(_map(volume, lambda r: _dropped(r, covers=False) if r.id == replica_id else r))


def mark_leaving(volume: Volume, replica_ids: Collection[str]) -> Volume:
    """These, and no others, are to be replaced although nothing is wrong with them."""
    return _map(volume, lambda r: replace(r, leaving=r.id in replica_ids))


def forsake(volume: Volume, node: str) -> Volume:
    """What lies on `node` will never be seen again.

    Where nothing else is in sync it stays so: the volume is lost. Conflict while an array still counts on it.
    """
    gone = [r for r in in_sync(volume) if r.node == node]
    if len(gone) == len(in_sync(volume)):
        return volume
    if gone and volume.attachment is not DETACHED:
        raise Conflict(f"volume {volume.name} still counts on its replica on node {node}: try again")
    return _settled(_map(volume, lambda r: _dropped(r, covers=False) if r in gone else r))


def recover(volume: Volume, replica_id: str) -> Volume:
    """Go on from a stale replica, because nothing better is left: what it lacks is lost, by somebody's word.

    Or from an old copy of one in sync. The only step that breaks I1. A new epoch, so that nothing of before
    is ever believed again.
    """
    if get_replica(volume, replica_id).state is REBUILDING:
        raise Conflict(f"replica {replica_id} of volume {volume.name} is being rebuilt")

    def fate(replica: Replica) -> Replica:
        if replica.id == replica_id:
            return replace(replica, state=IN_SYNC, marked=0)
        return replace(replica, state=STALE, copy=CopyMode.FULL)

    ended = replace(_map(volume, fate), consumer=None, upkeep=False, attachment=DETACHED)
    return replace(ended, epoch=volume.epoch + 1, resync_source=None, lost_since=0.0)


def begin_attach(volume: Volume, node: str) -> Volume:
    """A new epoch for `node`. Attached there already: its array is gone, so its end was not clean."""
    if volume.phase not in {Phase.READY, Phase.EXPANDING}:
        raise FailedPrecondition(f"volume {volume.name} is {volume.phase}")
    again = volume.attachment is ATTACHED and volume.consumer == node
    if volume.attachment is not DETACHED and not again:
        raise FailedPrecondition(f"volume {volume.name} is {volume.attachment} on node {volume.consumer}")
    begun = replace(_map(volume, _interrupted), epoch=volume.epoch + 1, attachment=ATTACHING, consumer=node)
    return _with_source(begun) if again or volume.resync_source is not None else begun


def admit(
    volume: Volume,
    epoch: int,
    ready: Mapping[str, tuple[str, bool]],
    left_out: Mapping[str, CopyMode],
) -> Volume:
    """Those `ready` for the epoch (id → boot, volatile cache) start; the others are stale from now on."""
    _require_epoch(volume, epoch)
    if not any(r.id in ready and r.id not in left_out for r in in_sync(volume)):
        raise FailedPrecondition(f"no replica of volume {volume.name} can start")

    def fate(replica: Replica) -> Replica:
        if replica.state is not IN_SYNC:
            return replica
        if replica.id in left_out or replica.id not in ready:
            return replace(replica, state=STALE, copy=left_out.get(replica.id, CopyMode.UNLESS_BOOTED))
        return replace(replica, boot_id=ready[replica.id][0], volatile_cache=ready[replica.id][1])

    return _settled(_map(volume, fate))


def finish_attach(volume: Volume, epoch: int) -> Volume:
    """The array of `epoch` runs."""
    _require_epoch(volume, epoch)
    return _moved(volume, {ATTACHING, ATTACHED}, ATTACHED)


def undo_attach(volume: Volume, epoch: int) -> Volume:
    """Nobody was told of the array of `epoch`, so nobody wrote: no resync is owed because of it."""
    _require_epoch(volume, epoch)
    return _ended(_moved(volume, {ATTACHING}, DETACHED))


def begin_detach(volume: Volume) -> Volume:
    return _moved(volume, {ATTACHED, DETACHING}, DETACHING)


def undo_detach(volume: Volume, epoch: int) -> Volume:
    """It is in use."""
    _require_epoch(volume, epoch)
    return _moved(volume, {DETACHING}, ATTACHED)


def finish_detach(volume: Volume, epoch: int, *, clean: bool = True) -> Volume:
    """Its node has no array any more. Not clean: it had none before either, so its machine crashed.

    A resync that was not done stays owed.
    """
    _require_epoch(volume, epoch)
    ended = _ended(_moved(volume, {DETACHING}, DETACHED))
    return ended if clean else _with_source(ended)


def can_fence(volume: Volume) -> bool:
    """Whether a replica in sync lies where the consumer reaches it through us alone."""
    return any(r.node != volume.consumer for r in in_sync(volume))


def fence(volume: Volume) -> Volume:
    """The consumer is given up unasked. Its own replica starts again when its node has ended the array."""
    _require_attachment(volume, {ATTACHED, DETACHING})
    return _with_source(_ended(replace(volume, epoch=volume.epoch + 1, attachment=DETACHED)))


def leave_behind(volume: Volume, epoch: int, node: str, sure: Collection[str]) -> Volume:
    """`sure` have answered the fence of `epoch` and lack nothing: the consumer's own is not waited for."""
    others = [r.id for r in in_sync(volume) if r.node != node and r.id in sure]
    if not others or (volume.epoch, volume.attachment) != (epoch, DETACHED):
        return volume
    return _settled(_map(volume, lambda r: _dropped(r, covers=False) if r.node == node else r))


def resync_done(volume: Volume, epoch: int) -> Volume:
    """All members are equal again. Not known while ATTACHING: that may be undone, and flushes nothing."""
    _require_epoch(volume, epoch)
    return volume if volume.attachment is ATTACHING else replace(volume, resync_source=None)


def stamp(before: Volume, after: Volume, wall: float, version: int) -> Volume:
    """Note the time, and the version that the record is about to have, at replicas whose state changed."""
    states = {r.id: r.state for r in before.replicas}
    return _map(after, lambda r: r if states.get(r.id) is r.state else replace(r, since=wall, as_of=version))


def _require_epoch(volume: Volume, epoch: int) -> None:
    if volume.epoch != epoch or volume.consumer is None:
        owner = f"epoch {volume.epoch} on {volume.consumer or 'no node'}"
        raise StaleEpoch(f"epoch {epoch} of volume {volume.name} is over: the record has {owner}")


def _require_attachment(volume: Volume, allowed: Collection[Attachment]) -> None:
    if volume.attachment not in allowed:
        raise Conflict(f"volume {volume.name} is {volume.attachment} by now")


def _require_stale(volume: Volume, replica_id: str) -> None:
    state = get_replica(volume, replica_id).state
    if state is not STALE:
        raise Conflict(f"replica {replica_id} of volume {volume.name} is {state}, not stale")


def _moved(volume: Volume, allowed: Collection[Attachment], to: Attachment) -> Volume:
    _require_attachment(volume, allowed)
    return replace(volume, attachment=to)


def _ended(volume: Volume) -> Volume:
    return replace(_map(volume, _interrupted), consumer=None, upkeep=False)


def _map(volume: Volume, fate: Callable[[Replica], Replica]) -> Volume:
    return replace(volume, replicas=tuple(fate(r) for r in volume.replicas))


def _finished(replica: Replica) -> Replica:
    return replace(replica, state=IN_SYNC) if replica.state is REBUILDING else replica


def _interrupted(replica: Replica) -> Replica:
    return _dropped(replica, covers=False) if replica.state is REBUILDING else replica


def _dropped(replica: Replica, *, covers: bool) -> Replica:
    """A stale replica stays what it was. One that was being rebuilt lacks what it lacked, and more."""
    if replica.state is STALE:
        return replica
    copy = CopyMode.BITMAP if covers else CopyMode.UNLESS_BOOTED
    if replica.state is REBUILDING and replica.copy is not CopyMode.BITMAP:
        copy = replica.copy
    return replace(replica, state=STALE, copy=copy)


def _settled(volume: Volume) -> Volume:
    """A complete array forgets its bitmaps; a resync whose source went needs another."""
    whole = _without_bitmaps(volume)
    return _with_source(whole) if whole.resync_source is not None else whole


def _without_bitmaps(volume: Volume) -> Volume:
    """Of a complete array, they mark nothing for others; nor as the copy goes that makes it complete."""
    if sum(r.state is not STALE for r in volume.replicas) < volume.replica_count:
        return volume
    return _map(volume, lambda r: replace(r, copy=CopyMode.FULL) if r.state is STALE else r)


def _with_source(volume: Volume) -> Volume:
    """Keep the source while it is in sync; else the consumer's own replica, else the first."""
    candidates = in_sync(volume)
    best = min(candidates, key=lambda r: (r.id != volume.resync_source, r.node != volume.consumer))
    return replace(volume, resync_source=best.id)
