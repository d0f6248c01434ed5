"""Which replicas an array starts with, by what their nodes answered. Pure.

What it has to keep of I1 to I4 (insync.py), and tests/simulation checks after every step:

* I1  Nobody starts who may lack an acknowledged write, as long as somebody starts who lacks none.
* I2  Nobody starts who has not ended the older epochs' exports: no answer means not fenced.
* I4  Somebody starts, or nothing is recorded.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from replication.control.insync import in_sync
from replication.errors import DataLoss, StaleEpoch, TrilithError, Unavailable
from replication.model import CopyMode, Member, Prepared, Replica, Volume


@dataclass(frozen=True, slots=True)
class Start:
    """Who starts (id → boot, volatile cache), and who does not: how to bring it back, and why."""

    ready: dict[str, tuple[str, bool]]
    left_out: dict[str, CopyMode]
    reasons: dict[str, str]


def choose_start(volume: Volume, answers: Mapping[str, Prepared | TrilithError]) -> Start:
    """`volume` is the record with the boots of its last epoch. Unavailable when nobody can start.

    A replica that is suspect, or whose node lost power since the unclean stop, starts only if no better one
    does: it may lack acknowledged writes, but then nobody has more. Whoever is not ready may have what a
    suspect one refused: he is waited for, or the volume is lost (replacement.is_lost).
    """
    prepared = {key: answer for key, answer in answers.items() if isinstance(answer, Prepared)}
    failed = {key: answer for key, answer in answers.items() if isinstance(answer, TrilithError)}
    _require_recent(volume, failed)
    if not prepared:
        raise Unavailable(f"no replica of volume {volume.name} can start: {_named(volume, failed)}")
    doubts = {key: _doubt(volume, key, answer) for key, answer in prepared.items()}
    best = min(prepared, key=lambda key: _rank(volume, key, doubts[key]))
    if doubts[best] == SUSPECT:
        _require_nobody_missing(volume, failed)
    out = {key: doubt for key, doubt in doubts.items() if doubt and key != best}
    ready = {k: (p.boot_id, p.facts.volatile_cache) for k, p in prepared.items() if k not in out}
    modes = {key: CopyMode.FULL if doubt == SUSPECT else CopyMode.UNLESS_BOOTED for key, doubt in out.items()}
    absent = {key: _mode(error) for key, error in failed.items()}
    return Start(ready, modes | absent, out | {key: str(error) for key, error in failed.items()})


def are_enough(volume: Volume, answers: Mapping[str, Prepared | TrilithError]) -> bool:
    """Whether as many can start of whom it is sure that they lack nothing as there have to be."""
    return len(list_sure(volume, answers)) >= (1 if volume.upkeep else max(1, volume.min_in_sync))


def list_sure(volume: Volume, answers: Mapping[str, Prepared | TrilithError]) -> tuple[str, ...]:
    """Those that are ready, and lack nothing that was acknowledged before."""
    prepared = ((key, answer) for key, answer in answers.items() if isinstance(answer, Prepared))
    return tuple(key for key, answer in prepared if not _doubt(volume, key, answer))


def would_do(volume: Volume, start: Start, answers: Mapping[str, Prepared | TrilithError]) -> bool:
    """Whether too few start only because others are silent: nobody is given up for what cannot be anyway."""
    silent = sum(isinstance(answer, Unavailable) for answer in answers.values())
    return len(start.ready) < volume.min_in_sync <= len(start.ready) + silent


def order_members(volume: Volume, prepared: Mapping[str, Prepared]) -> tuple[Member, ...]:
    """Those in sync: the source of an owed resync first, then the consumer's own, then the others."""

    def rank(replica: Replica) -> tuple[bool, bool]:
        return replica.id != volume.resync_source, replica.node != volume.consumer

    ready = sorted((r for r in in_sync(volume) if r.id in prepared), key=rank)
    return tuple(Member(r.id, prepared[r.id].target) for r in ready)


SUSPECT = "its disk refused a write"
BOOTED = "its node has booted since the unclean stop"


def _doubt(volume: Volume, replica_id: str, answer: Prepared) -> str:
    if answer.facts.suspect:
        return SUSPECT
    boots = {r.id: r.boot_id for r in volume.replicas}
    unclean = volume.resync_source is not None
    return BOOTED if unclean and boots[replica_id] != answer.boot_id else ""


def _rank(volume: Volume, replica_id: str, doubt: str) -> tuple[int, bool, str]:
    worse = ("", BOOTED, SUSPECT).index(doubt)
    return worse, replica_id != volume.resync_source, replica_id


def _mode(error: TrilithError) -> CopyMode:
    """Silent: it holds all but what comes now. Anything else: who knows what it holds."""
    return CopyMode.UNLESS_BOOTED if isinstance(error, Unavailable) else CopyMode.FULL


def _require_recent(volume: Volume, failed: Mapping[str, TrilithError]) -> None:
    newer = {key: error for key, error in failed.items() if isinstance(error, StaleEpoch)}
    if newer:
        raise DataLoss(
            f"the record of volume {volume.name} (epoch {volume.epoch}) is older than its disks, "
            f"was the state store restored? {_named(volume, newer)}"
        )


def _require_nobody_missing(volume: Volume, failed: Mapping[str, TrilithError]) -> None:
    """A disk may only not be seen yet: whether it is gone is not decided here."""
    if failed:
        raise Unavailable(
            f"volume {volume.name}: of its replicas in sync only such can start whose disk has refused a "
            f"write, others may have it: {_named(volume, failed)}. Of a machine that never comes back, "
            f"say so with `trilith node remove NODE --lost`; of a disk, with `trilith volume recover`"
        )


def _named(volume: Volume, failed: Mapping[str, TrilithError]) -> str:
    nodes = {r.id: r.node for r in volume.replicas}
    return "; ".join(f"{key} on {nodes[key]}: {error}" for key, error in sorted(failed.items()))
