"""`trilith status`: the cluster's health on one screen."""

from dataclasses import dataclass

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from replication.cli.output import make_console, make_table, print_json, print_json_line, print_rendered
from replication.cli.pool import sum_usage
from replication.cli.replica import format_since
from replication.cli.session import Asked, Session, pass_session
from replication.cli.sizes import format_size
from replication.cli.volume import describe_attachment
from replication.cli.watch import describe, to_plain
from replication.control.pools import NodeUsage
from replication.control.redundancy import Health, VolumeHealth, judge_volume
from replication.model import Pool

INTERVAL = 1.0


@dataclass(frozen=True, slots=True)
class Status:
    """Everything that is on the screen."""

    cluster: str
    nodes: tuple[Asked, ...]
    pools: tuple[tuple[Pool, tuple[NodeUsage, ...]], ...]
    volumes: tuple[VolumeHealth, ...]

    @property
    def is_healthy(self) -> bool:
        fine = (Health.REDUNDANT, Health.CREATING, Health.DELETING)
        return all(node.facts for node in self.nodes) and all(v.health in fine for v in self.volumes)


@click.command()
@click.option("--watch", is_flag=True, help="Again every second, until Ctrl-C.")
@pass_session
def command(session: Session, *, watch: bool) -> None:
    """Show the cluster's health on one screen.

    Ends with status 0 also when something is wrong; `healthy` in the JSON form says which.
    """
    if watch:
        _watch(session)
    elif session.as_json:
        print_json(describe_status(read_status(session)))
    else:
        print_rendered(render(read_status(session)))


def read_status(session: Session) -> Status:
    nodes = session.ask_nodes()
    reports = [report for node in nodes if node.facts for report in node.facts.arrays]
    return Status(
        session.control.store.cluster(),
        nodes,
        tuple((pool, find_usage(pool, nodes)) for pool in session.control.pools.list()),
        tuple(judge_volume(volume, reports) for volume in session.control.volumes.list()),
    )


def find_usage(pool: Pool, nodes: tuple[Asked, ...]) -> tuple[NodeUsage, ...]:
    """From what the nodes have said already: one that is silent is waited for only once."""
    return tuple(_find_node_usage(pool.name, node) for node in nodes if node.name in pool.nodes)


def describe_status(status: Status) -> dict[str, object]:
    return {
        "cluster": status.cluster,
        "healthy": status.is_healthy,
        "nodes": [
            {"name": node.name, "up": node.facts is not None, "problem": node.problem}
            for node in status.nodes
        ],
        "pools": [_describe_pool(pool, usage) for pool, usage in status.pools],
        "volumes": [to_plain(volume) for volume in status.volumes],
    }


def render(status: Status) -> RenderableType:
    word = Text("healthy", "green") if status.is_healthy else Text("needs attention", "bold red")
    return Group(
        Text.assemble(f"cluster {status.cluster}: ", word),
        *_section(("NODE", "AGENT", "KERNEL", "PROBLEM"), [_node_row(node) for node in status.nodes]),
        *_section(
            ("POOL", "REPLICAS", "SIZE", "USED", "RESERVED", "FREE", "PROBLEM"),
            [_pool_row(pool, usage) for pool, usage in status.pools],
        ),
        *_section(
            ("VOLUME", "SIZE", "ATTACHED", "HEALTH", "DETAILS"), [_volume_row(v) for v in status.volumes]
        ),
    )


def explain_health(each: VolumeHealth) -> str:
    """Which replica is missing and since when, and how far its copy is; nothing when all is well."""
    if each.health in (Health.REDUNDANT, Health.CREATING, Health.DELETING):
        return ""
    missing = (f"{r.id} on {r.node} {r.state} since {format_since(r.since)}" for r in each.missing)
    return "; ".join((describe(each), *missing))


def _watch(session: Session) -> None:
    try:
        if session.as_json:
            _stream(session)
        else:
            _redraw(session)
    except KeyboardInterrupt:
        return


def _stream(session: Session) -> None:
    while True:
        print_json_line(describe_status(read_status(session)))
        session.clock.sleep(INTERVAL)


def _redraw(session: Session) -> None:
    with Live(console=make_console(), auto_refresh=False) as live:
        while True:
            live.update(render(read_status(session)), refresh=True)
            session.clock.sleep(INTERVAL)


def _section(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[RenderableType]:
    """A blank line and a table; of what there is none, nothing."""
    return [Text(""), make_table(headings, rows)] if rows else []


def _find_node_usage(pool: str, node: Asked) -> NodeUsage:
    groups = node.facts.volume_groups if node.facts else ()
    return NodeUsage(node.name, tuple(group for group in groups if group.pool == pool), node.problem)


def _node_row(node: Asked) -> tuple[str, ...]:
    if node.facts is None:
        return (node.name, "down", "", node.problem)
    return (node.name, "up", node.facts.kernel, "")


def _pool_row(pool: Pool, usage: tuple[NodeUsage, ...]) -> tuple[str, ...]:
    problems = "; ".join(f"{node.node}: {node.problem}" for node in usage if node.problem)
    return (pool.name, str(pool.replica_count), *sum_usage(usage).texts, problems)


def _describe_pool(pool: Pool, usage: tuple[NodeUsage, ...]) -> dict[str, object]:
    room = sum_usage(usage)
    problems = {node.node: node.problem for node in usage if node.problem}
    return {
        "name": pool.name,
        "size_bytes": room.size,
        "free_bytes": room.free,
        "reserved_bytes": room.reserved,
        "problems": problems,
    }


def _volume_row(each: VolumeHealth) -> tuple[str, ...]:
    volume = each.volume
    size = format_size(volume.size_bytes)
    return (volume.name, size, describe_attachment(volume), each.health, explain_health(each))
