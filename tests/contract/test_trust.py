"""Who is let in, and what those are told who are not."""

import socket
from pathlib import Path

import grpc
import pytest

from replication.clock import SystemClock
from replication.errors import FailedPrecondition, InvalidRequest, TimedOut, Unauthenticated, Unavailable
from replication.model import Node, PrepareSpec
from replication.pki import CertificateAuthority, Identity, Role
from replication.rpc.client import NodeClient
from replication.rpc.server import serve_node
from replication.rpc.tls import bind, new_server
from replication.rpc.v1 import node_pb2 as pb
from replication.rpc.v1.node_pb2_grpc import NodeStub
from tests.contract.conftest import ConnectAs
from tests.contract.pretender import FACTS, Pretender


class Yesterday(SystemClock):
    """Three days ago, rather."""

    def wall(self) -> float:
        return super().wall() - 3 * 86400


@pytest.fixture
def old(tmp_path: Path) -> CertificateAuthority:
    return CertificateAuthority.create(tmp_path / "old", "red", clock=Yesterday())


def test_a_client_of_another_cluster_is_refused(connect_as: ConnectAs, tmp_path: Path) -> None:
    blue = CertificateAuthority.create(tmp_path / "blue", "blue")
    client = connect_as(blue.issue("main", Role.CONTROL))
    with pytest.raises(
        Unauthenticated, match=r"node a at 127\.0\.0\.1:\d+ is of another cluster, red, not of blue"
    ):
        client.describe()


def test_a_server_does_not_take_a_certificate_of_another_cluster(
    node: Node, pretender: Pretender, authority: CertificateAuthority, tmp_path: Path
) -> None:
    """A client that trusts the server, with a certificate of a stranger of the same names."""
    stranger = CertificateAuthority.create(tmp_path / "twin", "red").issue("main", Role.CONTROL)
    mixed = Identity(authority.ca_pem, stranger.certificate_pem, stranger.key_pem)
    with (
        NodeClient(node, mixed) as client,
        pytest.raises(Unauthenticated, match="was not signed by the authority beside it"),
    ):
        client.describe()
    assert pretender.calls == []


def test_an_expired_client_is_refused_and_told_so(pretender: Pretender, old: CertificateAuthority) -> None:
    server = serve_node(pretender, "127.0.0.1:0", old.issue("a", Role.NODE, days=30))
    node = Node("a", f"127.0.0.1:{server.port}", "")
    with (
        NodeClient(node, old.issue("main", Role.CONTROL, days=2)) as client,
        pytest.raises(Unauthenticated, match=r"certificate of control:main expired at .*; issue a new one"),
    ):
        client.describe()
    server.stop(0)
    assert pretender.calls == []


def test_an_expired_node_does_not_start_to_serve(pretender: Pretender, old: CertificateAuthority) -> None:
    with pytest.raises(Unauthenticated, match="certificate of node:a expired"):
        serve_node(pretender, "127.0.0.1:0", old.issue("a", Role.NODE, days=2))


def test_a_node_that_expired_while_it_serves_is_refused(old: CertificateAuthority) -> None:
    server = new_server()
    port = bind(server, "tls://127.0.0.1:0", old.issue("a", Role.NODE, days=2))
    server.start()
    with (
        NodeClient(Node("a", f"127.0.0.1:{port}", ""), old.issue("main", Role.CONTROL)) as client,
        pytest.raises(Unauthenticated, match=r"node a at .* certificate has expired"),
    ):
        client.describe()
    server.stop(0).wait()


def test_where_another_node_has_the_address_a_node_does_not_answer(
    node: Node, control: Identity, pretender: Pretender
) -> None:
    """As after its machine was given back: a node that cannot be asked is fenced, and can be removed."""
    with (
        NodeClient(Node("b", node.address, ""), control) as client,
        pytest.raises(Unavailable, match=r"node b at .* does not answer, another machine of this cluster"),
    ):
        client.describe()
    assert pretender.calls == []


def test_a_client_without_a_certificate_is_refused(
    node: Node, authority: CertificateAuthority, pretender: Pretender
) -> None:
    name = (("grpc.ssl_target_name_override", "a.node.trilith"),)
    credentials = grpc.ssl_channel_credentials(authority.ca_pem)
    with (
        grpc.secure_channel(node.address, credentials, options=name) as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        NodeStub(channel).Describe(pb.DescribeRequest(), timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert pretender.calls == []


def test_the_node_itself_may_not_prepare_a_replica(
    connect_as: ConnectAs, authority: CertificateAuthority, pretender: Pretender
) -> None:
    client = connect_as(authority.issue("a", Role.NODE))
    assert client.describe() == FACTS
    with pytest.raises(
        Unauthenticated, match="node:a may not call PrepareReplica: only the control plane may"
    ):
        client.prepare_replica(PrepareSpec("v1", "r0", 1, 1, None))
    with pytest.raises(Unauthenticated, match="node:a may not call Watch"):
        next(client.watch())
    assert pretender.calls == [("describe", None)]


def test_another_node_may_not_even_look(connect_as: ConnectAs, authority: CertificateAuthority) -> None:
    with pytest.raises(Unauthenticated, match="node:b may not call node:a"):
        connect_as(authority.issue("b", Role.NODE)).describe()


def test_a_listener_that_never_shakes_hands_is_unavailable(control: Identity) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        node = Node("a", f"127.0.0.1:{mute.getsockname()[1]}", "")
        with NodeClient(node, control) as client, pytest.raises(TimedOut, match="node a at"):
            client.with_deadline(0.5).describe()


def test_a_port_that_is_taken_is_named(node: Node, authority: CertificateAuthority) -> None:
    with pytest.raises(FailedPrecondition, match=f"cannot listen on {node.address}"):
        serve_node(Pretender(), node.address, authority.issue("a", Role.NODE))


@pytest.mark.parametrize("endpoint", ["", "127.0.0.1", "unix:///run/x.sock", "http://127.0.0.1:1"])
def test_an_endpoint_that_is_no_address_is_refused(control: Identity, endpoint: str) -> None:
    with pytest.raises(InvalidRequest, match="not an address to listen on"):
        bind(new_server(), endpoint, control)
