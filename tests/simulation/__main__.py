"""`make simulate`: the enumeration, deeper, then random weather as long as asked. With a seed: that run."""

import argparse
import logging
import random
import sys
import time

from tests.simulation.calm import weather
from tests.simulation.explore import Atlas
from tests.simulation.machines import Wrong
from tests.simulation.runs import RUNS, describe

SPELLS = 3


def main() -> int:
    logging.disable(logging.CRITICAL)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="this run only, without the enumeration")
    parser.add_argument("--steps", type=int, default=600, help="of each spell of bad weather")
    parser.add_argument("--minutes", type=float, default=1.0, help="of random weather")
    parser.add_argument("--deeper", type=int, default=1, help="moves more than in make check")
    chosen = parser.parse_args()
    if chosen.seed is not None:
        return again(chosen.seed, chosen.steps)
    return 0 if enumerate_all(chosen.deeper) and random_weather(chosen.minutes, chosen.steps) else 1


def enumerate_all(deeper: int) -> bool:
    """Whether nothing is wrong."""
    atlas = Atlas()
    for run in RUNS:
        begun = time.monotonic()
        found = run.deeper(deeper).explore(atlas)
        print(describe(run, found, time.monotonic() - begun), flush=True)
        if found.broken:
            print(*found.story, *found.broken, sep="\n")
            return False
    return True


def random_weather(minutes: float, steps: int) -> bool:
    """Whether nothing is wrong. Every run has a seed of its own."""
    seed = first = random.SystemRandom().randrange(10**9)
    begun, done, helped = time.monotonic(), 0, 0
    while time.monotonic() - begun < minutes * 60:
        try:
            ended = weather(seed, SPELLS, steps)
        except Wrong as wrong:
            print(wrong)
            return False
        done, helped, seed = done + ended.steps, helped + ended.helped, seed + 1
    rate = done / (time.monotonic() - begun) * 3600
    print(f"random: seeds {first} to {seed - 1}, {done} steps, {rate / 1e6:.1f} million steps an hour")
    print(f"random: nothing wrong; {helped} times somebody had to do what the product cannot")
    return True


def again(seed: int, steps: int) -> int:
    """The same once more: it fails in the same way, or it has been mended."""
    try:
        ended = weather(seed, SPELLS, steps)
    except Wrong as wrong:
        print(wrong)
        return 1
    print(f"seed {seed}: {ended.steps} steps, nothing wrong")
    return 0


if __name__ == "__main__":
    sys.exit(main())
