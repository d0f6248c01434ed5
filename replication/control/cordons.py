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

    def covers(self, node: str, volume_group: str) -> bool:
        return self.name in {node, disk_name(node, volume_group)}


def disk_name(node: str, volume_group: str) -> str:
    """What a cordon around this disk is called."""
    return f"{node}/{volume_group}"


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
