"""The real control plane over simulated machines: what was acknowledged stays, and everything comes back."""

import pytest

from tests.mutants.mistakes import released_before_record
from tests.mutants.mutant import Mutant, applied
from tests.simulation.calm import weather
from tests.simulation.machines import Wrong

SPELLS, STEPS = 2, 600
SEEDS = range(24)
ALIKE = 3


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_and_everything_comes_back(seed: int) -> None:
    assert weather(seed, SPELLS, STEPS).steps > SPELLS * STEPS


def test_the_same_seed_gives_the_same_run() -> None:
    runs = [weather(ALIKE, SPELLS, STEPS) for _ in range(2)]
    assert runs[0].events == runs[1].events
    assert runs[0].steps == runs[1].steps
    assert weather(ALIKE + 1, SPELLS, STEPS).events != runs[0].events


def test_what_is_wrong_is_told_with_the_seed_that_shows_it_again() -> None:
    handle = "replication.control.reporting:Reporting.handle"
    mutant = Mutant("released before it is recorded", handle, released_before_record, ())
    with applied(mutant), pytest.raises(Wrong) as first:
        run_until_wrong()
    seed = int(str(first.value).split()[1].removesuffix(","))
    assert f"make simulate SEED={seed} STEPS={STEPS}" in str(first.value)
    with applied(mutant), pytest.raises(Wrong) as second:
        weather(seed, SPELLS, STEPS)
    assert str(second.value) == str(first.value)


def run_until_wrong() -> None:
    for seed in SEEDS:
        weather(seed, SPELLS, STEPS)
