"""`trilith cluster`: its beginning."""

import re
import secrets
from pathlib import Path

import click

from replication.cli.certificate import PKI, ensure_identity
from replication.cli.output import print_json
from replication.cli.session import Session, pass_session
from replication.errors import AlreadyExists, InvalidRequest
from replication.pki import CA_FILE, CERTIFICATE_FILE, CertificateAuthority, Role

CONTROL = "control"
"""The name in the control plane's certificate."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


@click.group()
def command() -> None:
    """Make a cluster."""


@command.command()
@click.option("--name", default="trilith", show_default=True, help="Begins the cluster's id.")
@pass_session
def init(session: Session, name: str) -> None:
    """Make a cluster in the state folder: its authority, its control plane's certificate, its store.

    What a crash left of a first attempt is finished; a cluster that is complete is never touched.
    """
    cluster_id = init_cluster(session.state, name)
    session.control.store.cluster()
    if session.as_json:
        print_json({"cluster": cluster_id, "state": str(session.state)})
    else:
        click.echo(f"cluster {cluster_id} is in {session.state}")
        click.echo("next: `trilith node add NAME --address HOST:PORT --data-address IP --certs-out FOLDER`")


def init_cluster(state: Path, name: str) -> str:
    """The id of the new cluster."""
    if not _NAME.fullmatch(name):
        raise InvalidRequest(f"cluster name {name!r}: at most 32 of a-z, 0-9 and '-', as in trilith-lab")
    pki = state / PKI
    if (pki / CERTIFICATE_FILE).exists():
        raise AlreadyExists(f"{state}: there is a cluster here already")
    authority = _ensure_authority(pki, f"{name}-{secrets.token_hex(4)}")
    ensure_identity(authority, CONTROL, Role.CONTROL, pki)
    return authority.cluster_id


def _ensure_authority(pki: Path, cluster_id: str) -> CertificateAuthority:
    if (pki / CA_FILE).exists():
        return CertificateAuthority.open(pki)
    return CertificateAuthority.create(pki, cluster_id)
