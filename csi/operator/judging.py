"""What is said of pools: how much there is, whether a volume can be had, and why not. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from csi.operator.choosing import Choice
from csi.operator.conditions import READY, Condition
from csi.operator.resources import StoragePool
from replication.model import NodeFacts, Pool

SIZES = ("capacity", "available", "used", "reserved")
NAMED = 10  # more are counted


@dataclass(frozen=True, slots=True)
class Room:
    """What one pool has on one node; sizes by name of SIZES, in bytes."""

    node: str
    sizes: Mapping[str, int]
    ready: Condition


@dataclass(frozen=True, slots=True)
class Sight:
    """One node: what it said, or why it said nothing; of a pool's disks there, whether and why not."""

    facts: NodeFacts | None
    silence: str = ""
    lately: NodeFacts | None = None  # what it said a moment ago, where it says nothing now
    cordoned: bool = False  # it takes no new replicas
    taking: bool = False  # disks, at this moment
    failure: str = ""


def judge_room(pool: str, node: str, sight: Sight, before: Mapping[str, int]) -> Room:
    """`before`: the sizes that are known of a node which does not answer."""
    facts = sight.facts or sight.lately
    if facts is None:
        words = f"it does not answer: {sight.silence}"
        return Room(node, before, Condition(READY, None, "NodeSilent", words))
    groups = [group for group in facts.volume_groups if group.pool == pool]
    free, reserved = sum(g.free_bytes for g in groups), sum(g.reserved_bytes for g in groups)
    size = sum(group.size_bytes for group in groups)
    sizes = dict(zip(SIZES, (size, free, size - free - reserved, reserved), strict=True))
    return Room(node, sizes, _judge(sight, [group.disk for group in groups]))


def _judge(sight: Sight, disks: Collection[str]) -> Condition:
    if sight.taking and not sight.failure:
        return Condition(READY, bool(disks), "Taking", "its disks are being taken")
    if not disks:
        words = sight.failure or "it has no disk of the pool (any more)"
        return Condition(READY, False, "NoDisk", words)
    if sight.cordoned:
        words = "it is cordoned or drained: it gets no new replicas"
        return Condition(READY, False, "Cordoned", words)
    if sight.failure:
        return Condition(READY, False, "DiskRefused", sight.failure)
    return Condition(READY, True, "Usable", f"{len(disks)} of its disks: {', '.join(sorted(disks))}")


def judge_pool(pool: StoragePool, choice: Choice, record: Pool | None, rooms: Collection[Room]) -> Condition:
    """Whether a volume of this pool can be placed now."""
    if record is None:
        return _judge_unmade(pool, choice)
    usable = sorted(room.node for room in rooms if room.ready.met)
    if len(usable) >= pool.replicas:
        return Condition(READY, True, "Usable", f"volumes are made on {len(usable)} nodes")
    need = f"{_need(pool)}, {len(usable)} can be used"
    reasons = [f"node {room.node}: {room.ready.message}" for room in rooms if not room.ready.met]
    reason = "Making" if any(room.ready.reason == "Taking" for room in rooms) else "NotEnoughNodes"
    return Condition(READY, False, reason, "; ".join([need, *shorten(reasons)]))


def _judge_unmade(pool: StoragePool, choice: Choice) -> Condition:
    nodes = sorted(choice.disks)
    if len(nodes) >= pool.replicas:
        return Condition(READY, False, "Making", f"disks are taken on {', '.join(nodes)}")
    have = f"{len(nodes)} {'has' if len(nodes) == 1 else 'have'} a disk for this pool"
    need = f"{_need(pool)}, {have}"
    named = f"{need}: {', '.join(nodes)}" if nodes else need
    reasons = [f"node {node}: {why}" for node, why in sorted(choice.refused.items())]
    reason = "DisksTaken" if choice.rivals else "NotEnoughNodes"
    return Condition(READY, False, reason, "; ".join([named, *shorten(reasons)]))


def judge_refusal(pool: StoragePool, namespace: str) -> Condition | None:
    """Why nothing is made of it at all; pools are in `namespace`, so that no two have one name."""
    if pool.namespace != namespace:
        words = (
            f"pools are in namespace {namespace}, where Trilith is: volumes and StorageClasses are of the "
            f"whole cluster; make it there"
        )
        return Condition(READY, False, "OtherNamespace", words)
    if "." in pool.name or len(pool.name) > 63:
        words = "the name of a pool is part of other names: at most 63 letters, digits and '-', no '.'"
        return Condition(READY, False, "InvalidName", words)
    return None


def judge_deletion(name: str, volumes: Collection[str], failure: str) -> Condition:
    """Why a pool that is deleted is still there."""
    if volumes:
        named = ", ".join(shorten(sorted(volumes)))
        words = f"pool {name} holds volumes: {named}; it goes when they are deleted, and takes no new ones"
        return Condition("Deleting", False, "VolumesLeft", words)
    if failure:
        return Condition("Deleting", False, "DisksLeft", f"its disks are not given back: {failure}")
    return Condition("Deleting", True, "GivingBack", "its disks are given back")


def shorten(words: Collection[str]) -> list[str]:
    """As many as people read."""
    listed = list(words)
    more = [f"and {len(listed) - NAMED} more"] if len(listed) > NAMED else []
    return [*listed[:NAMED], *more]


def _need(pool: StoragePool) -> str:
    return f"{pool.replicas} replicas need {pool.replicas} nodes" if pool.replicas > 1 else "1 node is needed"


def add_up(rooms: Collection[Room]) -> dict[str, int]:
    """A pool's own sizes."""
    return {name: sum(room.sizes.get(name, 0) for room in rooms) for name in SIZES if name != "reserved"}
