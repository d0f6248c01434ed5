"""`trilith disk`: what the nodes have."""

from collections.abc import Iterable
from dataclasses import dataclass

import click

from replication.cli.draining import watch_drain
from replication.cli.node import no_wait_option, timeout_option
from replication.cli.output import print_json, print_table
from replication.cli.pool import sum_room
from replication.cli.session import Session, pass_session, warn_of_silence
from replication.cli.sizes import format_size
from replication.control.cordons import Cordon, disk_name
from replication.errors import Unavailable
from replication.model import Disk, NodeFacts, VolumeGroup


@dataclass(frozen=True, slots=True)
class NodeDisk:
    """A disk, the node it is in, and the pool that has it, if one has."""

    node: str
    disk: Disk
    group: VolumeGroup | None
    cordon: str = ""  # cordoned, or draining

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
    cordons = session.control.store.list_cordons()
    disks = [disk for answer in asked if answer.facts for disk in find_disks(answer.facts, cordons)]
    if session.as_json:
        print_json([_to_plain(each) for each in disks])
    else:
        known = ("NODE", "DISK", "SERIAL", "MODEL", "SIZE")
        headings = (*known, "POOL", "RESERVED", "FREE", "CORDON", "USABLE", "WHY NOT")
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
    """Let the disk PATH of NODE get replicas again after a drain, or a pool take it after `remove`."""
    session.control.emptying.uncordon_disk(node, path)
    if session.as_json:
        print_json({"uncordoned": path, "node": node})
    else:
        click.echo(f"disk {path} of node {node} uncordoned")


@command.command()
@click.argument("node")
@click.argument("path")
@pass_session
def remove(session: Session, node: str, path: str) -> None:
    """Take the disk PATH of NODE out of its pool; drain it first.

    No pool takes it again until it is uncordoned. Of one that the node has not any more nothing is
    kept: whatever gets its path is a disk like any other.
    """
    cordon = session.control.emptying.remove_disk(node, path)
    if session.as_json:
        print_json({"removed": path, "node": node, "cordon": "cordoned" if cordon else ""})
    elif cordon:
        click.echo(f"disk {path} of node {node} is in no pool; uncordon it to let one take it again")
    else:
        click.echo(f"no pool has disk {path} of node {node}, and nothing is kept of it")


def find_disks(facts: NodeFacts, cordons: Iterable[Cordon]) -> list[NodeDisk]:
    groups = {group.name: group for group in facts.volume_groups}
    draining = {cordon.name: cordon.draining for cordon in cordons}

    def find(disk: Disk) -> NodeDisk:
        group, name = groups.get(disk.volume_group), disk_name(facts.node, disk.volume_group)
        word = "draining" if group and draining.get(name) else "cordoned"
        return NodeDisk(facts.node, disk, group, word if name in draining else "")

    return [find(disk) for disk in facts.disks]


def _to_row(each: NodeDisk) -> tuple[str, ...]:
    disk = each.disk
    size, usable = format_size(disk.size_bytes), "yes" if disk.usable else "no"
    room = sum_room([each.group]).texts[2:] if each.group else ("", "")
    kept = (each.pool, *room, each.cordon)
    return (each.node, disk.path, disk.serial, disk.model, size, *kept, usable, disk.why_not)


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
        "volume_group": each.group.name if each.group else "",
        "pool": each.pool,
        "cordon": each.cordon,
        "free_bytes": each.group.free_bytes if each.group else 0,
        "reserved_bytes": each.group.reserved_bytes if each.group else 0,
    }
