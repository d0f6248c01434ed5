"""Every interleaving, breadth first. Worlds that differ in names only are the same world: plain.py.

The numbers that disks hold are taken again when nobody holds them any more. Of nodes that are alike only the
first ever breaks (moves.unlike).
"""

import gc
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tests.simulation.moves import KINDS, Kind, successors_of, take
from tests.simulation.plain import plain
from tests.simulation.world import World, violations

Place = tuple[int, int, int]  # an atlas' number of a world, and how many faults and delays may still happen


class Atlas:
    """Worlds by number, and where each leads, found out once however many faults and delays may still happen.

    Runs may share one, as long as nothing is changed in the product between them.
    """

    def __init__(self) -> None:
        self.broken: list[tuple[str, ...]] = []  # what no world may break
        self._worlds: list[World] = []
        self._numbers: dict[World, int] = {}
        self._ahead: dict[tuple[int, Kind], tuple[tuple[str, int], ...]] = {}

    def place(self, world: World) -> Place:
        return self._number(world), world.faults, world.delays

    def leads_to(self, place: Place) -> Iterator[tuple[str, Place]]:
        number, faults, delays = place
        for kind in KINDS:
            if kind.faults <= faults and kind.delays <= delays:
                for name, after in self._look_ahead(number, kind):
                    yield name, (after, faults - kind.faults, delays - kind.delays)

    def _look_ahead(self, number: int, kind: Kind) -> tuple[tuple[str, int], ...]:
        ahead = self._ahead.get((number, kind))
        if ahead is None:
            found = successors_of(kind, self._worlds[number])
            ahead = self._ahead[number, kind] = tuple((name, self._number(after)) for name, after in found)
        return ahead

    def _number(self, world: World) -> int:
        """With one fault and one delay left, every kind of move is there."""
        world = plain(world._replace(faults=1, delays=1))
        number = self._numbers.setdefault(world, len(self._worlds))
        if number == len(self._worlds):
            self._worlds.append(world)
            self.broken.append(tuple(violations(world)))
        return number


class Found(NamedTuple):
    """What came of it. `story`: how to get to the first violation, then what it is."""

    story: tuple[str, ...]
    broken: tuple[str, ...]
    worlds: int
    steps: int
    depth: int


def explore(
    starts: Iterable[tuple[str, World]], depth: int, most: int = 10**9, atlas: Atlas | None = None
) -> Found:
    """To `depth` moves from each start, or until `most` worlds are known. Stops at the first violation."""
    gc.disable()  # worlds are values: nothing refers back, and walking through all of them costs a third
    try:
        return _explore(atlas or Atlas(), starts, depth, most)
    finally:
        gc.enable()


def _explore(atlas: Atlas, starts: Iterable[tuple[str, World]], depth: int, most: int) -> Found:
    frontier = {atlas.place(world): name for name, world in starts}
    parents: dict[Place, tuple[Place | None, str]] = {place: (None, name) for place, name in frontier.items()}
    ahead = list(frontier)
    steps = 0
    for level in range(depth):
        following: list[Place] = []
        for place in ahead:
            for name, after in atlas.leads_to(place):
                steps += 1
                if after in parents:
                    continue
                parents[after] = (place, name)
                broken = atlas.broken[after[0]]
                if broken:
                    return Found(_story(parents, after), broken, len(parents), steps, level + 1)
                following.append(after)
            if len(parents) >= most:
                return Found((), (), len(parents), steps, level)
        ahead = following
    return Found((), (), len(parents), steps, depth)


def _story(parents: dict[Place, tuple[Place | None, str]], place: Place) -> tuple[str, ...]:
    names = []
    before: Place | None = place
    while before is not None:
        before, name = parents[before]
        names.append(name)
    return tuple(reversed(names))


def play(world: World, story: Iterable[str]) -> World:
    """Take moves by their names: the story that `explore` tells."""
    for name in story:
        world = plain(take(world, name))
    return world
