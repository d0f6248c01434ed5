"""The contract between control and node as it was, compiled from the text of that time.

What passes a `Contract` loses whatever that time did not know: fields are dropped, calls are not there.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, ServiceDescriptor
from google.protobuf.message import Message

from replication.identities import current
from replication.kernel.run import run
from replication.model import Node
from replication.pki import Identity, holder_of
from replication.rpc.contract import NodeApi
from replication.rpc.edge import Edge
from replication.rpc.server import Server, admit
from replication.rpc.service import NodeService
from replication.rpc.tls import bind, get_caller, new_server
from replication.rpc.v1.node_pb2_grpc import add_NodeServicer_to_server
from replication.rpc.wire import Wire

FIRST = Path(__file__).parents[1] / "data" / "contract" / "first.proto"
"""proto/node.proto of the first commit. Whoever breaks with it changes what a rolling upgrade needs."""


class Contract:
    """One version of it."""

    def __init__(self, source: Path, scratch: Path) -> None:
        self.service = _compile(source, scratch)

    def knows(self, method: str) -> bool:
        return method in self.service.methods_by_name

    def ask(self, method: str, request: Message) -> Message:
        return _forget(request, self.service.methods_by_name[method].input_type)

    def answer(self, method: str, answer: Message) -> Message:
        return _forget(answer, self.service.methods_by_name[method].output_type)


def _compile(source: Path, scratch: Path) -> ServiceDescriptor:
    out = scratch / "contract.binary"
    words = [f"--proto_path={source.parent}", f"--descriptor_set_out={out}", source.name]
    run((sys.executable, "-m", "grpc_tools.protoc", *words), timeout=60)
    (file,) = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool.FindServiceByName(f"{file.package}.Node")


def _forget(message: Message, earlier: Descriptor) -> Message:
    """As it is after somebody has read it who knows only what `earlier` has."""
    read = message_factory.GetMessageClass(earlier).FromString(message.SerializeToString())
    read.DiscardUnknownFields()
    return type(message).FromString(read.SerializeToString())


class EarlierWire(Wire):
    """How a control plane of that time reaches a node. It never makes a call that it does not know."""

    def __init__(self, contract: Contract, node: Node, identity: Identity) -> None:
        self._contract = contract
        super().__init__(node, lambda: identity)

    def call(self, method: str, request: Message, timeout: float) -> Any:  # noqa: ANN401
        assert self._contract.knows(method), f"{method} was not known then"
        return self._contract.answer(
            method, super().call(method, self._contract.ask(method, request), timeout)
        )

    def open(self, method: str, request: Message) -> "Passing":
        assert self._contract.knows(method), f"{method} was not known then"
        return Passing(self._contract, method, super().open(method, self._contract.ask(method, request)))


class Passing:
    """The answers of a call that streams."""

    def __init__(self, contract: Contract, method: str, call: Any) -> None:  # noqa: ANN401
        self._contract = contract
        self._method = method
        self.cancel = call.cancel
        self._call = call

    def __next__(self) -> Message:
        return self._contract.answer(self._method, next(self._call))


class Forgetful:
    """An interceptor, which makes a server one of that time."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler | None],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler | None:
        method = details.method.rpartition("/")[2]
        handler = continuation(details)
        if handler is None or not self._contract.knows(method):
            return None
        if handler.response_streaming:
            wrapped = grpc.unary_stream_rpc_method_handler(self._wrap_stream(method, handler.unary_stream))
        else:
            wrapped = grpc.unary_unary_rpc_method_handler(self._wrap_unary(method, handler.unary_unary))
        return wrapped._replace(
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _wrap_unary(self, method: str, behaviour: Callable[..., Message]) -> Callable[..., Message]:
        def call(request: Message, context: grpc.ServicerContext) -> Message:
            return self._contract.answer(method, behaviour(self._contract.ask(method, request), context))

        return call

    def _wrap_stream(
        self, method: str, behaviour: Callable[..., Iterator[Message]]
    ) -> Callable[..., Iterator[Message]]:
        def call(request: Message, context: grpc.ServicerContext) -> Iterator[Message]:
            for each in behaviour(self._contract.ask(method, request), context):
                yield self._contract.answer(method, each)

        return call


def serve_earlier(contract: Contract, api: NodeApi, identity: Identity) -> Server:
    """An agent of that time, as serve_node makes one of today."""
    owner = holder_of(current(lambda: identity).certificate_pem)
    edge = Edge(lambda context, method: admit(get_caller(context), method, owner))
    server = new_server(edge, Forgetful(contract))
    add_NodeServicer_to_server(NodeService(api), server)
    port = bind(server, "127.0.0.1:0", lambda: identity)
    server.start()
    return Server(server, port)
