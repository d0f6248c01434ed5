"""Where a volume can be used, and where its replicas should lie, in the words of the CSI specification.

A volume of several replicas can be used from every node of the cluster: one key, which never changes, since
what a volume was made with cannot be changed later. A single replica is used where it lies. Zone and region
only say which nodes are meant.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256

from csi.v1 import csi_pb2
from replication.errors import InvalidRequest, OutOfSpace
from replication.model import Node, Volume

NODE_KEY = "topology.trilith.io/node"
CLUSTER_KEY = "topology.trilith.io/cluster"
LABEL_KEYS = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")
KEYS = (CLUSTER_KEY, NODE_KEY, *LABEL_KEYS)

MAX_SEGMENT = 63
_SEGMENT = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Place:
    """A topology: (key, value), sorted; what is not in it may be anything."""

    segments: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return ", ".join(f"{key}={value}" for key, value in self.segments) or "anywhere"


@dataclass(frozen=True, slots=True)
class Accessibility:
    """From where a new volume must be, and should be, usable; best first."""

    requisite: tuple[Place, ...] = ()
    preferred: tuple[Place, ...] = ()


def parse_accessibility(message: csi_pb2.TopologyRequirement) -> Accessibility:
    return Accessibility(
        tuple(parse_place(topology, "accessibility_requirements") for topology in message.requisite),
        tuple(parse_place(topology, "accessibility_requirements") for topology in message.preferred),
    )


def parse_place(message: csi_pb2.Topology, what: str) -> Place:
    unknown = sorted(set(message.segments) - set(KEYS))
    if unknown:
        raise InvalidRequest(f"{what}: unknown topology key {unknown[0]!r}: must be one of {', '.join(KEYS)}")
    return make_place(message.segments)


def make_place(segments: Mapping[str, str]) -> Place:
    return Place(tuple(sorted(segments.items())))


def to_segment(name: str) -> str:
    """A node's name as the value of a label, which Kubernetes bounds: a hash where it does not fit."""
    if len(name) <= MAX_SEGMENT and _SEGMENT.fullmatch(name):
        return name
    return f"sha256-{sha256(name.encode()).hexdigest()[:48]}"


def place_of_node(name: str, cluster: str) -> Place:
    return make_place({NODE_KEY: to_segment(name), CLUSTER_KEY: cluster})


def find_places(volume: Volume, cluster: str) -> tuple[Place, ...]:
    """A volume of one replica is used where it lies; any other from every node of the cluster."""
    if volume.replica_count > 1:
        return (make_place({CLUSTER_KEY: cluster}),)
    return tuple(place_of_node(replica.node, cluster) for replica in volume.replicas)


def match_nodes(places: Iterable[Place], nodes: Iterable[Node], cluster: str) -> tuple[str, ...]:
    """Names of the nodes that are meant, in the order of `places`."""
    known = tuple(nodes)
    matching = (node.name for place in places for node in known if is_in(node, place, cluster))
    return tuple(dict.fromkeys(matching))


def is_in(node: Node, place: Place, cluster: str) -> bool:
    """An empty value means nothing in particular."""
    own = {**dict(node.labels), **dict(place_of_node(node.name, cluster).segments)}
    return all(own.get(key) == value for key, value in place.segments if value)


def find_required(
    wanted: Accessibility, nodes: Iterable[Node], cluster: str, *, single: bool
) -> tuple[str, ...]:
    """Nodes of which a single replica must take one; empty: any. OutOfSpace when there are none such."""
    if not wanted.requisite:
        return ()
    matching = match_nodes(wanted.requisite, nodes, cluster)
    if not matching:
        asked = "; or ".join(str(place) for place in wanted.requisite)
        raise OutOfSpace(
            f"accessibility_requirements: no node of the cluster {cluster!r} is in what they ask for: {asked}"
        )
    return matching if single else ()


def find_preferred(wanted: Accessibility, nodes: Iterable[Node], cluster: str) -> tuple[str, ...]:
    return match_nodes(wanted.preferred + wanted.requisite, tuple(nodes), cluster)


def to_message(place: Place) -> csi_pb2.Topology:
    return csi_pb2.Topology(segments=dict(place.segments))
