"""`make bench-scale [VOLUMES="100 1000"]`: does what a call costs grow with the number of volumes?

    python -m tests.scale [--volumes N ...] [--nodes N] [--operations N]

The controller plugin is called by another process through gRPC on a UNIX socket; plugin and simulated nodes
share one process, and so one processor at most. A goal that is missed is printed and fails nothing.
"""

import argparse
import logging
import os
import tempfile
import time
from pathlib import Path

from hack.bench.figures import Board
from tests.scale.curve import Effort, measure_row
from tests.scale.findings import compare, judge, show
from tests.scale.stand import build_stand


def main() -> None:
    logging.disable(logging.CRITICAL)
    options = parse_options()
    run(options, Board("bench-scale"))


def parse_options(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--volumes", type=int, nargs="+", default=[100, 1_000, 10_000, 20_000])
    parser.add_argument("--nodes", type=int, default=500)
    parser.add_argument("--operations", type=int, default=400, help="of each kind, at each number of volumes")
    parser.add_argument("--threads", type=int, default=8, help="that make volumes, and so on, at once")
    parser.add_argument("--attached-share", type=float, default=0.1, help="of the volumes that are there")
    parser.add_argument("--watch-seconds", type=float, default=20.0, help="of the reconciler's idling")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace, board: Board) -> None:
    begun = time.monotonic()
    effort = Effort(options.operations, options.threads, options.watch_seconds)
    rows = []
    with (
        tempfile.TemporaryDirectory(prefix="trilith-scale-") as folder,
        build_stand(Path(folder), options.nodes) as stand,
    ):
        for volumes in sorted(options.volumes):
            stand.grow(volumes, options.attached_share)
            rows.append(measure_row(stand, Path(folder), volumes, effort))
            board.note(show(rows[-1]))
    board.add_all(judge(rows[-1]))
    board.add_all(compare(rows[0], rows[-1]))
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    board.note(f"{time.monotonic() - begun:.0f} s; the host's load over 1, 5, 15 minutes: {load}")


if __name__ == "__main__":
    main()
