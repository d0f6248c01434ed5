"""One line in the log for every call; and calls that nobody implements are refused as such.

Of a request only the volume's id or name is logged: mount flags and secrets may be sensitive.
"""

import logging
import time
from collections.abc import Callable

import grpc
from google.protobuf.message import Message

from csi.errors import Unimplemented, to_status
from csi.operations import JOINED, Operations
from replication.errors import TrilithError

log = logging.getLogger(__name__)

QUIET = ("Probe", "GetPluginInfo", "GetPluginCapabilities")
"""Asked for every few seconds by whoever watches over the plugin."""

Serve = Callable[[Message, grpc.ServicerContext], object]


class Calls:
    """An interceptor, to be put inside replication.rpc.edge.Edge, which turns errors into statuses."""

    def __init__(self) -> None:
        self._operations = Operations()

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler | None],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler | None:
        handler = continuation(details)
        if handler is None:
            return None
        method = details.method.rpartition("/")[2]
        return grpc.unary_unary_rpc_method_handler(
            _wrap(method, self._join(method, handler.unary_unary)),
            handler.request_deserializer,
            handler.response_serializer,
        )

    def _join(self, method: str, serve: Serve) -> Serve:
        if method not in JOINED:
            return serve

        def joined(request: Message, context: grpc.ServicerContext) -> object:
            return self._operations.run(method, request, context, lambda: serve(request, context))

        return joined


def _wrap(method: str, serve: Serve) -> Serve:
    def call(request: Message, context: grpc.ServicerContext) -> object:
        began = time.monotonic()
        outcome = "unexpected error"
        try:
            response = _serve(method, serve, request, context)
            outcome = "OK"
        except TrilithError as error:
            outcome = f"{to_status(error).code.name}: {error}"
            raise
        finally:
            _log(method, request, outcome, time.monotonic() - began)
        return response

    return call


def _serve(method: str, serve: Serve, request: Message, context: grpc.ServicerContext) -> object:
    """The generated base class raises NotImplementedError for what is not overridden."""
    try:
        return serve(request, context)
    except NotImplementedError:
        raise Unimplemented(f"{method}: not implemented by this plugin") from None


def _log(method: str, request: Message, outcome: str, seconds: float) -> None:
    what = getattr(request, "volume_id", "") or getattr(request, "name", "")
    level = logging.DEBUG if method in QUIET and outcome == "OK" else logging.INFO
    log.log(level, "%s %s in %.3f s: %s", method, what, seconds, outcome)
