"""Which kinds of events a run has, and how often each: drawn at its beginning.

Where everything may happen all the time, two rare events hardly ever meet. So many runs lack many kinds, and
some prevail in others: swarm testing (Groce and others, ISSTA 2012, doi 10.1145/2338965.2336763).
"""

import random
from collections.abc import Mapping
from typing import NamedTuple

OPERATIONS = {"attach": 8, "detach": 6, "reconcile": 14, "expand": 2, "drain a node": 2, "drain a disk": 1}
NATURE = {"array": 12, "mail": 5, "late call": 3, "fault": 4}
FAULTS = {"power": 2, "cable": 2, "disk": 1, "agent": 1, "store": 1, "refusal": 4}
ARRAYS = {"write": 2, "go on": 1, "md": 1, "report": 1}
WEIGHTS = {**OPERATIONS, **NATURE, **FAULTS, **ARRAYS}
"""How often, compared with others of the same row."""

CHANCES = {
    "an operation": 0.3,  # else nature
    "meanwhile": 0.2,  # between two calls of control
    "a call is lost": 0.01,
    "an answer is lost": 0.01,
    "a call is late": 0.02,
    "a swap is refused": 0.02,
    "a swap is done unheard": 0.02,
    "the process dies": 0.1,
    "an old disk": 0.7,  # while a machine is off
}
ALWAYS = frozenset(("attach", "reconcile", "array", "mail", "fault", *ARRAYS, "an operation", "meanwhile"))
SOMETIMES = (0, 1, 1, 3)  # as often
VOLUMES = (("one", 3), ("two", 3), ("three", 5), ("four", 1))
MINIMUMS = (1, 1, 2)


class Kind(NamedTuple):
    """A volume that a run has. `minimum`: on how many replicas a write has to be."""

    name: str
    replicas: int
    minimum: int


class Climate(NamedTuple):
    """What a run may have."""

    weights: dict[str, int]
    chances: dict[str, float]
    volumes: tuple[Kind, ...]
    most_faults: int  # at once

    def befalls(self, chance: random.Random, kind: str) -> bool:
        return chance.random() < self.chances[kind]

    def choose(self, chance: random.Random, row: Mapping[str, int]) -> str | None:
        """One kind of those, unless the run has none of them."""
        weights = [self.weights[kind] for kind in row]
        return chance.choices(tuple(row), weights)[0] if any(weights) else None

    def __str__(self) -> str:
        lacks = [kind for kind, often in {**self.weights, **self.chances}.items() if not often]
        has = ", ".join(f"{v.name} of {v.replicas} (at least {v.minimum})" for v in self.volumes)
        return f"volumes {has}; at most {self.most_faults} faults; without: {', '.join(lacks) or 'nothing'}"


def draw(chance: random.Random) -> Climate:
    """Each kind that a run can do without is left out of a quarter of them."""
    often = {kind: chance.choice(SOMETIMES[kind in ALWAYS :]) for kind in (*WEIGHTS, *CHANCES)}
    kinds = [Kind(name, count, min(count, chance.choice(MINIMUMS))) for name, count in VOLUMES]
    volumes = tuple(kind for kind in kinds if chance.random() < 0.5)
    return Climate(
        weights={kind: weight * often[kind] for kind, weight in WEIGHTS.items()},
        chances={kind: min(0.7, usual * often[kind]) for kind, usual in CHANCES.items()},
        volumes=volumes or (chance.choice(kinds),),
        most_faults=chance.choice((2, 3, 4, 6)),
    )
