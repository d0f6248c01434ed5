"""`make soak`: random faults, drawn from a seed, under writes whose acknowledgements are all checked.

    python -m hack.soak [--minutes N] [--seed S] [--nodes N] [--volumes N]

Status 1, with the seed and the step, as soon as anything does not go as promised; what the machines' consoles
and agents had to say then is printed.
"""

import argparse
import random
import sys

from hack.lab import evidence
from hack.lab.cluster import Cluster
from hack.lab.errors import LabError
from hack.lab.network import enter_private_network
from hack.lab.site import Site
from hack.soak.rounds import Soak, describe
from hack.soak.written import DeviationError
from replication.errors import TrilithError


def main() -> None:
    options = _parse()
    print(f"seed {options.seed}", flush=True)
    enter_private_network()
    with Cluster(nodes=options.nodes) as cluster, Site(cluster) as site:
        soak = Soak(cluster, site, options.seed, _say)
        try:
            soak.run(options.volumes, options.minutes * 60)
        except (DeviationError, TrilithError, LabError, RuntimeError) as error:
            for title, text in evidence.collect(cluster):
                print(f"--- {title}\n{text}")
            print(f"✗ seed {options.seed}, round {soak.round}, {soak.step}: {error}", flush=True)
            sys.exit(1)
        finally:
            print(f"seed {options.seed}, {soak.round} rounds: {describe(soak.faults)}")
    _tell(options.seed, soak)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1000))  # noqa: S311 - no secret
    parser.add_argument("--nodes", type=int, default=3, help="three or more")
    parser.add_argument("--volumes", type=int, default=3)
    return parser.parse_args()


def _say(line: str) -> None:
    print(line, flush=True)


def _tell(seed: int, soak: Soak) -> None:
    """The same line as every story's: what was done is the list of faults before it."""
    tally = soak.tally
    print(
        f"story soak-{seed} checked {tally.checked} lost {tally.lost} "
        f"longest-stall {tally.longest_stall:.1f} redundant-after {soak.redundant_after:.1f}"
    )


if __name__ == "__main__":
    main()
