"""`trilith certificate`: what the cluster's machines show each other."""

from pathlib import Path

import click

from replication.cli.output import print_json
from replication.cli.session import Session, no_cluster, pass_session
from replication.errors import AlreadyExists, NotFound
from replication.pki import (
    IDENTITY_DAYS,
    CertificateAuthority,
    Holder,
    Role,
    holder_of,
    read_identity,
    write_identity,
)

PKI = "pki"
"""In the state folder: the authority, and the control plane's own identity."""

FILES = "ca.crt, tls.crt, tls.key"


@click.group()
def command() -> None:
    """Certificates of the cluster's machines."""


@command.command()
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default=Role.NODE.value,
    show_default=True,
    help="What the holder is: a node's agent, or a control plane.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help=f"Folder to write {FILES} to, each readable by its owner only.",
)
@click.option("--days", type=click.IntRange(min=1), default=IDENTITY_DAYS, show_default=True)
@click.option("--renew", is_flag=True, help="Replace what is in the folder.")
@pass_session
def issue(session: Session, name: str, role: str, out: Path, days: int, *, renew: bool) -> None:
    """Issue a certificate for NAME, before it joins or when its old one expires."""
    authority = open_authority(session.state)
    write_identity(out, authority.issue(name, Role(role), days), overwrite=renew)
    if session.as_json:
        print_json({"name": name, "role": role, "folder": str(out), "days": days})
    else:
        click.echo(f"{role} {name}: certificate for {days} days in {out} ({FILES})")


def open_authority(state: Path) -> CertificateAuthority:
    try:
        return CertificateAuthority.open(state / PKI)
    except NotFound as error:
        raise no_cluster(state, error) from None


def ensure_identity(authority: CertificateAuthority, name: str, role: Role, folder: Path) -> bool:
    """Whether it had to be made. What is there and good is kept, so that this can be repeated."""
    try:
        write_identity(folder, authority.issue(name, role))
    except AlreadyExists:
        _check_identity(authority, Holder(role, name), folder)
        return False
    return True


def _check_identity(authority: CertificateAuthority, holder: Holder, folder: Path) -> None:
    found = read_identity(folder)
    if found.ca_pem != authority.ca_pem:
        raise AlreadyExists(f"{folder}: holds a certificate of another cluster; name another folder")
    if holder_of(found.certificate_pem) != holder:
        raise AlreadyExists(
            f"{folder}: holds the certificate of {holder_of(found.certificate_pem)}, not of {holder}"
        )
