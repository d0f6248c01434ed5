"""`make sanity`: csi-sanity against Trilith on three machines, for mounts and for blocks.

    python -m hack.sanity [--access mount|block]... [--replicas N] [--seed N]

Without arguments: mount and block on three replicas. Ends with status 1 when a spec failed.
"""

import argparse
import sys

from hack.bench.figures import Board, Figure, Goal
from hack.lab.cluster import GIB, Cluster
from hack.lab.network import enter_private_network
from hack.lab.site import Site
from hack.sanity.build import ensure_csi_sanity
from hack.sanity.suite import Outcome, Wish, run_suite

POOL = "nvme"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--access", action="append", choices=("mount", "block"))
    parser.add_argument("--replicas", type=int, default=3, choices=(1, 3))
    parser.add_argument("--seed", type=int, help="run the specs in this random order")
    options = parser.parse_args()
    wishes = [Wish(access, options.replicas, options.seed) for access in options.access or ("mount", "block")]
    program = ensure_csi_sanity()
    enter_private_network()
    board = Board("sanity")
    with Cluster(nodes=3, disk_size_bytes=8 * GIB) as cluster, Site(cluster) as site:
        site.start_everything(POOL)
        outcomes = [run_suite(program, site, cluster.machines[0], POOL, wish) for wish in wishes]
    for outcome in outcomes:
        tell(outcome, board)
    return int(any(outcome.failed for outcome in outcomes))


def tell(outcome: Outcome, board: Board) -> None:
    print(f"csi-sanity ({outcome.wish}): {len(outcome.passed)} passed, {len(outcome.skipped)} skipped")
    for why, count in outcome.reasons().items():
        print(f"  skipped {count}: {why}")
    for spec in outcome.failed:
        print(f"  {spec.state}: {spec.name}: {spec.why}")
    kind = outcome.wish.access
    board.add(Figure(f"sanity-{kind}-failed", len(outcome.failed), "specs", Goal("<=", 0)))
    board.add(Figure(f"sanity-{kind}-seconds", outcome.seconds, "s", Goal("<=", 360)))


if __name__ == "__main__":
    sys.exit(main())
