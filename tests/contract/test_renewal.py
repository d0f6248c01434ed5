"""Certificates are renewed while both ends go on: new connections show the new one, old ones stay."""

import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from replication.errors import NotFound, Unauthenticated, Unavailable
from replication.model import Node
from replication.pki import CertificateAuthority, Identity, Role
from replication.rpc.client import NodeClient
from replication.rpc.server import Server, serve_node
from tests.contract.pretender import ARRAY, FACTS, Pretender
from tests.contract.test_trust import Yesterday

LATER = replace(ARRAY, record_version=8)


class Renewed:
    """A source that gives what it was told last."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity

    def __call__(self) -> Identity:
        return self.identity


@pytest.fixture
def source(authority: CertificateAuthority) -> Renewed:
    return Renewed(authority.issue("a", Role.NODE))


@pytest.fixture
def server(pretender: Pretender, source: Renewed) -> Iterator[Server]:
    server = serve_node(pretender, "127.0.0.1:0", source)
    yield server
    server.stop(0)


def shown_by(server: Server) -> str:
    return ssl.get_server_certificate(("127.0.0.1", server.port), timeout=5)


def test_a_server_shows_its_renewed_certificate_without_being_bound_anew(
    server: Server, source: Renewed, authority: CertificateAuthority
) -> None:
    assert shown_by(server).encode() == source().certificate_pem
    before = source.identity
    source.identity = authority.issue("a", Role.NODE)
    assert shown_by(server).encode() == source().certificate_pem != before.certificate_pem


def test_a_connection_outlives_the_certificate_that_it_was_made_with(
    source: Renewed, authority: CertificateAuthority, pretender: Pretender, node: Node
) -> None:
    control = Renewed(authority.issue("main", Role.CONTROL))
    with NodeClient(node, control) as client:
        stream = client.watch()
        assert next(stream) == ARRAY
        source.identity = authority.issue("a", Role.NODE)
        control.identity = authority.issue("main", Role.CONTROL)
        assert client.describe() == FACTS
        pretender.listeners.get().put(LATER)
        assert next(stream) == LATER


def test_a_client_keeps_no_more_than_one_connection_of_before(
    authority: CertificateAuthority, node: Node
) -> None:
    control = Renewed(authority.issue("main", Role.CONTROL))
    with NodeClient(node, control) as client:
        stream = client.watch()
        assert next(stream) == ARRAY
        for _ in range(2):
            control.identity = authority.issue("main", Role.CONTROL)
            assert client.describe() == FACTS
        with pytest.raises(Unavailable):
            next(stream)


def test_a_node_that_does_not_know_a_new_authority_yet_is_asked_by_the_connection_of_before(
    source: Renewed, authority: CertificateAuthority, pretender: Pretender, node: Node
) -> None:
    """It learns of it within minutes. Until then volumes are attached and failures recorded all the same."""
    new, control = CertificateAuthority.make("red"), Renewed(authority.issue("main", Role.CONTROL))
    with NodeClient(node, control) as client:
        assert client.describe() == FACTS
        control.identity = new.issue("main", Role.CONTROL)
        assert client.describe() == FACTS
        pretender.error = NotFound("no such volume")
        with pytest.raises(NotFound):
            client.detach("v1", 1)
        pretender.error = None
        source.identity = new.issue("a", Role.NODE)
        with NodeClient(node, control) as another:
            assert another.describe() == FACTS


def test_a_client_that_was_refused_goes_on_once_it_is_renewed(pretender: Pretender, tmp_path: Path) -> None:
    old = CertificateAuthority.create(tmp_path / "old", "red", clock=Yesterday())
    server = serve_node(pretender, "127.0.0.1:0", old.issue("a", Role.NODE, days=30))
    control = Renewed(old.issue("main", Role.CONTROL, days=2))
    with NodeClient(Node("a", f"127.0.0.1:{server.port}", ""), control) as client:
        with pytest.raises(Unauthenticated, match="expired"):
            client.describe()
        control.identity = CertificateAuthority.open(tmp_path / "old").issue("main", Role.CONTROL)
        assert client.describe() == FACTS
    server.stop(0)


def test_a_source_that_fails_leaves_the_server_what_it_has(
    pretender: Pretender, authority: CertificateAuthority
) -> None:
    identity, failing = authority.issue("a", Role.NODE), threading.Event()

    def read() -> Identity:
        if failing.is_set():
            raise Unauthenticated("the folder is gone")
        return identity

    server = serve_node(pretender, "127.0.0.1:0", read)
    failing.set()
    assert shown_by(server).encode() == identity.certificate_pem
    server.stop(0)
