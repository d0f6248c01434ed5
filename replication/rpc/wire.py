"""The connection to one node: calls over it, and what its failures mean."""

import threading
from collections.abc import Iterator
from typing import Any

import grpc
from google.protobuf.message import Message

from replication.errors import TrilithError, Unauthenticated, Unavailable
from replication.identities import Source, current
from replication.model import ArrayReport, Node
from replication.pki import Holder, Role, check_identity, cluster_of
from replication.rpc.convert import from_message
from replication.rpc.status import CLASS_KEY, from_rpc_error
from replication.rpc.tls import find_foreign_cluster, secure_channel
from replication.rpc.v1 import node_pb2 as pb
from replication.rpc.v1.node_pb2_grpc import NodeStub


class Wire:
    """A channel that knows whom it leads to; a new one for each identity that `source` gives."""

    def __init__(self, node: Node, source: Source) -> None:
        self.peer = f"node {node.name} at {node.address}"
        self._node = node
        self._source = source
        self._lock = threading.Lock()
        self._channels: list[grpc.Channel] = []
        self._before: NodeStub | None = None
        self._connect()
        self._closed = False

    def call(self, method: str, request: Message, timeout: float) -> Any:  # noqa: ANN401  by the method
        """Raise what the server raised, or Unavailable, TimedOut or Unauthenticated.

        A node that does not know a new authority yet refuses our new identity, before it has heard anything:
        until it does, it is asked by the connection of before.
        """
        try:
            return self._start(method, request, timeout)
        except grpc.RpcError as error:
            found, before = self.explain(error), self._before
            if before is None or _is_from_server(error) or not isinstance(found, Unauthenticated):
                raise found from None
        try:
            return getattr(before, method)(request, timeout=timeout)
        except grpc.RpcError as error:
            raise self.explain(error) from None
        except ValueError:  # closed meanwhile
            raise found from None

    def open(self, method: str, request: Message) -> Any:  # noqa: ANN401  gRPC carries no types
        """Start a call that streams, without a deadline."""
        return self._start(method, request, None)

    def close(self) -> None:
        self._closed = True
        with self._lock:
            for channel in self._channels:
                channel.close()

    def explain(self, error: grpc.RpcError) -> TrilithError:
        """What `error` was, told by the server itself or by looking at both ends' certificates."""
        found = from_rpc_error(error, self.peer)
        if _is_from_server(error) or not isinstance(found, Unavailable | Unauthenticated):
            return found
        return self._find_own_fault() or self._find_foreign_cluster(found) or found

    def _start(self, method: str, request: Message, timeout: float | None) -> Any:  # noqa: ANN401
        try:
            return getattr(self._find_stub(), method)(request, timeout=timeout)
        except ValueError:  # what gRPC raises for a channel that was closed
            if not self._closed:
                raise
            raise Unavailable(f"{self.peer}: the connection was closed on this side") from None

    def _find_stub(self) -> NodeStub:
        """Of a channel that shows our newest identity."""
        with self._lock:
            if not self._closed and current(self._source) != self._identity:
                self._connect()
            return self._stub

    def _connect(self) -> None:
        """The one before stays for what is under way in it; the one before that has had days to end."""
        self._identity = current(self._source)
        holder = Holder(Role.NODE, self._node.name)
        self._before = NodeStub(self._channels[-1]) if self._channels else None
        self._channels.append(secure_channel(self._node.address, holder, self._identity))
        self._stub = NodeStub(self._channels[-1])
        while len(self._channels) > 2:
            self._channels.pop(0).close()

    def _find_own_fault(self) -> TrilithError | None:
        """A server that refuses our certificate just hangs up: only we can say why."""
        try:
            check_identity(self._identity)
        except Unauthenticated as error:
            return error
        return None

    def _find_foreign_cluster(self, found: TrilithError) -> TrilithError | None:
        if not isinstance(found, Unauthenticated):
            return None
        theirs = find_foreign_cluster(self._node.address, self._identity)
        if theirs is None:
            return None
        ours = cluster_of(self._identity.certificate_pem)
        return Unauthenticated(f"{self.peer} is of another cluster, {theirs}, not of {ours}")


class Stream:
    """Reports of a node, as contract.Reports has them."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._call = wire.open("Watch", pb.WatchRequest())
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[ArrayReport]:
        return self

    def __next__(self) -> ArrayReport:
        try:
            return from_message(next(self._call), ArrayReport)
        except StopIteration:
            broken: TrilithError = Unavailable(f"{self._wire.peer} ended the stream of reports")
        except grpc.RpcError as error:
            broken = self._wire.explain(error)
        if self._closed.is_set():
            raise StopIteration
        raise broken

    def close(self) -> None:
        self._closed.set()
        self._call.cancel()


def _is_from_server(error: grpc.RpcError) -> bool:
    return CLASS_KEY in dict(error.trailing_metadata() or ())
