"""How a story is told: one line for each, which the end of a test run repeats as a table."""

from collections.abc import Iterable, Iterator

from hack.checker.collector import Verdict
from replication.model import Volume
from tests.lab.stand import Stand

_FIRST_WORD = "story "


def tell(name: str, verdict: Verdict, stall: float, redundant_after: float) -> None:
    """Seconds: the longest stall, and how long it took from the end of the fault to full redundancy."""
    print(
        f"{_FIRST_WORD}{name} checked {verdict.checked} lost {len(verdict.lost)} "
        f"longest-stall {stall:.1f} redundant-after {redundant_after:.1f}"
    )


def end(stand: Stand, volume: Volume, *verdicts: Verdict) -> None:
    """What every story ends with: nothing is lost, the replicas are equal, nothing is left over."""
    assert [verdict.lost for verdict in verdicts] == [()] * len(verdicts)
    stand.assert_replicas_equal(volume)
    stand.remove(volume)


def find_told(outputs: Iterable[str]) -> Iterator[str]:
    """The lines of `tell` among what tests printed."""
    return (line for output in outputs for line in output.splitlines() if line.startswith(_FIRST_WORD))
