"""`trilith replica`: the copies that volumes consist of."""

from datetime import UTC, datetime

import click

from replication.cli.output import print_json, print_table
from replication.cli.session import Session, pass_session
from replication.model import Replica, ReplicaState, Volume

HEADINGS = ("VOLUME", "REPLICA", "NODE", "STATE", "SINCE", "COPY NEEDED", "VOLUME GROUP")


@click.group()
def command() -> None:
    """The copies that volumes consist of."""


@command.command("list")
@click.argument("volume", required=False)
@pass_session
def list_replicas(session: Session, volume: str | None) -> None:
    """Replicas of VOLUME, or of all: where they are, and whether the record counts them as in sync."""
    volumes = (session.get_volume(volume),) if volume else session.control.volumes.list()
    pairs = [(each, replica) for each in volumes for replica in each.replicas]
    if session.as_json:
        print_json([to_plain(each, replica) for each, replica in pairs])
    else:
        print_table(HEADINGS, (to_row(each, replica) for each, replica in pairs))


def to_row(volume: Volume, replica: Replica) -> tuple[str, ...]:
    copy = "" if replica.state is ReplicaState.IN_SYNC else replica.copy
    since = format_since(replica.since)
    groups = " ".join(replica.groups)
    return (volume.name, replica.id, replica.node, replica.state, since, copy, groups)


def to_plain(volume: Volume, replica: Replica) -> dict[str, object]:
    return {
        "volume": volume.name,
        "volume_id": volume.id,
        "replica": replica.id,
        "node": replica.node,
        "state": replica.state,
        "since": replica.since,
        "copy": None if replica.state is ReplicaState.IN_SYNC else replica.copy,
        "volume_group": replica.volume_group,
        "other_groups": replica.other_groups,
        "striped": replica.striped,
    }


def format_since(wall: float) -> str:
    """In UTC, to the second; nothing when it was never noted."""
    return f"{datetime.fromtimestamp(wall, UTC):%Y-%m-%d %H:%M:%S}Z" if wall else ""
