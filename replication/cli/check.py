"""`trilith node check`: of the machine that it runs on, not of a cluster."""

import sys
from pathlib import Path

import click

from replication.cli.output import print_json, print_table
from replication.cli.session import Session, pass_session
from replication.kernel.run import run
from replication.kernel.sysfs import Tree
from replication.preflight.findings import is_ready, list_findings
from replication.preflight.reading import read_facts

NOT_READY = 5


@click.command()
@click.option("--load", is_flag=True, help="Load the kernel's modules, as the agent does; needs root.")
@click.option(
    "--host-root",
    default="/",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the machine's own root is seen, in a container: to tell its distribution.",
)
@pass_session
def check(session: Session, *, load: bool, host_root: Path) -> None:
    """Show what this machine lacks for Trilith, and the command that installs it.

    The exit status is 5 as long as something is missing; warnings do not count.
    """
    findings = list_findings(read_facts(Tree(), run, Tree(host_root), load=load))
    ready = is_ready(findings)
    if session.as_json:
        print_json({"ready": ready, "findings": findings})
    else:
        print_table(("WHAT", "STATE", "FOUND"), ((each.what, each.state, each.found) for each in findings))
        for remedy in dict.fromkeys(each.remedy for each in findings if each.remedy):
            click.echo(f"to put it right: {remedy}")
    sys.exit(0 if ready else NOT_READY)
