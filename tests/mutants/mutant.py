"""A deliberate mistake in the product, by the name of what it changes: a new name breaks it loudly."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

from tests.simulation import agent

ENUMERATION = "the enumeration"
SIMULATION = "the random simulation"


@dataclass(frozen=True, slots=True)
class Mutant:
    """`make` is given what `target` ("module:name.name") is, and returns what it becomes.

    `caught_by`: pytest's names of tests, ENUMERATION or SIMULATION. Each of them alone has to catch it.
    """

    name: str
    target: str
    make: Callable[[Any], Any]
    caught_by: tuple[str, ...]


@contextmanager
def applied(mutant: Mutant) -> Iterator[None]:
    """The product with this mistake, in every module that has taken the name for itself."""
    owner, attribute = resolve(mutant.target)
    original = vars(owner)[attribute]
    function = original.__func__ if isinstance(original, staticmethod) else original
    changed = mutant.make(function)
    places = _places(owner, attribute, original)
    for place, name in places:
        setattr(place, name, changed)
    agent.forget()
    try:
        yield
    finally:
        for place, name in places:
            setattr(place, name, original)
        agent.forget()


def resolve(target: str) -> tuple[Any, str]:
    """The module or class, and the attribute. AttributeError when the product has no such thing."""
    module, _, path = target.partition(":")
    owner: Any = import_module(module)
    *outer, attribute = path.split(".")
    for name in outer:
        owner = getattr(owner, name)
    if attribute not in vars(owner):
        raise AttributeError(f"{target}: the product has no such thing any more")
    return owner, attribute


def _places(owner: object, attribute: str, original: object) -> list[tuple[Any, str]]:
    places = [(owner, attribute)]
    if not isinstance(owner, ModuleType):
        return places
    for module in tuple(sys.modules.values()):
        if module is not owner and getattr(module, "__name__", "").startswith(
            ("replication", "tests", "csi")
        ):
            places += [(module, name) for name, value in tuple(vars(module).items()) if value is original]
    return places
