"""Where there is room: chosen by what nodes said lately, then asked of those that were chosen.

To ask every node for each new volume costs the more, the larger the cluster is. What is remembered only says
whom to ask: a place is given only on a node that has just confirmed it, and before anybody is told that there
is none, every node of the pool has been asked.
"""

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import nsmallest

from replication.clock import Clock
from replication.control.cordons import Cordon, list_open
from replication.control.executor import PATIENT_SECONDS, Executor
from replication.control.placement import Place, Want, choose_places, room_bytes, space_bytes, take
from replication.errors import FailedPrecondition, OutOfRange, OutOfSpace, TrilithError, Unavailable
from replication.model import NodeFacts, VolumeGroup

KNOWN_FOR = 30.0  # seconds; also of a node that did not answer
GAUGE_SECONDS = 5.0
LATELY = 2.0  # seconds: orchestrators ask for capacity many times over, for each class and place
ASKED_AT_ONCE = 32  # of those that are only asked to know it better, so that no call waits for hundreds
NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a node said of its disks, or why it said nothing."""

    time: float
    groups: tuple[VolumeGroup, ...]
    silence: TrilithError | None = None


class Rooms:
    """Shared by all threads of a process; another process has its own."""

    def __init__(self, executor: Executor, clock: Clock) -> None:
        self._executor = executor
        self._clock = clock
        self._mutex = threading.Lock()
        self._looking = threading.Lock()
        self._gauging = threading.Lock()
        self._known: dict[str, Answer] = {}
        self._gauged: dict[str, Answer] = {}  # for who only wants to know

    def choose(self, want: Want, cordons: Collection[Cordon]) -> tuple[Place, ...]:
        """As `placement.choose_places`. What is given away counts as taken until its node is asked again."""
        asked = self._look(want)
        while True:
            try:
                places = self._choose(want, cordons)
            except (FailedPrecondition, OutOfRange, OutOfSpace, Unavailable):
                places, left = (), set(want.pool.nodes) - asked
                if not left:
                    raise
            else:
                left = {place.node for place in places} - asked
            self._ask(left)
            asked |= left
            if places and self._take(places, want, cordons):
                return places

    def find_groups(self, nodes: Collection[str]) -> dict[str, tuple[VolumeGroup, ...]]:
        """Of those that answer: what they said lately, perhaps before something was given away just now."""
        with self._gauging:
            since = self._clock.now() - LATELY
            with self._mutex:
                known = {node: each for node, each in self._gauged.items() if each.time > since}
            known |= self._sketch({node for node in nodes if node not in known}, GAUGE_SECONDS)
            with self._mutex:
                self._gauged = known
        return {node: known[node].groups for node in nodes if known[node].silence is None}

    def _look(self, want: Want) -> set[str]:
        """Ask whom nobody knows, or not any more, and whom the caller prefers; return who was asked."""
        nodes, first = want.pool.nodes, set(want.preferred_nodes[: want.replica_count])
        asked = first & set(nodes)
        self._ask(asked)
        if self._looking.acquire(blocking=any(node not in self._known for node in nodes)):
            try:
                due = self._list_due(nodes)
                self._ask(due)
            finally:
                self._looking.release()
            asked |= due
        return asked

    def _list_due(self, nodes: Iterable[str]) -> set[str]:
        """All that are not known, and some of those known for too long."""
        times = {node: self._known[node].time if node in self._known else NEVER for node in nodes}
        unknown = {node for node, time in times.items() if time == NEVER}
        since = self._clock.now() - KNOWN_FOR
        old = (node for node, time in times.items() if NEVER < time <= since)
        return unknown | set(nsmallest(ASKED_AT_ONCE, old, key=lambda node: times[node]))

    def _ask(self, nodes: Collection[str]) -> None:
        answers = self._sketch(nodes, PATIENT_SECONDS)
        with self._mutex:
            self._known.update(answers)

    def _sketch(self, nodes: Collection[str], timeout: float) -> dict[str, Answer]:
        answers = self._executor.sketch(nodes, timeout) if nodes else {}
        now = self._clock.now()
        return {
            node: Answer(now, found.volume_groups) if isinstance(found, NodeFacts) else Answer(now, (), found)
            for node, found in answers.items()
        }

    def _choose(self, want: Want, cordons: Collection[Cordon]) -> tuple[Place, ...]:
        with self._mutex:
            known = {node: self._known[node] for node in want.pool.nodes}
        silent = {node: answer.silence for node, answer in known.items() if answer.silence is not None}
        groups = {node: answer.groups for node, answer in known.items() if node not in silent}
        return choose_places(want, open_groups(groups, cordons), silent, groups)

    def _take(self, places: Iterable[Place], want: Want, cordons: Collection[Cordon]) -> bool:
        """All of `places`, or none because one has no room any more."""
        needed = space_bytes(want.size_bytes)
        with self._mutex:
            taken = {
                place.node: _without(self._known[place.node], place, needed, cordons) for place in places
            }
            if None in taken.values():
                return False
            self._known.update({node: answer for node, answer in taken.items() if answer is not None})
            self._gauged = {}
            return True


def open_groups(
    groups: Mapping[str, tuple[VolumeGroup, ...]], cordons: Collection[Cordon]
) -> Mapping[str, tuple[VolumeGroup, ...]]:
    """Without those that are cordoned."""
    if not cordons:
        return groups
    return {node: list_open(node, found, cordons) for node, found in groups.items()}


def _without(answer: Answer, place: Place, needed: int, cordons: Collection[Cordon]) -> Answer | None:
    """What is left when a replica has been put there; None when it does not fit."""
    found = {group.name: group for group in list_open(place.node, answer.groups, cordons)}
    if not found.keys() >= set(place.groups):
        return None
    taken = _take([found[name] for name in place.groups], needed, striped=place.striped)
    if taken is None:
        return None
    of_each = dict(zip(place.groups, taken, strict=True))
    groups = (_give_away(group, of_each.get(group.name, 0)) for group in answer.groups)
    return replace(answer, groups=tuple(groups))


def _take(groups: Sequence[VolumeGroup], needed: int, *, striped: bool) -> tuple[int, ...] | None:
    """As the node's agent will."""
    now = take(groups, needed, lambda group: group.free_bytes, striped=striped)
    return now or take(groups, needed, room_bytes, striped=striped)


def _give_away(group: VolumeGroup, needed: int) -> VolumeGroup:
    """What is wiped already goes first."""
    free = min(group.free_bytes, needed)
    return replace(
        group, free_bytes=group.free_bytes - free, reserved_bytes=group.reserved_bytes - (needed - free)
    )
