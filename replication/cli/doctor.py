"""`trilith doctor`: what no record names, and what records name and is missing."""

import click

from replication.cli.output import print_json, print_table
from replication.cli.session import Session, pass_session
from replication.control.doctor import Diagnosis, Finding
from replication.errors import FailedPrecondition, TrilithError, Unavailable


@click.command()
@click.option("--remove", is_flag=True, help="Remove what no record names, after showing it and asking.")
@click.option("--yes", is_flag=True, help="Do not ask: for programs.")
@click.option("--accept-data-loss", is_flag=True, help="Remove also what may hold data that somebody wrote.")
@pass_session
def command(session: Session, *, remove: bool, yes: bool, accept_data_loss: bool) -> None:
    """Compare the records with what is on every node.

    Logical volumes, exports, connections, hold layers, arrays, limits and mounts that no record
    names are shown, and what records name and is missing. With --remove those that can be are
    removed, one by one; what is in use is refused. The exit status is 5 as long as there is
    something, 7 when a node does not answer.
    """
    diagnosis = session.control.doctor.examine()
    chosen = tuple(f for f in diagnosis.findings if f.trace and (accept_data_loss or not f.precious))
    if not remove:
        chosen = ()
    if not session.as_json:
        _show(diagnosis)
    if chosen and not yes:
        click.confirm(f"remove {_count(len(chosen))}?", abort=True, err=True)
    left = {finding: why for finding in chosen if (why := _remove(session, finding))}
    removed = tuple(finding for finding in chosen if finding not in left)
    if session.as_json:
        print_json(_to_plain(diagnosis, removed, left))
    for finding in removed:
        click.echo(f"removed: {finding.kind} {finding.name} on node {finding.node}", err=True)
    _raise_for(diagnosis, removed, left)


def _remove(session: Session, finding: Finding) -> str:
    """Why it is not removed; or nothing. The others are tried all the same."""
    try:
        session.control.doctor.remove(finding)
    except TrilithError as error:
        return str(error)
    return ""


def _show(diagnosis: Diagnosis) -> None:
    for name in diagnosis.changing:
        click.echo(f"volume {name} is changing and was left out: look again", err=True)
    if not diagnosis.findings:
        click.echo("nothing found: nodes have what the records name, and nothing else of ours")
        return
    headings = ("NODE", "WHAT", "NAME", "VOLUME", "PROBLEM", "CAN BE REMOVED")
    print_table(headings, (_to_row(finding) for finding in diagnosis.findings))


def _to_row(finding: Finding) -> tuple[str, ...]:
    return (
        finding.node,
        finding.kind,
        finding.name,
        finding.volume,
        finding.problem,
        _removability(finding),
    )


def _removability(finding: Finding) -> str:
    if finding.trace is None:
        return "it is missing"
    return "may hold data: --accept-data-loss" if finding.precious else "yes"


def _to_plain(
    diagnosis: Diagnosis, removed: tuple[Finding, ...], left: dict[Finding, str]
) -> dict[str, object]:
    return {
        "findings": [
            {
                "node": finding.node,
                "kind": finding.kind,
                "name": finding.name,
                "volume": finding.volume,
                "problem": finding.problem,
                "missing": finding.trace is None,
                "may_hold_data": finding.precious,
                "removed": finding in removed,
                "why_not_removed": left.get(finding, ""),
            }
            for finding in diagnosis.findings
        ],
        "silent": dict(diagnosis.silent),
        "changing": diagnosis.changing,
    }


def _raise_for(diagnosis: Diagnosis, removed: tuple[Finding, ...], left: dict[Finding, str]) -> None:
    if left:
        raise FailedPrecondition(f"{_count(len(left))} not removed: {'; '.join(left.values())}")
    rest = len(diagnosis.findings) - len(removed)
    if rest:
        raise FailedPrecondition(f"{_count(rest)} found that should not be so")
    if diagnosis.silent:
        why = "; ".join(f"node {node}: {reason}" for node, reason in diagnosis.silent)
        raise Unavailable(f"not every node could be looked at: {why}")


def _count(number: int) -> str:
    return f"{number} thing{'' if number == 1 else 's'}"
