"""A drain, watched: what is left, until nothing is."""

import click

from replication.cli.output import print_json_line
from replication.cli.session import Session
from replication.control.cordons import Cordon
from replication.errors import TimedOut

INTERVAL = 1.0


def watch_drain(session: Session, cordon: Cordon, timeout: float) -> None:
    """Until it is empty, or TimedOut after `timeout` seconds, if any; what was moved stays moved."""
    deadline = session.clock.now() + timeout
    said = ""
    while True:
        left = session.control.emptying.list_left(cordon)
        words = ", ".join(f"{replica.id} of {volume.name} ({replica.state})" for volume, replica in left)
        line = f"{cordon.name}: {len(left)} replicas left{': ' if left else ''}{words}"
        if line != said:
            _say(session, cordon, line, [(v.name, r.id, r.state.value) for v, r in left])
        said = line
        if not left:
            return
        if timeout and session.clock.now() >= deadline:
            raise TimedOut(f"{line}, after {timeout:g} s; it goes on while `trilith control run` runs")
        session.clock.sleep(INTERVAL)


def _say(session: Session, cordon: Cordon, line: str, left: list[tuple[str, str, str]]) -> None:
    if session.as_json:
        rows = [{"volume": volume, "replica": replica, "state": state} for volume, replica, state in left]
        print_json_line({"draining": cordon.name, "left": rows})
    else:
        click.echo(line)
