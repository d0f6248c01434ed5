"""What a run says: the row as text, the goals at the most volumes, and whether anything has grown."""

from hack.bench.figures import Figure, Goal
from tests.scale.curve import Row
from tests.scale.load import Timing

GROWTH = 1.5
"""How many times slower a call may be with the most volumes: a busy host does as much to a median."""


def show(row: Row) -> str:
    """Lines, for people."""
    calls = (
        f"  {name:<10} p50 {timing.p50:8.2f} ms  p99 {timing.p99:8.2f} ms  "
        f"{timing.per_second:7.1f} a second  {timing.busy:6.2f} ms of a processor"
        for name, timing in row.calls.items()
    )
    memory = f"{row.resident_mib:.0f} MiB; {row.resident_after_list_mib:.0f} MiB after a list of all"
    passes = f"first pass {row.first_pass_seconds:.2f} s, next {row.pass_seconds:.2f} s"
    idle = f"{row.watching_share * 100:.0f} % of a processor while nothing happens"
    return "\n".join(
        (
            f"{row.volumes} volumes",
            *calls,
            f"  start {row.startup_seconds:.2f} s, {memory}",
            f"  reconciler: {passes}, {idle}",
        )
    )


def judge(row: Row) -> list[Figure]:
    """Against the goals that were set for the most volumes."""
    create, at = row.calls["create"], f"at-{row.volumes}"
    return [
        Figure(f"creates-per-second-{at}", create.per_second, "1/s", Goal(">=", 200)),
        Figure(f"create-p99-{at}", create.p99, "ms", Goal("<=", 50), create.samples),
    ]


def compare(few: Row, many: Row) -> list[Figure]:
    """How many times slower the median call has become, and how much more of a processor it takes."""
    of = f"{few.volumes}-to-{many.volumes}"
    return [figure for name in few.calls for figure in _compare(name, of, few.calls[name], many.calls[name])]


def _compare(name: str, of: str, few: Timing, many: Timing) -> tuple[Figure, Figure]:
    goal = Goal("<=", GROWTH)
    return (
        Figure(f"{name}-growth-{of}", many.p50 / few.p50, "times", goal),
        Figure(f"{name}-work-growth-{of}", many.busy / few.busy, "times", goal),
    )
