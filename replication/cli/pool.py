"""`trilith pool`: which disks volumes are made from."""

from collections.abc import Iterable
from dataclasses import dataclass

import click

from replication.cli.output import print_json, print_table
from replication.cli.session import Session, pass_session
from replication.cli.sizes import format_size
from replication.control.placement import Want, largest_size
from replication.control.pools import NodeUsage
from replication.errors import InvalidRequest
from replication.model import Pool, VolumeGroup

REPLICA_COUNTS = ("1", "3", "5")


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes; reserved is what is free once it is wiped."""

    size: int
    free: int
    reserved: int

    @property
    def texts(self) -> tuple[str, str, str, str]:
        """Size, used, reserved, free."""
        used = self.size - self.free - self.reserved
        return (
            format_size(self.size),
            format_size(used),
            format_size(self.reserved),
            format_size(self.free),
        )


@click.group()
def command() -> None:
    """Pools of disks that volumes are made from."""


@command.command()
@click.argument("name")
@click.option("--node", "nodes", multiple=True, metavar="NAME", help="A node of the pool; several times.")
@click.option(
    "--disk",
    "disks",
    multiple=True,
    metavar="NODE:PATH",
    help="Take this disk of a node, as in m1:/dev/nvme0n1; of nodes without one, every usable disk.",
)
@click.option(
    "--replicas", type=click.Choice(REPLICA_COUNTS), default="3", show_default=True, help="Of its volumes."
)
@click.option(
    "--striped",
    is_flag=True,
    help="Spread each replica over all disks of its node; a dead disk then costs all of them.",
)
@pass_session
def create(
    session: Session,
    *,
    name: str,
    nodes: tuple[str, ...],
    disks: tuple[str, ...],
    replicas: str,
    striped: bool,
) -> None:
    """Make pool NAME. Only disks without any content are taken."""
    chosen = tuple(parse_disk(text) for text in disks)
    members = tuple(dict.fromkeys((*nodes, *(node for node, _ in chosen))))
    if not members:
        raise InvalidRequest(f"pool {name}: name its nodes with --node, or its disks with --disk NODE:PATH")
    pool = session.control.pools.create(name, members, int(replicas), chosen, striped=striped)
    _print(session, [pool])


@command.command("list")
@pass_session
def list_pools(session: Session) -> None:
    """Every pool: its room, and the largest volume that it could take."""
    _print(session, session.control.pools.list())


@command.command()
@click.argument("name")
@pass_session
def show(session: Session, name: str) -> None:
    """The disks of pool NAME, node by node; RESERVED is free once its old bytes are wiped."""
    pool = session.control.pools.get(name)
    usage = session.control.pools.usage(name)
    if session.as_json:
        print_json(_to_plain(pool, usage) | {"usage": usage})
        return
    headings = ("NODE", "DISK", "VOLUME GROUP", "SIZE", "USED", "RESERVED", "FREE", "PROBLEM")
    print_table(headings, (row for node in usage for row in _to_disk_rows(node)))


@command.command()
@click.argument("name")
@pass_session
def delete(session: Session, name: str) -> None:
    """Give the disks of pool NAME back; only when no volume is in it."""
    session.control.pools.get(name)
    session.control.pools.delete(name)
    if session.as_json:
        print_json({"deleted": name})
    else:
        click.echo(f"pool {name} deleted")


def parse_disk(text: str) -> tuple[str, str]:
    node, colon, path = text.partition(":")
    if not node or not colon or not path.startswith("/dev/"):
        raise InvalidRequest(f"--disk {text!r}: must be NODE:PATH, as in m1:/dev/nvme0n1")
    return node, path


def sum_usage(usage: tuple[NodeUsage, ...]) -> Room:
    """On the nodes that answer."""
    return sum_room(group for node in usage for group in node.groups)


def sum_room(groups: Iterable[VolumeGroup]) -> Room:
    found = tuple(groups)
    return Room(
        sum(group.size_bytes for group in found),
        sum(group.free_bytes for group in found),
        sum(group.reserved_bytes for group in found),
    )


def find_largest(pool: Pool, usage: tuple[NodeUsage, ...]) -> int:
    """Bytes of the largest replica for which as many nodes have room as a volume has replicas."""
    return largest_size(Want(pool, 0, pool.replica_count), {node.node: node.groups for node in usage})


def _print(session: Session, pools: list[Pool] | tuple[Pool, ...]) -> None:
    usages = [(pool, session.control.pools.usage(pool.name)) for pool in pools]
    if session.as_json:
        print_json([_to_plain(pool, usage) for pool, usage in usages])
    else:
        sizes = ("SIZE", "USED", "RESERVED", "FREE", "LARGEST VOLUME")
        headings = ("NAME", "REPLICAS", "NODES", *sizes, "PROBLEM")
        print_table(headings, (_to_row(pool, usage) for pool, usage in usages))


def _to_row(pool: Pool, usage: tuple[NodeUsage, ...]) -> tuple[str, ...]:
    sizes = (*sum_usage(usage).texts, format_size(find_largest(pool, usage)))
    problems = "; ".join(f"{node.node}: {node.problem}" for node in usage if node.problem)
    return (pool.name, str(pool.replica_count), " ".join(pool.nodes), *sizes, problems)


def _to_plain(pool: Pool, usage: tuple[NodeUsage, ...]) -> dict[str, object]:
    room = sum_usage(usage)
    return {
        "name": pool.name,
        "nodes": pool.nodes,
        "replica_count": pool.replica_count,
        "striped": pool.striped,
        "size_bytes": room.size,
        "free_bytes": room.free,
        "reserved_bytes": room.reserved,
        "largest_volume_bytes": find_largest(pool, usage),
        "problems": {node.node: node.problem for node in usage if node.problem},
    }


def _to_disk_rows(node: NodeUsage) -> list[tuple[str, ...]]:
    if node.problem:
        return [(node.node, "", "", "", "", "", "", node.problem)]
    return [(node.node, group.disk, group.name, *sum_room([group]).texts, "") for group in node.groups]
