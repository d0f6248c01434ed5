"""`trilith settings`: how the cluster keeps itself healthy."""

import dataclasses
from typing import Any

import click

from replication.cli.output import print_json, print_table
from replication.cli.session import Session, pass_session
from replication.cli.sizes import Size
from replication.control.settings import CLUSTER, Policy, Settings, check_settings, choose_policy

pool_option = click.option("--pool", metavar="NAME", help="Of this pool only, instead of the cluster's.")


@click.group()
def command() -> None:
    """How the cluster keeps itself healthy."""


@command.command()
@pool_option
@pass_session
def show(session: Session, pool: str | None) -> None:
    """What holds, and where it comes from: the pool, the cluster, or the default."""
    _print(session, pool)


@command.command("set")
@pool_option
@click.option(
    "--replacement-delay",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="How long a replica may be away before another is made elsewhere.",
)
@click.option(
    "--rebuilds-per-node",
    type=click.IntRange(min=1),
    metavar="NUMBER",
    help="Copies at once that read from a node or write to it.",
)
@click.option(
    "--rebuild-bandwidth", type=Size(), metavar="SIZE", help="Bytes a second that one copy may take."
)
@click.option(
    "--write-latency-bound",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="A remote replica that takes longer to answer is given up; 0: never.",
)
@click.option(
    "--min-in-sync-replicas",
    type=click.IntRange(min=1),
    metavar="NUMBER",
    help="Writes wait rather than be on fewer; of volumes with fewer replicas: on all of them.",
)
@click.option("--unset", multiple=True, metavar="SETTING", help="Forget what was set here; several times.")
@pass_session
def set_(session: Session, /, pool: str | None, unset: tuple[str, ...], **values: float | None) -> None:
    """Change what is given, at once, for the cluster or one pool."""
    store = session.control.store
    found = store.get_settings(_scope(session, pool))
    given: dict[str, Any] = {name: value for name, value in values.items() if value is not None}
    given |= {_name_of(word): None for word in unset}
    store.put_settings(check_settings(dataclasses.replace(found, **given)))
    _print(session, pool)


def _name_of(word: str) -> str:
    name = word.replace("-", "_")
    if name not in {field.name for field in dataclasses.fields(Policy)}:
        raise click.BadParameter(f"there is no setting {word}", param_hint="--unset")
    return name


def _scope(session: Session, pool: str | None) -> str:
    return CLUSTER if pool is None else session.control.pools.get(pool).name


def _print(session: Session, pool: str | None) -> None:
    store = session.control.store
    cluster, own = store.get_settings(CLUSTER), store.get_settings(_scope(session, pool))
    policy = choose_policy(cluster, own)
    if session.as_json:
        print_json(policy)
        return
    rows = (
        (field.name.replace("_", "-"), f"{getattr(policy, field.name):g}", _origin(field.name, cluster, own))
        for field in dataclasses.fields(Policy)
    )
    print_table(("SETTING", "VALUE", "FROM"), rows)


def _origin(name: str, cluster: Settings, own: Settings) -> str:
    if own.name != CLUSTER and getattr(own, name) is not None:
        return f"pool {own.name}"
    return "default" if getattr(cluster, name) is None else "cluster"
