"""The gRPC servers of the plugin: on a UNIX socket that only its owner can open, or over mutual TLS."""

import os
from collections.abc import Callable
from pathlib import Path

import grpc

from csi.calls import Calls
from csi.endpoint import Endpoint, TlsEndpoint, UnixEndpoint, remove_stale_socket
from csi.errors import to_status
from replication.errors import FailedPrecondition, Unauthenticated
from replication.identities import Source, current
from replication.pki import Role, check_identity
from replication.rpc.edge import Edge, admit_everybody
from replication.rpc.tls import bind, get_caller, new_server

OWNER_ONLY = 0o177
"""The umask under which a socket is made, so that it never has more than 0600."""

CALLS = 128
"""At once on a socket, more than all sidecars have workers (the chart says how many): what attaches and
detaches, or asks whether we live, must not wait until volumes are made on nodes that do not answer."""

Register = Callable[[grpc.Server], None]


class Server:
    """A server that runs."""

    def __init__(self, server: grpc.Server, port: int) -> None:
        self._server = server
        self.port = port  # 0 on a UNIX socket

    def stop(self, grace: float) -> None:
        """Take no new calls, and return once the others have ended or `grace` seconds are over."""
        self._server.stop(grace).wait()


def serve(register: Register, endpoint: Endpoint, open_identity: Callable[[], Source]) -> Server:
    """Start to serve. FailedPrecondition when the endpoint is taken; `open_identity` is for TLS only."""
    if isinstance(endpoint, UnixEndpoint):
        return _serve_unix(register, endpoint.path)
    return _serve_tls(register, endpoint, open_identity())


def _serve_unix(register: Register, path: Path) -> Server:
    server = new_server(Edge(admit_everybody, to_status), Calls(), threads=CALLS)
    register(server)
    remove_stale_socket(path)
    before = os.umask(OWNER_ONLY)
    try:
        server.add_insecure_port(f"unix:{path}")
    except RuntimeError as error:
        raise FailedPrecondition(f"endpoint {path}: cannot listen: {error}") from None
    finally:
        os.umask(before)
    server.start()
    return Server(server, 0)


def _serve_tls(register: Register, endpoint: TlsEndpoint, source: Source) -> Server:
    check_identity(current(source))
    server = new_server(Edge(admit_control, to_status), Calls())
    register(server)
    port = bind(server, endpoint.address, source)
    server.start()
    return Server(server, port)


def admit_control(context: grpc.ServicerContext, method: str) -> None:
    """A node's certificate is good for its own agent only: it must not detach the volumes of others."""
    caller = get_caller(context)
    if caller.role is not Role.CONTROL:
        raise Unauthenticated(f"{caller} may not call {method}: only the control plane may")
