"""A scrub, watched to its end: what differs, and whether it has been made equal."""

from collections.abc import Iterator

import click

from replication.cli.output import print_json_line
from replication.cli.session import Session
from replication.cli.sizes import format_size
from replication.errors import DataLoss
from replication.model import ArrayReport, Volume
from replication.tuning import SCRUBS

INTERVAL = 1.0


def scrub_volume(session: Session, volume: Volume, *, repair: bool) -> None:
    """Compare; where they differ and `repair`: make equal, compare again. DataLoss when they still differ."""
    found = _run(session, volume, repair=False)
    if found and repair:
        _run(session, volume, repair=True)
        found = _run(session, volume, repair=False)
    if found:
        raise DataLoss(f"volume {volume.name}: {format_size(found)} differ between its replicas")


def _run(session: Session, volume: Volume, *, repair: bool) -> int:
    """Bytes that differ, or that were made equal."""
    session.control.volumes.scrub(volume.id, repair=repair)
    report = session.control.volumes.find_scrub(volume.id)
    for report in _follow(session, volume):
        _say(session, volume, report, "repair" if repair else "check")
    return report.mismatched_bytes


def _follow(session: Session, volume: Volume) -> Iterator[ArrayReport]:
    """Every second, the last one when it has ended."""
    while True:
        report = session.control.volumes.find_scrub(volume.id)
        yield report
        if report.activity not in SCRUBS:
            return
        session.clock.sleep(INTERVAL)


def _say(session: Session, volume: Volume, report: ArrayReport, what: str) -> None:
    done, total = report.recovery_done_bytes, report.recovery_total_bytes
    ended = report.activity not in SCRUBS
    percent = 100.0 if ended else 100.0 * done / total if total else 0.0
    if session.as_json:
        plain = {"name": volume.name, "doing": what, "percent": round(percent, 1), "ended": ended}
        print_json_line(plain | {"mismatched_bytes": report.mismatched_bytes})
        return
    rate = format_size(report.recovery_bytes_per_second)
    word = "made equal" if what == "repair" else "different"
    progress = f"{percent:.1f} %" if ended else f"{percent:.1f} %, {rate}/s"
    click.echo(f"volume {volume.name}: {what} {progress}, {format_size(report.mismatched_bytes)} {word}")
