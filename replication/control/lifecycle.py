"""Making, growing and deleting a volume: what the record says first, and what is to be done next. Pure.

What it has to keep of I1 to I4 (insync.py):

* I1  Replicas are in sync from the start only because all of them were made of zeroes, and nobody could write
      before. Growing changes nobody's state: the volume has the new size when its members do, and before its
      array does, so that no replica comes into sync without what may be written there.
* I2  A volume is deleted only when nobody may write to it.
* I4  A volume is ready when all of its replicas are in sync, and growing takes none of them away.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum

from replication.control.placement import Place, round_up
from replication.errors import AlreadyExists, Conflict, FailedPrecondition, InvalidRequest, OutOfRange
from replication.layout import choose_bitmap_chunk, largest_data_bytes
from replication.model import (
    NO_LIMITS,
    Attachment,
    CopyMode,
    Limits,
    Phase,
    Replica,
    ReplicaState,
    Volume,
)


@dataclass(frozen=True, slots=True)
class VolumeRequest:
    """A volume that somebody wants. Two that differ in nodes or limits, which can change, mean the same."""

    name: str
    size_bytes: int  # rounded up to whole extents of 4 MiB
    pool: str
    replica_count: int | None = None  # None: the pool's
    parameters: tuple[tuple[str, str], ...] = ()  # kept with the volume, compared on a repeat
    preferred_nodes: tuple[str, ...] = ()  # the scheduler's choice first
    required_nodes: tuple[str, ...] = ()  # no other will do; empty: any
    spread: str = ""  # label of nodes in which replicas must differ; "": zones, as far as possible
    limits: Limits = NO_LIMITS


class Step(StrEnum):
    """What an operation that was cut short needs next."""

    NOTHING = "nothing"
    UNDO_CREATE = "undo the creation"
    FINISH_DELETE = "finish the deletion"
    FINISH_EXPAND = "finish the expansion"
    UNDO_ATTACH = "undo the attachment"
    FINISH_DETACH = "finish the detachment"


def check_request(request: VolumeRequest) -> None:
    if not request.name:
        raise InvalidRequest("a volume needs a name")
    if request.size_bytes <= 0:
        raise InvalidRequest(f"volume {request.name}: {request.size_bytes} bytes is no size")


def new_volume(
    volume_id: str, request: VolumeRequest, replica_count: int, places: Collection[Place], wall: float
) -> Volume:
    """The intent to make it: nothing is in sync yet."""
    replicas = tuple(
        Replica(
            id=f"r{number}",
            node=place.node,
            volume_group=place.volume_group,
            state=ReplicaState.STALE,
            since=wall,
            other_groups=place.other_groups,
            striped=place.striped,
        )
        for number, place in enumerate(places)
    )
    return Volume(
        id=volume_id,
        name=request.name,
        pool=request.pool,
        size_bytes=round_up(request.size_bytes),
        bitmap_chunk_bytes=choose_bitmap_chunk(request.size_bytes),
        replica_count=replica_count,
        phase=Phase.CREATING,
        replicas=replicas,
        next_replica=len(replicas),
        parameters=tuple(sorted(request.parameters)),
        created=wall,
        limits=request.limits,
    )


def check_same(volume: Volume, request: VolumeRequest, replica_count: int) -> None:
    """AlreadyExists, saying what differs, unless `volume` is what `request` asks for."""
    has, wanted = dict(volume.parameters), dict(request.parameters)
    asked: dict[str, tuple[object, object]] = {
        "size": (volume.target_size_bytes or volume.size_bytes, round_up(request.size_bytes)),
        "pool": (volume.pool, request.pool),
        "replicas": (volume.replica_count, replica_count),
        **{key: (has.get(key, "not set"), wanted.get(key, "not set")) for key in sorted({*has, *wanted})},
    }
    differing = [f"{what} is {there}, not {here}" for what, (there, here) in asked.items() if there != here]
    if differing:
        raise AlreadyExists(f"volume {volume.name} exists: {'; '.join(differing)}")


def finish_create(volume: Volume) -> Volume:
    """Every replica has been made of zeroes, so all are equal."""
    _require_phase(volume, Phase.CREATING)
    made = tuple(replace(r, state=ReplicaState.IN_SYNC, copy=CopyMode.UNLESS_BOOTED) for r in volume.replicas)
    return replace(volume, phase=Phase.READY, replicas=made)


def begin_delete(volume: Volume) -> Volume:
    """FailedPrecondition while it is attached."""
    if volume.attachment is not Attachment.DETACHED:
        raise FailedPrecondition(f"volume {volume.name} is {volume.attachment} on node {volume.consumer}")
    return replace(volume, phase=Phase.DELETING)


def begin_expand(volume: Volume, size_bytes: int) -> Volume:
    """Unchanged when it is that large already: a volume never shrinks. FailedPrecondition when it is lost."""
    if volume.phase not in {Phase.READY, Phase.EXPANDING}:
        raise FailedPrecondition(f"volume {volume.name} is {volume.phase}")
    target = max(round_up(size_bytes), volume.target_size_bytes)
    if volume.phase is Phase.READY and target <= volume.size_bytes:
        return volume
    if volume.lost_since:
        raise FailedPrecondition(
            f"volume {volume.name} is lost: every replica in sync is gone, and none can grow before one is "
            f"back, or somebody says `trilith volume recover`"
        )
    largest = largest_data_bytes(volume.bitmap_chunk_bytes)
    if target > largest:
        raise OutOfRange(f"volume {volume.name}: it can grow to {largest} bytes, {target} are asked for")
    return replace(volume, phase=Phase.EXPANDING, target_size_bytes=target)


def show_growth(volume: Volume, size_bytes: int) -> Volume:
    """Its members have `size_bytes`; persist this before its array has: its user may write there at once.

    Whoever hears nothing more of that array knows from it what a replica must hold, and that what is new may
    be marked in the dead consumer's memory alone. Unchanged when others, while we stood still, came further.
    """
    _require_phase(volume, Phase.EXPANDING)
    if size_bytes <= volume.size_bytes:
        return volume
    return replace(volume, size_bytes=size_bytes, grown_from=volume.grown_from or volume.size_bytes)


def finish_expand(volume: Volume, size_bytes: int) -> Volume:
    """Its replicas have `size_bytes` now, and its array if there is one. A larger wish stays.

    Without an array nobody has marked what one before may have had. Unchanged when others came further.
    """
    _require_phase(volume, Phase.EXPANDING)
    if size_bytes < volume.size_bytes:
        return volume
    marked = volume.attachment is Attachment.ATTACHED
    grown = replace(volume, size_bytes=size_bytes, grown_from=0 if marked else volume.grown_from)
    if volume.target_size_bytes > size_bytes:
        return grown
    return replace(grown, phase=Phase.READY, target_size_bytes=0)


def note_marked(volume: Volume) -> Volume:
    """An array runs that began with its size, and with all marked from where it had grown."""
    return volume if volume.phase is Phase.EXPANDING else replace(volume, grown_from=0)


def undo_expand(volume: Volume) -> Volume:
    """It cannot be had. Replicas that grew already keep the room; the next expansion uses it.

    A smaller one that may have been shown to its user is finished, where there is an array.
    """
    _require_phase(volume, Phase.EXPANDING)
    if volume.grown_from and volume.attachment is not Attachment.DETACHED:
        return replace(volume, target_size_bytes=volume.size_bytes)
    return replace(volume, phase=Phase.READY, target_size_bytes=0)


def is_in_use(volume: Volume) -> bool:
    """Whether somebody counts on an array of it."""
    return volume.attachment is Attachment.ATTACHED and not volume.upkeep


def has_booted(volume: Volume, boot_id: str) -> bool:
    """Whether its user's node, now in `boot_id`, has lost the array to a boot. A node that boots has none."""
    return is_in_use(volume) and volume.consumer_boot not in {"", boot_id}


def choose_step(volume: Volume) -> Step:
    """What to do when nobody is working on it any more."""
    by_phase = {
        Phase.CREATING: Step.UNDO_CREATE,
        Phase.DELETING: Step.FINISH_DELETE,
        Phase.EXPANDING: Step.FINISH_EXPAND,
    }
    by_attachment = {
        Attachment.ATTACHING: Step.UNDO_ATTACH,
        Attachment.DETACHING: Step.FINISH_DETACH,
    }
    return by_attachment.get(volume.attachment) or by_phase.get(volume.phase, Step.NOTHING)


def _require_phase(volume: Volume, phase: Phase) -> None:
    if volume.phase is not phase:
        raise Conflict(f"volume {volume.name} is {volume.phase} by now, not {phase}")
