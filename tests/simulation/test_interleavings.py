"""Every interleaving, to a depth that fits: I1 to I4 hold, and each assumption is needed."""

import time
from collections.abc import Callable

import pytest

from tests.simulation.explore import Atlas, explore, play
from tests.simulation.kernel import Ways
from tests.simulation.runs import RUNS, Run, describe
from tests.simulation.starts import STORIES, start
from tests.simulation.world import new_world, violations


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    """What one run finds out, the others need not."""
    return Atlas()


@pytest.mark.parametrize("run", RUNS, ids=[run.name for run in RUNS])
def test_no_interleaving_breaks_the_invariants(
    run: Run, atlas: Atlas, record_property: Callable[[str, str], None]
) -> None:
    begun = time.monotonic()
    found = run.explore(atlas)
    record_property("enumeration", describe(run, found, time.monotonic() - begun))
    assert found.broken == (), "\n".join((*found.story, *found.broken))
    assert found.worlds > 100 * len(STORIES)


def test_a_consumer_that_boots_before_it_assembles_does_not_begin_with_what_it_has_forgotten() -> None:
    """Its own replica had been chosen for the source: deeper than the enumeration goes."""
    story = (
        *("attach to a", "cut b from a", "write in epoch 1", "report of epoch 1", "a loses power", "detach"),
        *("begin to attach to c", "go on: prepare", "c loses power", "c boots"),
        *("go on: prepare", "go on: prepare", "go on: admit"),
    )
    world = new_world(5, faults=9, delays=9, ways=Ways(volatile=True))
    assert violations(play(world, story)) == []


def test_an_array_that_goes_with_a_boot_while_it_is_detached_has_not_ended_in_peace() -> None:
    """The next agent agrees to its end."""
    story = (
        *("attach to a", "write in epoch 1", "begin to detach", "go on: stop", "a loses power", "a boots"),
        *("go on: end", "go on: crashed", "attach to c"),
    )
    world = new_world(3, faults=9, delays=9, ways=Ways(volatile=True))
    assert violations(play(world, story)) == []


def test_who_has_forgotten_what_an_attachment_that_was_undone_made_equal_is_doubted() -> None:
    """Its resync had ended, and been told of; but nobody flushed anything when it was given up."""
    story = (
        *("attach to a", "write in epoch 1", "a loses power", "detach"),
        *("begin to attach to c", "go on: prepare", "go on: prepare", "go on: admit"),
        *("resync ends in epoch 2", "report of epoch 2", "control dies", "settle"),
        *("b loses power", "b boots", "attach to c"),
    )
    world = new_world(3, faults=9, delays=9, ways=Ways(volatile=True))
    assert violations(play(world, story)) == []


@pytest.mark.parametrize(
    ("ways", "begin", "moves"),
    [
        (Ways(hold=False), "in use", ()),
        (Ways(drain=False), "in use", ("write in epoch 1, r1 is slow", "a loses power")),
        (Ways(orderly=False), "in use", ()),
        (Ways(prompt=False), "a confirmation has outlived what it confirmed", ()),
    ],
    ids=[
        "no hold layer",
        "a fence that does not drain",
        "a target that finishes an old request late",
        "a confirmation that outlives its agent",
    ],
)
def test_what_is_assumed_is_needed(ways: Ways, begin: str, moves: tuple[str, ...]) -> None:
    """`moves` that come first shorten the search."""
    found = explore([(begin, play(start(begin, 3, 1, 1, ways), moves))], depth=6)
    assert any("I1" in broken for broken in found.broken)
