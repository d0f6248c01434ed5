"""`trilith disk`: what the nodes have."""

from dataclasses import dataclass

import click

from replication.cli.draining import watch_drain
from replication.cli.node import no_wait_option, timeout_option
from replication.cli.output import print_json, print_table
from replication.cli.pool import sum_room
from replication.cli.session import Session, pass_session, warn_of_silence
from replication.cli.sizes import format_size
from replication.errors import Unavailable
from replication.model import Disk, NodeFacts, VolumeGroup


@dataclass(frozen=True, slots=True)
class NodeDisk:
    """A disk, the node it is in, and the pool that has it, if one has."""

    node: str
    disk: Disk
    group: VolumeGroup | None

    @property
    def pool(self) -> str:
        return self.group.pool if self.group else ""


@click.group()
def command() -> None:
    """Disks of the nodes, and why some cannot be used."""


@command.command("list")
@click.option("--node", "only", metavar="NAME", help="Of this node only.")
@pass_session
def list_disks(session: Session, only: str | None) -> None:
    """Every disk: which pool has it, and if none can take it, why not.

    RESERVED is free once its old bytes are wiped.
    """
    asked = session.ask_nodes((only,) if only else ())
    if only and asked[0].facts is None:
        raise Unavailable(f"node {only}: {asked[0].problem}")
    warn_of_silence(asked)
    disks = [disk for answer in asked if answer.facts for disk in find_disks(answer.facts)]
    if session.as_json:
        print_json([_to_plain(each) for each in disks])
    else:
        known = ("NODE", "DISK", "SERIAL", "MODEL", "SIZE")
        headings = (*known, "POOL", "RESERVED", "FREE", "USABLE", "WHY NOT")
        print_table(headings, map(_to_row, disks))


@command.command()
@click.argument("node")
@click.argument("path")
@timeout_option
@no_wait_option
@pass_session
def drain(session: Session, node: str, path: str, timeout: float, *, no_wait: bool) -> None:
    """Move every replica off the disk PATH of NODE; no volume has fewer copies for it.

    A disk that is dead needs no drain: its replicas are replaced without it.
    """
    drained = session.control.emptying.drain_disk(node, path)
    if not no_wait:
        watch_drain(session, drained, timeout)
    elif session.as_json:
        print_json({"draining": drained.name})
    else:
        click.echo(f"disk {path} of node {node} is being drained")


@command.command()
@click.argument("node")
@click.argument("path")
@pass_session
def uncordon(session: Session, node: str, path: str) -> None:
    """Let the disk PATH of NODE get replicas again after a drain."""
    session.control.emptying.uncordon_disk(node, path)
    if session.as_json:
        print_json({"uncordoned": path, "node": node})
    else:
        click.echo(f"disk {path} of node {node} uncordoned")


def find_disks(facts: NodeFacts) -> list[NodeDisk]:
    groups = {group.name: group for group in facts.volume_groups}
    return [NodeDisk(facts.node, disk, groups.get(disk.volume_group)) for disk in facts.disks]


def _to_row(each: NodeDisk) -> tuple[str, ...]:
    disk = each.disk
    size, usable = format_size(disk.size_bytes), "yes" if disk.usable else "no"
    room = sum_room([each.group]).texts[2:] if each.group else ("", "")
    return (each.node, disk.path, disk.serial, disk.model, size, each.pool, *room, usable, disk.why_not)


def _to_plain(each: NodeDisk) -> dict[str, object]:
    disk = each.disk
    return {
        "node": each.node,
        "path": disk.path,
        "serial": disk.serial,
        "model": disk.model,
        "size_bytes": disk.size_bytes,
        "usable": disk.usable,
        "why_not": disk.why_not,
        "volume_group": disk.volume_group,
        "pool": each.pool,
        "free_bytes": each.group.free_bytes if each.group else 0,
        "reserved_bytes": each.group.reserved_bytes if each.group else 0,
    }
