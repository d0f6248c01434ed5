"""`trilith volume`: what all the rest is for."""

import click

from replication.cli.output import print_json, print_table
from replication.cli.pool import REPLICA_COUNTS
from replication.cli.replica import HEADINGS, format_since, to_row
from replication.cli.scrub import scrub_volume
from replication.cli.session import Session, pass_session
from replication.cli.sizes import Size, format_size
from replication.cli.watch import watch_volume
from replication.control.insync import get_replica
from replication.control.lifecycle import VolumeRequest
from replication.control.redundancy import VolumeHealth, count_in_sync, judge_volume
from replication.errors import InvalidRequest
from replication.model import Attachment, ReplicaState, Volume

FOREVER = 0.0


@click.group()
def command() -> None:
    """Make, use, grow, watch and delete volumes."""


@command.command()
@click.argument("name")
@click.option("--size", type=Size(), required=True, help="As in 512MiB, 1GiB, 10G; whole 4 MiB are made.")
@click.option("--pool", required=True, metavar="NAME")
@click.option("--replicas", type=click.Choice(REPLICA_COUNTS), help="Instead of the pool's.")
@click.option("--prefer", multiple=True, metavar="NODE", help="Nodes for its replicas, where they have room.")
@pass_session
def create(
    session: Session, name: str, size: int, pool: str, replicas: str | None, prefer: tuple[str, ...]
) -> None:
    """Make volume NAME, of zeroes. Repeating it changes nothing; with another size it is refused."""
    count = int(replicas) if replicas else None
    request = VolumeRequest(name, size, pool, replica_count=count, preferred_nodes=prefer)
    _print(session, session.control.volumes.create(request), "made")


@command.command("list")
@pass_session
def list_volumes(session: Session) -> None:
    """Every volume, how it is, and where it is attached."""
    volumes = session.control.volumes.list()
    if session.as_json:
        print_json(volumes)
        return
    healths = judge_volumes(session, volumes)
    print_table(
        ("NAME", "ID", "POOL", "SIZE", "REPLICAS", "HEALTH", "ATTACHED"), (_to_row(each) for each in healths)
    )


@command.command()
@click.argument("volume")
@pass_session
def show(session: Session, volume: str) -> None:
    """Everything that the record says of VOLUME."""
    found = session.get_volume(volume)
    if session.as_json:
        print_json(found)
        return
    (health,) = judge_volumes(session, (found,))
    print_table(("", ""), _describe(health))
    print_table(HEADINGS, (to_row(found, replica) for replica in found.replicas))


@command.command()
@click.argument("volume")
@click.argument("node")
@pass_session
def attach(session: Session, volume: str, node: str) -> None:
    """Make VOLUME usable on NODE; prints the device's path there."""
    found = session.get_volume(volume)
    device = session.control.volumes.attach(found.id, node)
    if session.as_json:
        print_json({"id": found.id, "name": found.name, "node": node, "device": device})
    else:
        click.echo(device)


@command.command()
@click.argument("volume")
@click.option("--node", metavar="NAME", help="Only if it is attached there.")
@pass_session
def detach(session: Session, volume: str, node: str | None) -> None:
    """End the use of VOLUME; its file systems must be unmounted."""
    found = session.get_volume(volume)
    session.control.volumes.detach(found.id, node)
    _print(session, session.control.volumes.get(found.id), "detached")


@command.command()
@click.argument("volume")
@click.argument("size", type=Size())
@pass_session
def expand(session: Session, volume: str, size: int) -> None:
    """Grow VOLUME to SIZE, while it is in use; its file system grows with it."""
    found = session.get_volume(volume)
    if size < found.size_bytes:
        raise InvalidRequest(
            f"volume {found.name} has {format_size(found.size_bytes)} already: a volume never becomes smaller"
        )
    _print(session, session.control.volumes.expand(found.id, size), "expanded")


@command.command()
@click.argument("volume")
@pass_session
def delete(session: Session, volume: str) -> None:
    """Delete VOLUME and all its data, at once; refused while it is attached."""
    found = session.get_volume(volume)
    session.control.volumes.delete(found.id)
    if session.as_json:
        print_json({"deleted": found.name, "id": found.id})
    else:
        click.echo(f"volume {found.name} ({found.id}) deleted")


