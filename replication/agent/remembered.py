"""What is told of replicas, remembered for some calls.

Nobody but this agent writes their headers. Reading all of them takes long where there are many, and control
asks every few seconds. Some are read again each time, so that a dead disk does not go unnoticed: it takes
with it all that it held.
"""

import itertools
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence

from replication.agent.storage import Place
from replication.agent.turns import choose_turn
from replication.model import ReplicaFacts

Key = tuple[str, str]  # volume, replica


class Remembered:
    """`read` gives what there is now, or None. Safe to use from several threads."""

    def __init__(self, read: Callable[[Place], ReplicaFacts | None]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._known: dict[Key, ReplicaFacts] = {}
        self._changes: defaultdict[Key, int] = defaultdict(int)
        self._rounds = itertools.count()

    def list_all(self, places: Sequence[Place]) -> tuple[ReplicaFacts, ...]:
        """Of `places`, as far as they can be read."""
        self._keep({_key(place) for place in places})
        turn = choose_turn(places, next(self._rounds))
        found = {_key(place): self._look(place) for place in turn}
        dead = {group for place in turn if found[_key(place)] is None for group in place.groups}
        for place in places:
            if _key(place) not in found:
                found[_key(place)] = self._recall(place, again=not dead.isdisjoint(place.groups))
        return tuple(facts for place in places if (facts := found[_key(place)]) is not None)

    def forget(self, volume_id: str, replica_id: str) -> None:
        """It has been changed."""
        with self._lock:
            self._changes[volume_id, replica_id] += 1
            self._known.pop((volume_id, replica_id), None)

    def _recall(self, place: Place, *, again: bool) -> ReplicaFacts | None:
        with self._lock:
            known = None if again else self._known.get(_key(place))
        return known or self._look(place)

    def _look(self, place: Place) -> ReplicaFacts | None:
        """What was read while it was changed is not remembered."""
        key = _key(place)
        with self._lock:
            changes = self._changes[key]
        facts = self._read(place)
        with self._lock:
            if facts is None:
                self._known.pop(key, None)
            elif changes == self._changes[key]:
                self._known[key] = facts
        return facts

    def _keep(self, keys: set[Key]) -> None:
        with self._lock:
            for gone in self._known.keys() - keys:
                del self._known[gone]


def _key(place: Place) -> Key:
    return place.volume_id, place.replica_id
