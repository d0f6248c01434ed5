"""A NodeApi, served over mutual TLS to whom its caller's certificate allows."""

import grpc

from replication.errors import Unauthenticated
from replication.identities import Source, current
from replication.pki import Holder, Role, check_identity, holder_of
from replication.rpc.contract import NodeApi
from replication.rpc.edge import Edge
from replication.rpc.service import NodeService
from replication.rpc.tls import THREADS, bind, get_caller, new_server
from replication.rpc.v1.node_pb2_grpc import add_NodeServicer_to_server

OPEN_TO_OWN_NODE = frozenset(
    {
        "Describe",
        "Stage",
        "Unstage",
        "Publish",
        "Unpublish",
        "Measure",
        "ExpandStaged",
        "ExamineVolume",
        "ExamineStorage",
    }
)
"""What the CSI node plugin needs, which has no other certificate than its machine's."""


class Server:
    """A server that runs."""

    def __init__(self, server: grpc.Server, port: int) -> None:
        self._server = server
        self.port = port

    def stop(self, grace: float) -> None:
        """Take no new calls, and return once the others have ended or `grace` seconds are over."""
        self._server.stop(grace).wait()

    def wait(self) -> None:
        """Return once it was stopped."""
        self._server.wait_for_termination()


def serve_node(api: NodeApi, listen: str, source: Source, *, threads: int = THREADS) -> Server:
    """Serve `api` on `listen`, HOST:PORT, until the server is stopped.

    Raise FailedPrecondition when the port is taken, and Unauthenticated when the identity has expired.
    """
    identity = current(source)
    check_identity(identity)
    owner = holder_of(identity.certificate_pem)
    server = new_server(
        Edge(lambda context, method: admit(get_caller(context), method, owner)), threads=threads
    )
    add_NodeServicer_to_server(NodeService(api), server)
    port = bind(server, listen, source)
    server.start()
    return Server(server, port)


def admit(caller: Holder, method: str, owner: Holder) -> None:
    """Raise Unauthenticated when `caller` may not call `method` of the node `owner`."""
    if caller.role is Role.CONTROL:
        return
    if caller != owner:
        raise Unauthenticated(
            f"{caller} may not call {owner}: only the control plane and the node itself may"
        )
    if method not in OPEN_TO_OWN_NODE:
        raise Unauthenticated(f"{caller} may not call {method}: only the control plane may")
