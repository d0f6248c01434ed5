"""`trilith events`: what the control plane decided."""

from collections.abc import Iterator
from datetime import UTC, datetime

import click

from replication.cli.output import print_json, print_json_line, print_table
from replication.cli.session import Session, pass_session
from replication.control.store.base import Event

INTERVAL = 1.0
NEWEST = 1000
"""Events that are looked at each second: more are never written in one."""


@click.command()
@click.argument("subject", required=False)
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@click.option("--follow", "-f", "follows", is_flag=True, help="Go on with what happens from now on.")
@pass_session
def command(session: Session, subject: str | None, limit: int, *, follows: bool) -> None:
    """Show what was decided, and why: the newest last.

    SUBJECT is a volume's name or id, a node or a pool.
    """
    subjects = find_subject(session, subject) if subject else None
    past = session.control.events.list(subjects, limit)[::-1]
    names = {volume.id: volume.name for volume in session.control.volumes.list()}
    if session.as_json and not follows:
        print_json(past)
    elif follows:
        _print_stream(session, past, subjects)
    else:
        print_table(("TIME", "SUBJECT", "EVENT", "MESSAGE"), (_to_row(event, names) for event in past))


def find_subject(session: Session, subject: str) -> str:
    """Events name volumes by id; people by name. What is unknown may have been deleted."""
    volume = session.control.volumes.find(subject)
    return volume.id if volume else subject


def follow(session: Session, subject: str | None, last: Event | None) -> Iterator[Event]:
    """Events after `last`, for ever."""
    while True:
        newest = session.control.events.list(subject, NEWEST)
        fresh = newest[: newest.index(last)] if last in newest else newest
        yield from fresh[::-1]
        last = newest[0] if newest else last
        session.clock.sleep(INTERVAL)


def _print_stream(session: Session, past: tuple[Event, ...], subject: str | None) -> None:
    """Until Ctrl-C, which is how it is meant to end."""
    try:
        for event in past:
            _print_one(session, event)
        for event in follow(session, subject, past[-1] if past else None):
            _print_one(session, event)
    except KeyboardInterrupt:
        return


def _print_one(session: Session, event: Event) -> None:
    if session.as_json:
        print_json_line(event)
    else:
        click.echo("  ".join(_to_row(event, {})))


def _to_row(event: Event, names: dict[str, str]) -> tuple[str, ...]:
    time = f"{datetime.fromtimestamp(event.time, UTC):%Y-%m-%d %H:%M:%S}Z"
    return (time, names.get(event.subject, event.subject), event.kind, event.message)
