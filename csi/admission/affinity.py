"""Where a pod should rather run, as preferred node affinities: pure.

Nodes are named by the label that the kubelet gives them for our node plugin. `matchFields`, which knows a
node's name, takes one name in a term only (ValidateNodeFieldSelectorRequirement); `kubernetes.io/hostname` is
not the node's name everywhere.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from csi.admission.known import KnownDiskPool
from csi.admission.review import Step
from csi.topology import NODE_KEY, to_segment
from replication.kubernetes.access import Json

MOST_NODES = 100
"""In one term, those with most room: a pod object is no place for a list of all nodes."""

PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
PATH = ("affinity", "nodeAffinity", PREFERRED)


@dataclass(frozen=True, slots=True)
class Use:
    """A volume of a pod that the pod should be near to."""

    pool: str
    size_bytes: int = 0  # of one that is still to be made
    replicas: frozenset[str] = frozenset()  # nodes that hold one


def choose_terms(uses: Iterable[Use], disk_pools: Iterable[KnownDiskPool]) -> tuple[Json, ...]:
    """One point for a node with a usable disk pool, one more for one that holds a replica."""
    known = tuple(disk_pools)
    groups = [nodes for use in uses for nodes in (_find_usable(use, known), tuple(sorted(use.replicas)))]
    return tuple(_to_term(nodes) for nodes in dict.fromkeys(groups) if nodes)


def make_patch(pod: Json, terms: Iterable[Json]) -> tuple[Step, ...]:
    """Adds the terms that are not there yet, and keeps whatever is."""
    place, path, there = pod["spec"], "/spec", True
    steps: list[Step] = []
    for key in PATH:
        path = f"{path}/{key}"
        there = there and bool(place.get(key))
        place = place[key] if there else {}
        if not there:
            steps.append({"op": "add", "path": path, "value": [] if key == PREFERRED else {}})
    new = [term for term in terms if not there or term not in place]
    return (*steps, *({"op": "add", "path": f"{path}/-", "value": term} for term in new)) if new else ()


def _find_usable(use: Use, disk_pools: tuple[KnownDiskPool, ...]) -> tuple[str, ...]:
    """One that is there already needs no room, and one of no known size takes what there is."""
    fitting = [
        each
        for each in disk_pools
        if each.pool == use.pool and each.ready and each.room_bytes >= use.size_bytes
    ]
    fitting.sort(key=lambda each: (-each.room_bytes, each.node))
    return tuple(sorted(each.node for each in fitting[:MOST_NODES]))


def _to_term(nodes: tuple[str, ...]) -> Json:
    values = [to_segment(node) for node in nodes]
    expression = {"key": NODE_KEY, "operator": "In", "values": values}
    return {"weight": 1, "preference": {"matchExpressions": [expression]}}
