"""A node `a` of cluster `red`, served over mutual TLS on this machine, and clients of it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from replication.model import Node
from replication.pki import CertificateAuthority, Identity, Role
from replication.rpc.client import NodeClient
from replication.rpc.server import Server, serve_node
from tests.contract.pretender import Pretender

ConnectAs = Callable[[Identity], NodeClient]


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority.create(tmp_path_factory.mktemp("pki"), "red")


@pytest.fixture
def control(authority: CertificateAuthority) -> Identity:
    return authority.issue("main", Role.CONTROL)


@pytest.fixture
def pretender() -> Pretender:
    return Pretender()


@pytest.fixture
def server(pretender: Pretender, authority: CertificateAuthority) -> Iterator[Server]:
    server = serve_node(pretender, "127.0.0.1:0", authority.issue("a", Role.NODE))
    yield server
    server.stop(0)


@pytest.fixture
def node(server: Server) -> Node:
    return Node("a", f"127.0.0.1:{server.port}", "127.0.0.1")


@pytest.fixture
def connect_as(node: Node) -> Iterator[ConnectAs]:
    with ExitStack() as clients:
        yield lambda identity: clients.enter_context(NodeClient(node, identity))


@pytest.fixture
def client(connect_as: ConnectAs, control: Identity) -> NodeClient:
    return connect_as(control)
