"""Let the suite look for a mutant, and say what caught it: `python -m tests.mutants.hunt [NAME]`."""

import io
import logging
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, redirect_stdout

import pytest

from tests.mutants.listed import MUTANTS
from tests.mutants.mutant import ENUMERATION, SIMULATION, Mutant, applied
from tests.simulation.calm import weather
from tests.simulation.explore import Atlas
from tests.simulation.machines import Wrong
from tests.simulation.runs import RUNS

SEEDS = range(60)
SPELLS, STEPS = 2, 600


def main() -> int:
    chosen = [m for m in MUTANTS if not sys.argv[1:] or m.name in sys.argv[1:]]
    catchers = sorted({catcher for m in chosen for catcher in m.caught_by})
    begun = time.monotonic()
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(mp_context=spawning, initializer=logging.disable) as pool:
        sound = pool.submit(require_sound, catchers)
        caught = list(pool.map(hunt_for, [m.name for m in chosen]))
        sound.result()
    print(f"{sum(caught)} of {len(chosen)} mutants caught, {time.monotonic() - begun:.0f} s")
    return 0 if caught and all(caught) else 1


def hunt_for(name: str) -> bool:
    return hunt(next(m for m in MUTANTS if m.name == name))


def require_sound(catchers: list[str]) -> None:
    """A suite that fails without a mutant catches nothing."""
    for catcher in catchers:
        why = asked(catcher)
        if why:
            raise RuntimeError(f"it fails without any mutant: {why}")


def hunt(mutant: Mutant) -> bool:
    """Whether everything that has to catch it does. Prints what became of it."""
    caught = True
    for catcher in mutant.caught_by:
        with applied(mutant):
            how = asked(catcher)
        caught = caught and bool(how)
        fate = f"caught by {how}" if how else f"survived {catcher}"
        print(f"mutant {mutant.name!r} {fate}", flush=True)
    return caught


def asked(catcher: str) -> str:
    """What it says when it finds something wrong; "" for nothing."""
    known = {ENUMERATION: enumerated, SIMULATION: simulated}
    return known[catcher]() if catcher in known else fails(catcher)


def simulated() -> str:
    """The first seed that shows something wrong."""
    for seed in SEEDS:
        try:
            weather(seed, SPELLS, STEPS)
        except Wrong as wrong:
            return f"{SIMULATION} ({str(wrong).splitlines()[0]})"
    return ""


def enumerated() -> str:
    """What the enumeration finds, going deeper in all runs by turns; "" for nothing."""
    atlas = Atlas()
    for short in (3, 2, 1, 0):
        for run in RUNS:
            depth = run.depth - short
            try:
                found = run._replace(depth=depth).explore(atlas)
            except LookupError:
                return f"{ENUMERATION}: a story of its starts cannot happen any more"
            if found.broken:
                return f"{ENUMERATION} ({run.name}, {found.depth} moves: {found.broken[0]})"
    return ""


def fails(test: str) -> str:
    """The test's name when it fails; "" when it passes. A test that is not there, or breaks, is an error."""
    quiet = io.StringIO()
    with redirect_stdout(quiet), redirect_stderr(quiet):
        code = pytest.main(["-q", "-x", "-p", "no:cacheprovider", "--no-header", test])
    if code not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}:
        raise RuntimeError(f"{test} cannot be run:\n{quiet.getvalue()}")
    return test if code == pytest.ExitCode.TESTS_FAILED else ""


if __name__ == "__main__":
    sys.exit(main())
