"""Requests of any shape, and the plugin's services as the server would call them, without a network."""

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, NoReturn, cast

import grpc
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

from csi.calls import Calls
from csi.errors import to_status
from csi.v1 import csi_pb2
from replication.rpc.edge import Edge, admit_everybody

SERVICES = {name: csi_pb2.DESCRIPTOR.services_by_name[name] for name in ("Identity", "Controller", "Node")}
METHODS = {method.name: method for service in SERVICES.values() for method in service.methods}

WORDS = (
    "", "pvc-1", "pvc-2", "m1", "m2", "m9", "nvme", "1", "3", "5", "0", "-1", "true", "basic", "premium",
    "ext4", "xfs", "zfs", "500", "64Mi", "/staging", "/target", "/a/../b", "relative", "../../etc/passwd",
    "a b", "a\0b", "\x1b[31m", "\u202e", "ü" * 64, "x" * 128, "x" * 300, "%s%n{0}",
    "'; DROP TABLE volumes; --", "cluster",
    "noatime", "bind", "1000", "v0123456789abcdef", "invalid-token",
)  # fmt: skip
KEYS = (
    "pool", "replicas", "tier", "readIOPS", "writeBandwidth", "hyperconverged", "spread", "minInSyncReplicas",
    "csi.storage.k8s.io/fstype", "csi.storage.k8s.io/pvc/name", "topology.trilith.io/node", "readonly",
    "device",
    "topology.trilith.io/cluster", "topology.kubernetes.io/zone", "filesystem", "foo", "",
)  # fmt: skip
NUMBERS = (0, 1, -1, 4 << 20, (4 << 20) + 1, 256 << 20, 1 << 30, 1 << 40, 1 << 62, (1 << 63) - 1, -(1 << 63))
SMALL = (0, 1, 2, -1, 7, (1 << 31) - 1, -(1 << 31))


class Aborted(Exception):  # noqa: N818 - as gRPC's own
    """The call has ended with a status."""


class Context(SimpleNamespace):
    """As much of a ServicerContext as interceptors use."""

    code: grpc.StatusCode = grpc.StatusCode.OK
    details: str = ""

    def set_trailing_metadata(self, metadata: object) -> None:
        """Nobody looks at it."""

    set_code = set_details = set_trailing_metadata

    def add_callback(self, callback: Callable[[], None]) -> bool:
        return True

    def time_remaining(self) -> float:
        return 60.0

    def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        self.code, self.details = code, details
        raise Aborted


class Plugin:
    """`call` gives what a caller would see: a status, its details, and the answer if there is one."""

    def __init__(self, *register: Callable[[grpc.Server], None]) -> None:
        self._handlers: dict[str, grpc.RpcMethodHandler] = {}
        self._edge, self._calls = Edge(admit_everybody, to_status), Calls()
        for each in register:
            each(cast("grpc.Server", self))

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """What comes by name below is the same."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        self._handlers |= handlers

    def call(self, method: str, request: Message) -> tuple[grpc.StatusCode, str, Any]:
        details = cast("grpc.HandlerCallDetails", SimpleNamespace(method=f"/csi.v1/{method}"))
        inner = lambda _: self._calls.intercept_service(lambda _: self._handlers[method], details)  # noqa: E731
        handler = self._edge.intercept_service(inner, details)
        assert handler is not None
        context = Context()
        try:
            answer = handler.unary_unary(request, context)
        except Aborted:
            return context.code, context.details, None
        return grpc.StatusCode.OK, "", answer


@st.composite
def requests(draw: st.DrawFn, method: str, known: Mapping[str, tuple[Any, ...]]) -> Message:
    """Of any shape; a field in `known` mostly has one of those values, so that some requests get far."""
    return _message(draw, METHODS[method].input_type, known)


def _message(
    draw: st.DrawFn, kind: Descriptor, known: Mapping[str, tuple[Any, ...]], depth: int = 0
) -> Message:
    message = GetMessageClass(kind)()
    for field in kind.fields:
        if draw(st.integers(0, 3)) or (field.name in known and draw(st.booleans())):
            _fill(draw, message, field, known, depth)
    return message


def _fill(
    draw: st.DrawFn,
    message: Message,
    field: FieldDescriptor,
    known: Mapping[str, tuple[Any, ...]],
    depth: int,
) -> None:
    if depth > 3:
        return
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        pairs = draw(st.dictionaries(st.sampled_from(KEYS), st.sampled_from(WORDS), max_size=3))
        extra = draw(st.sampled_from(known.get(field.name, ({},))))
        getattr(message, field.name).update(pairs if draw(st.booleans()) else extra)
    elif kind is not None and field.is_repeated:
        for _ in range(draw(st.integers(0, 2))):
            getattr(message, field.name).append(_message(draw, kind, known, depth + 1))
    elif kind is not None:
        getattr(message, field.name).CopyFrom(_message(draw, kind, known, depth + 1))
    elif field.is_repeated:
        getattr(message, field.name).extend(draw(st.lists(_scalar(field, known), max_size=3)))
    else:
        setattr(message, field.name, draw(_scalar(field, known)))


def _scalar(field: FieldDescriptor, known: Mapping[str, tuple[Any, ...]]) -> st.SearchStrategy[Any]:
    if field.name in known:
        return st.sampled_from(known[field.name]) | _any_scalar(field)
    return _any_scalar(field)


def _any_scalar(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.type == FieldDescriptor.TYPE_STRING:
        return st.sampled_from(WORDS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return st.booleans()
    if field.type == FieldDescriptor.TYPE_INT64:
        return st.sampled_from(NUMBERS)
    return st.sampled_from(SMALL)  # 32 bits, enumerations among them
