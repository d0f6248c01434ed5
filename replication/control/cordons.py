"""Nodes and disks that get no new replicas, and those whose replicas are moved away. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from replication.model import NodeFacts, Replica, Volume, VolumeGroup


@dataclass(frozen=True, slots=True)
class Cordon:
    """Around a node, or around one disk of it."""

    name: str  # NODE, or NODE/VOLUME_GROUP
    draining: bool = False  # what is there moves away
    follows: str = ""  # whose word it is, and who lifts it; empty: an administrator's
    disk: str = ""  # the path that the disk had

    def covers(self, node: str, volume_group: str) -> bool:
        return self.name in {node, disk_name(node, volume_group)}


WHY_SHUT = "it is cordoned: `trilith disk uncordon` lets a pool take it"


def disk_name(node: str, volume_group: str) -> str:
    """What a cordon around this disk is called."""
    return f"{node}/{volume_group}"


def shut_disks(facts: NodeFacts, cordons: Iterable[Cordon]) -> NodeFacts:
    """As if disks that are cordoned themselves, and in no pool, could not be used."""
    names = {cordon.name for cordon in cordons}
    disks = (
        replace(disk, usable=False, why_not=WHY_SHUT)
        if disk.usable and disk_name(facts.node, disk.volume_group) in names
        else disk
        for disk in facts.disks
    )
    return replace(facts, disks=tuple(disks))


def find_pooled(facts: NodeFacts, path: str) -> str | None:
    """What a cordon is called around the disk that a pool has by this path."""
    groups = (group.name for group in facts.volume_groups if group.disk == path)
    return next((disk_name(facts.node, name) for name in groups), None)


def is_there(facts: NodeFacts, name: str) -> bool:
    """Whether the node has the disk that the cordon of this name is around, in a pool or in none."""
    return any(disk_name(facts.node, disk.volume_group) == name for disk in facts.disks)


def find_cordon(facts: NodeFacts, path: str, cordons: Collection[Cordon]) -> Cordon | None:
    """Around the disk at this path; else around one that had it, and is not in the node any more."""
    names = {disk_name(facts.node, disk.volume_group) for disk in facts.disks if disk.path == path}
    here = [c for c in cordons if c.name in names or c.name == find_pooled(facts, path)]
    gone = [c for c in cordons if c.disk == path and is_of(facts.node, c) and not is_there(facts, c.name)]
    return next(iter(here + gone), None)


def is_of(node: str, cordon: Cordon) -> bool:
    """Whether it is around the node, or around a disk of it."""
    return node in {cordon.name, cordon.name.rpartition("/")[0]}


def list_open(
    node: str, groups: Iterable[VolumeGroup], cordons: Collection[Cordon]
) -> tuple[VolumeGroup, ...]:
    """Those that may get new replicas."""
    return tuple(g for g in groups if not any(c.covers(node, g.name) for c in cordons))


def open_facts(facts: Mapping[str, NodeFacts], cordons: Collection[Cordon]) -> dict[str, NodeFacts]:
    """As if cordoned disks were not there."""
    return {
        node: replace(found, volume_groups=list_open(node, found.volume_groups, cordons))
        for node, found in facts.items()
    }


def list_inside(volume: Volume, cordon: Cordon) -> tuple[Replica, ...]:
    """Also those that only a part of lies there."""
    return tuple(r for r in volume.replicas if any(cordon.covers(r.node, group) for group in r.groups))


def choose_leaving(volume: Volume, cordons: Collection[Cordon]) -> frozenset[str]:
    """The replicas whose place is being drained."""
    draining = [cordon for cordon in cordons if cordon.draining]
    return frozenset(r.id for cordon in draining for r in list_inside(volume, cordon))


def differs(volume: Volume, leaving: Collection[str]) -> bool:
    """Whether the record does not say it yet."""
    return any(r.leaving != (r.id in leaving) for r in volume.replicas)
