"""Which nodes and disks get a new volume's replicas. Pure.

One replica per node: on one disk of it wherever it fits on one, else on as few as it takes; in a striped
pool on all of them. Replicas are spread over domains (zones, as a rule): the next one goes where the fewest
are. Of these, nodes where it fits on one disk come first; then those that the scheduler prefers, then those
with the most room; names break ties, so that equal facts give equal answers. Room whose old bytes are still
to be wiped comes last: whoever makes the replica there waits for it. A single replica goes where the
scheduler put the pod, if it fits there in any way.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from replication.errors import (
    FailedPrecondition,
    InvalidRequest,
    OutOfRange,
    OutOfSpace,
    TrilithError,
    Unavailable,
)
from replication.layout import DATA_OFFSET_BYTES, LARGEST_NEW_BYTES, PART_AREA_BYTES, split
from replication.model import GIB, MIB, Node, Pool, VolumeGroup

EXTENT_BYTES = 4 * MIB
ZONE_LABEL = "topology.kubernetes.io/zone"
SPREAD = "spread"  # key in a volume's parameters: the label in which its replicas must differ
NO_DOMAINS: Mapping[str, str] = MappingProxyType({})
REPLICA_COUNTS = (1, 3, 5)


@dataclass(frozen=True, slots=True)
class Want:
    """What has to be placed."""

    pool: Pool
    size_bytes: int
    replica_count: int
    preferred_nodes: tuple[str, ...] = ()
    required_nodes: tuple[str, ...] = ()  # no other will do; empty: any
    domains: Mapping[str, str] = field(default_factory=dict)  # of nodes; one without a domain is not there
    apart: bool = False  # no two replicas in one domain, and none outside of domains


@dataclass(frozen=True, slots=True)
class Place:
    """Where one replica goes."""

    node: str
    volume_group: str
    other_groups: tuple[str, ...] = ()
    striped: bool = False

    @property
    def groups(self) -> tuple[str, ...]:
        return self.volume_group, *self.other_groups


Groups = Mapping[str, tuple[VolumeGroup, ...]]
"""By node."""


@dataclass(frozen=True, slots=True)
class Fit:
    """Disks of one node that a replica fits on, in the order in which it takes them."""

    groups: tuple[VolumeGroup, ...]
    striped: bool
    waits: bool  # for old bytes to be wiped

    @property
    def spans(self) -> bool:
        return len(self.groups) > 1 and not self.striped

    @property
    def room_bytes(self) -> int:
        return sum(map(room_bytes, self.groups))


def round_up(size_bytes: int) -> int:
    """To whole extents."""
    return -(-size_bytes // EXTENT_BYTES) * EXTENT_BYTES


def space_bytes(size_bytes: int) -> int:
    """What a replica of `size_bytes` of data takes from its disk."""
    return round_up(size_bytes + DATA_OFFSET_BYTES)


def check_count(replica_count: int, nodes: tuple[str, ...], pool: str) -> None:
    if replica_count not in REPLICA_COUNTS:
        raise InvalidRequest(f"{replica_count} replicas: it must be 1, 3 or 5")
    if len(nodes) < replica_count:
        need = f"{replica_count} replicas need {replica_count} nodes"
        raise FailedPrecondition(f"{need}, pool {pool} has {len(nodes)}: {', '.join(nodes)}")


def choose_places(
    want: Want,
    groups: Groups,
    silent: Mapping[str, TrilithError],
    there: Groups | None = None,
) -> tuple[Place, ...]:
    """`groups`: the volume groups of each node that answered. `silent`: why the others did not.

    `there`: those that are cordoned, too, which says how large a volume may ever be.
    """
    check_count(want.replica_count, want.pool.nodes, want.pool.name)
    needed = space_bytes(want.size_bytes)
    best = {node: find_fit(want.pool, found, needed) for node, found in groups.items()}
    fitting = {node: fit for node, fit in best.items() if fit is not None}
    places = {node: place for place, node in reversed(tuple(enumerate(want.preferred_nodes)))}
    last = len(want.preferred_nodes)

    chosen_for_pod = want.preferred_nodes[:1] if want.replica_count == 1 else ()

    def rank(node: str) -> tuple[bool, bool, bool, int, int, str]:
        """What a dead disk costs comes first, then whether old bytes have to be wiped.

        But a single replica is used where it lies only, and its pod may be able to run on one node only.
        """
        fit, elsewhere = fitting[node], node not in chosen_for_pod
        return elsewhere, fit.spans, fit.waits, places.get(node, last), -fit.room_bytes, node

    order = sorted(_filter_allowed(want, fitting), key=rank)
    chosen = _spread(want, order)
    if len(chosen) < want.replica_count:
        raise _refusal(want, groups, there or groups, len(chosen), silent)
    return tuple(_place(node, fitting[node]) for node in chosen)


def _place(node: str, fit: Fit) -> Place:
    first, *others = (group.name for group in fit.groups)
    return Place(node, first, tuple(others), fit.striped)


def largest_size(want: Want, groups: Groups) -> int:
    """Bytes of the largest volume that could be made at once, whatever the size in `want`; or 0."""
    room = {
        node: _most(want.pool, groups[node], _free_bytes) - round_up(DATA_OFFSET_BYTES)
        for node in _filter_allowed(want, groups)
    }
    order = sorted(room, key=lambda node: -room[node])
    chosen = _spread(want, order) if want.apart else tuple(order[: want.replica_count])
    smallest = min((room[node] for node in chosen), default=0)
    return max(0, min(smallest, LARGEST_NEW_BYTES)) if len(chosen) == want.replica_count else 0


def find_domains(nodes: Iterable[Node], label: str) -> dict[str, str]:
    """By name, of the nodes that carry `label`, or a zone where it is ""."""
    values = {node.name: dict(node.labels).get(label or ZONE_LABEL, "") for node in nodes}
    return {name: value for name, value in values.items() if value}


def _filter_allowed(want: Want, nodes: Iterable[str]) -> list[str]:
    required = frozenset(want.required_nodes or nodes)
    return [node for node in nodes if node in required and not (want.apart and not want.domains.get(node))]


def _spread(want: Want, order: Sequence[str]) -> tuple[str, ...]:
    """At most as many of `order` as wanted: in turn the first of those in the domain that has the fewest."""
    if not want.domains:
        return tuple(order[: want.replica_count])
    chosen: list[str] = []
    waiting: dict[str, deque[tuple[int, str]]] = {}  # by domain, with the place in `order`
    for place, node in enumerate(order):
        waiting.setdefault(want.domains.get(node, ""), deque()).append((place, node))
    taken: Counter[str] = Counter()
    while waiting and len(chosen) < want.replica_count:
        domain = min(waiting, key=lambda each: (taken[each], waiting[each][0]))
        if want.apart and taken[domain]:
            break
        chosen.append(waiting[domain].popleft()[1])
        taken[domain] += 1
        if not waiting[domain]:
            del waiting[domain]
    return tuple(chosen)


def find_fit(pool: Pool, groups: Iterable[VolumeGroup], needed: int) -> Fit | None:
    """For a replica that takes `needed` bytes, on the disks that `pool` has on one node."""
    ours = [group for group in groups if group.pool == pool.name]
    if pool.striped and len(ours) > 1:
        return _fit(sorted(ours, key=lambda group: group.name), needed, striped=True)
    one = _quickest(ours, needed)
    return _fit([one], needed) if one is not None else _find_row(ours, needed)


def _quickest(ours: Iterable[VolumeGroup], needed: int) -> VolumeGroup | None:
    """The roomiest that has `needed` free, else the roomiest that will have it."""
    fitting = [group for group in ours if room_bytes(group) >= needed]
    return min(fitting, key=lambda g: (g.free_bytes < needed, -room_bytes(g), g.name), default=None)


def _find_row(ours: Iterable[VolumeGroup], needed: int) -> Fit | None:
    """On as few as it takes."""
    roomiest = sorted(ours, key=lambda group: (-room_bytes(group), group.name))
    rows = (_fit(roomiest[:count], needed) for count in range(2, len(roomiest) + 1))
    return next((row for row in rows if row is not None), None)


def _fit(groups: Sequence[VolumeGroup], needed: int, *, striped: bool = False) -> Fit | None:
    if take(groups, needed, room_bytes, striped=striped) is None:
        return None
    return Fit(tuple(groups), striped, take(groups, needed, _free_bytes, striped=striped) is None)


Measure = Callable[[VolumeGroup], int]
"""How much of a disk counts."""


def take(
    groups: Sequence[VolumeGroup], needed: int, measure: Measure, *, striped: bool
) -> tuple[int, ...] | None:
    """What a replica that takes `needed` takes of each; None where it does not fit."""
    rooms = [measure(group) for group in groups]
    if len(rooms) > 1:
        return split(needed, rooms, striped=striped)
    return (needed,) if needed <= rooms[0] else None


def _free_bytes(group: VolumeGroup) -> int:
    return group.free_bytes


def room_bytes(group: VolumeGroup) -> int:
    """Now, or once it is wiped."""
    return group.free_bytes + group.reserved_bytes


def _refusal(
    want: Want,
    groups: Groups,
    there: Groups,
    fitting: int,
    silent: Mapping[str, TrilithError],
) -> TrilithError:
    what = f"{want.replica_count} x {_gib(want.size_bytes)} in pool {want.pool.name}{_where(want)}"
    if fitting + len(silent) >= want.replica_count:
        named = "; ".join(f"{node}: {why}" for node, why in sorted(silent.items()))
        return Unavailable(f"{what}: {fitting} nodes have room, and these do not answer: {named}")
    if _could_ever_fit(want, there) + len(silent) < want.replica_count:
        return OutOfRange(f"{what}: larger than the disks: nodes have {_sizes(want.pool, there)}")
    free = f"free, or being wiped, are {_free(want.pool, groups)}"
    shut = ", ".join(sorted(node for node in there if len(there[node]) > len(groups.get(node, ()))))
    return OutOfSpace(f"{what}: {fitting} nodes have room; {free}" + (f"; cordoned: {shut}" if shut else ""))


def _where(want: Want) -> str:
    nodes = f", on {' or '.join(want.required_nodes)}" if want.required_nodes else ""
    named = ", ".join(sorted(set(want.domains.values()))) or "none"
    return f"{nodes}, each in a domain of its own (there are: {named})" if want.apart else nodes


def _could_ever_fit(want: Want, groups: Groups) -> int:
    needed = space_bytes(want.size_bytes)
    return sum(
        _most(want.pool, found, lambda group: group.size_bytes) >= needed
        for node, found in groups.items()
        if not want.required_nodes or node in want.required_nodes
    )


def _sizes(pool: Pool, groups: Groups) -> str:
    return _each({node: _most(pool, found, lambda group: group.size_bytes) for node, found in groups.items()})


def _free(pool: Pool, groups: Groups) -> str:
    return _each({node: _most(pool, found, room_bytes) for node, found in groups.items()})


def _most(pool: Pool, groups: Iterable[VolumeGroup], measure: Measure) -> int:
    """What one replica can take: on one disk or, where that is more, on several."""
    rooms = [measure(group) // EXTENT_BYTES * EXTENT_BYTES for group in groups if group.pool == pool.name]
    if len(rooms) < 2:
        return sum(rooms)
    gives = [max(0, room - PART_AREA_BYTES) for room in rooms]
    return len(gives) * min(gives) if pool.striped else max(*rooms, sum(gives))


def _each(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{node} {_gib(size)}" for node, size in sorted(sizes.items())) or "none"


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / GIB:.2f} GiB"
