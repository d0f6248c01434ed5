"""`trilith node`: the cluster's machines."""

from pathlib import Path

import click

from replication.cli.certificate import ensure_identity, open_authority
from replication.cli.check import check
from replication.cli.draining import watch_drain
from replication.cli.output import print_json, print_table
from replication.cli.session import Asked, Session, pass_session
from replication.clock import wait_until
from replication.errors import InvalidRequest, TimedOut, Unavailable
from replication.model import Node
from replication.pki import Role


@click.group()
def command() -> None:
    """Add, list, drain and remove the cluster's machines."""


@command.command()
@click.argument("name")
@click.option("--address", required=True, metavar="HOST:PORT", help="Where the node's agent answers.")
@click.option("--data-address", required=True, metavar="IP", help="Where it serves replicas (NVMe/TCP).")
@click.option(
    "--certs-out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Issue the node's certificate into this folder, unless it is there already.",
)
@click.option("--wait", type=click.FloatRange(min=0), default=0.0, help="Seconds to wait for its agent.")
@pass_session
def add(
    session: Session, name: str, address: str, data_address: str, certs_out: Path | None, wait: float
) -> None:
    """Add machine NAME. Its agent must answer, with a certificate of this cluster.

    The first time, --certs-out writes that certificate: copy the folder to the machine, start its
    agent, and repeat the command; or use --wait.
    """
    if certs_out and ensure_identity(open_authority(session.state), name, Role.NODE, certs_out):
        click.echo(f"node {name}: certificate written to {certs_out}", err=True)
    node = Node(name, address, data_address)
    _add(session, node, wait)
    if session.as_json:
        print_json(node)
    else:
        click.echo(f"node {name} added")


command.add_command(check)


@command.command("list")
@pass_session
def list_nodes(session: Session) -> None:
    """Every node, and whether its agent answers."""
    nodes = session.control.nodes.list()
    asked = session.ask_nodes(tuple(node.name for node in nodes))
    words = {c.name: "draining" if c.draining else "cordoned" for c in session.control.store.list_cordons()}
    if session.as_json:
        plain = [_to_plain(node, answer) for node, answer in zip(nodes, asked, strict=True)]
        print_json([each | {"cordon": words.get(str(each["name"]), "")} for each in plain])
        return
    headings = (
        "NAME",
        "AGENT",
        "ADDRESS",
        "DATA ADDRESS",
        "KERNEL",
        "NVME KEYS",
        "LABELS",
        "NEW REPLICAS",
        "PROBLEM",
    )
    print_table(
        headings,
        (
            _to_row(node, answer, words.get(node.name, "yes"))
            for node, answer in zip(nodes, asked, strict=True)
        ),
    )


@command.command()
@click.argument("name")
@click.argument("labels", nargs=-1, required=True, metavar="KEY=VALUE...")
@pass_session
def label(session: Session, name: str, labels: tuple[str, ...]) -> None:
    """Say where NAME is, as in topology.kubernetes.io/zone=z1; KEY= takes a label away.

    Replicas of new volumes are spread over zones, and over what their StorageClass says in `spread`.
    """
    node = session.control.nodes.label(name, dict(map(_parse_label, labels)))
    if session.as_json:
        print_json(node)
    else:
        click.echo(f"node {name}: {_format_labels(node) or 'no labels'}")


timeout_option = click.option(
    "--timeout", type=click.FloatRange(min=0), default=0.0, help="Give up watching after seconds; 0: never."
)
no_wait_option = click.option("--no-wait", is_flag=True, help="Do not watch; it goes on by itself.")


@command.command()
@click.argument("name")
@pass_session
def cordon(session: Session, name: str) -> None:
    """Let NAME get no new replicas; what is there stays."""
    _say(session, {"cordoned": session.control.emptying.cordon(name).name}, f"node {name} cordoned")


@command.command()
@click.argument("name")
@pass_session
def uncordon(session: Session, name: str) -> None:
    """Let NAME get new replicas again; what a drain has not moved yet stays."""
    session.control.emptying.uncordon(name)
    _say(session, {"uncordoned": name}, f"node {name} uncordoned")


@command.command()
@click.argument("name")
@timeout_option
@no_wait_option
@pass_session
def drain(session: Session, name: str, timeout: float, *, no_wait: bool) -> None:
    """Move the replicas of NAME elsewhere; no volume has fewer copies for it. A single replica stays.

    `trilith control run` does it. Volumes that are in use on NAME go on there, with their
    replicas elsewhere: detach them by yourself.
    """
    emptying = session.control.emptying
    drained = emptying.cordon(name, draining=True)
    for volume in emptying.list_used(name):
        click.echo(f"volume {volume.name} is in use on node {name}: detach it before you stop that", err=True)
    if no_wait:
        _say(session, {"draining": name}, f"node {name} is being drained")
    else:
        watch_drain(session, drained, timeout)


@command.command()
@click.argument("name")
@click.option("--lost", is_flag=True, help="Its machine never comes back: its replicas are replaced at once.")
@pass_session
def remove(session: Session, name: str, *, lost: bool) -> None:
    """Take NAME out of its pools and the cluster; only when no replica or attachment is on it."""
    session.control.emptying.remove(name, lost=lost)
    _say(session, {"removed": name}, f"node {name} removed")


def _say(session: Session, plain: dict[str, str], words: str) -> None:
    if session.as_json:
        print_json(plain)
    else:
        click.echo(words)


def _parse_label(text: str) -> tuple[str, str]:
    key, found, value = text.partition("=")
    if not found or not key or any(letter.isspace() for letter in text):
        raise InvalidRequest(f"label {text!r}: must be KEY=VALUE")
    return key, value


def _format_labels(node: Node) -> str:
    return ",".join(f"{key}={value}" for key, value in node.labels)


def _add(session: Session, node: Node, wait: float) -> None:
    last: list[Unavailable] = []

    def is_added() -> bool:
        try:
            session.control.nodes.add(node)
        except Unavailable as error:
            last[:] = [error]
            return False
        return True

    try:
        wait_until(is_added, f"node {node.name}", timeout=wait, clock=session.clock, interval=0.5)
    except TimedOut:
        raise Unavailable(f"node {node.name} is not added: {last[0]}") from None


def _to_plain(node: Node, answer: Asked) -> dict[str, object]:
    facts = answer.facts
    return {
        "name": node.name,
        "address": node.address,
        "data_address": node.data_address,
        "labels": dict(node.labels),
        "up": facts is not None,
        "problem": answer.problem,
        "kernel": facts.kernel if facts else None,
        "boot_id": facts.boot_id if facts else None,
        "authentication": facts.authentication if facts else None,
    }


def _to_row(node: Node, answer: Asked, new: str) -> tuple[str, ...]:
    facts, labels = answer.facts, _format_labels(node)
    if facts is None:
        return (node.name, "down", node.address, node.data_address, "", "", labels, new, answer.problem)
    keys = "yes" if facts.authentication else "no"
    return (node.name, "up", node.address, node.data_address, facts.kernel, keys, labels, new, "")