@command.command()
@click.argument("volume")
@click.option("--check-only", is_flag=True, help="Change nothing where they differ.")
@pass_session
def scrub(session: Session, volume: str, *, check_only: bool) -> None:
    """Compare all replicas of VOLUME while it is in use, and make them equal where they differ.

    What holds is the array's first member: the replica on the node that uses the volume, if it was there
    when that began, else the first that was in sync. Stopping the command does not stop the scrub.
    """
    scrub_volume(session, session.get_volume(volume), repair=not check_only)


@command.command()
@click.argument("volume")
@click.option(
    "--from", "replica", required=True, metavar="REPLICA", help="Its id, of `trilith replica list`."
)
@click.option("--accept-data-loss", is_flag=True, help="What REPLICA lacks is given up.")
@pass_session
def recover(session: Session, volume: str, replica: str, *, accept_data_loss: bool) -> None:
    """Go on with a stale REPLICA of a lost VOLUME: the only way on, and never taken by itself.

    Everything that was written after that replica went stale is lost; of one in sync, what its disk refused
    or what was written after its disk was copied. All other replicas are copied anew.
    """
    found = session.get_volume(volume)
    if not accept_data_loss:
        chosen = get_replica(found, replica)
        lacks = f"was written after {format_since(chosen.since)}, when replica {replica} went stale"
        if chosen.state is ReplicaState.IN_SYNC:
            lacks = f"the disk of replica {replica} has refused, or never had"
        raise InvalidRequest(f"volume {found.name}: what {lacks}, will be lost: say --accept-data-loss")
    _print(session, session.control.volumes.recover(found.id, replica), "recovered")


@command.command()
@click.argument("volume")
@click.option(
    "--timeout", type=click.FloatRange(min=0), default=FOREVER, help="Give up after seconds; 0: never."
)
@pass_session
def watch(session: Session, volume: str, timeout: float) -> None:
    """Show the rebuild of VOLUME until it is redundant, then end."""
    watch_volume(session, session.get_volume(volume), timeout)


def judge_volumes(session: Session, volumes: tuple[Volume, ...]) -> list[VolumeHealth]:
    """Only nodes that have an array are asked."""
    consumers = tuple(sorted({volume.consumer for volume in volumes if volume.consumer}))
    asked = session.ask_nodes(consumers) if consumers else ()
    reports = [report for answer in asked if answer.facts for report in answer.facts.arrays]
    return [judge_volume(volume, reports) for volume in volumes]


def _print(session: Session, volume: Volume, done: str) -> None:
    if session.as_json:
        print_json(volume)
        return
    nodes = ", ".join(replica.node for replica in volume.replicas)
    size = format_size(volume.size_bytes)
    click.echo(f"volume {volume.name} ({volume.id}) {done}: {size}, replicas on {nodes}")


def describe_attachment(volume: Volume) -> str:
    if volume.attachment is Attachment.DETACHED:
        return ""
    if volume.upkeep:
        return f"{volume.consumer} (upkeep)"
    if volume.attachment is Attachment.ATTACHED:
        return str(volume.consumer)
    return f"{volume.consumer} ({volume.attachment})"


def _to_row(each: VolumeHealth) -> tuple[str, ...]:
    volume = each.volume
    copies = f"{count_in_sync(volume)}/{volume.replica_count}"
    size = format_size(volume.size_bytes)
    return (volume.name, volume.id, volume.pool, size, copies, each.health, describe_attachment(volume))


def _describe(each: VolumeHealth) -> list[tuple[str, str]]:
    volume = each.volume
    return [
        ("name", volume.name),
        ("id", volume.id),
        ("pool", volume.pool),
        ("size", f"{format_size(volume.size_bytes)} ({volume.size_bytes} bytes)"),
        ("health", each.health),
        ("phase", volume.phase),
        ("epoch", str(volume.epoch)),
        ("attached", describe_attachment(volume) or "no"),
        *((f"parameter {key}", value) for key, value in volume.parameters),
    ]
