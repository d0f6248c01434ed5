"""A server's outermost frame: who may call what, and what becomes of an error."""

import logging
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import grpc

from replication.errors import TrilithError
from replication.rpc.status import Status, shorten, to_status

log = logging.getLogger(__name__)

Admit = Callable[[grpc.ServicerContext, str], None]
"""Raises when the caller of `context` may not call the method of this name."""

Behaviour = Callable[[Any, grpc.ServicerContext], Any]


def admit_everybody(context: grpc.ServicerContext, method: str) -> None:
    """For sockets that only root can open."""


class Edge:
    """An interceptor. The only place that catches every exception and logs a traceback."""

    def __init__(
        self, admit: Admit = admit_everybody, to_status: Callable[[TrilithError], Status] = to_status
    ) -> None:
        self._admit = admit
        self._to_status = to_status

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler | None],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler | None:
        handler = continuation(details)
        if handler is None:
            return None
        method = details.method.rpartition("/")[2]
        wrap, new, behaviour = (
            (self._wrap_stream, grpc.unary_stream_rpc_method_handler, handler.unary_stream)
            if handler.response_streaming
            else (self._wrap_unary, grpc.unary_unary_rpc_method_handler, handler.unary_unary)
        )
        return new(wrap(method, behaviour), handler.request_deserializer, handler.response_serializer)

    def _wrap_unary(self, method: str, behaviour: Behaviour) -> Behaviour:
        def call(request: object, context: grpc.ServicerContext) -> object:
            log.debug("%s", method)
            try:
                self._admit(context, method)
                return behaviour(request, context)
            except Exception as error:  # noqa: BLE001  the outermost frame
                status = self._judge(error, method)
            _abort(context, status)

        return call

    def _wrap_stream(self, method: str, behaviour: Behaviour) -> Behaviour:
        def call(request: object, context: grpc.ServicerContext) -> Iterator[object]:
            try:
                self._admit(context, method)
                yield from behaviour(request, context)
            except Exception as error:  # noqa: BLE001  the outermost frame
                status = self._judge(error, method)
            else:
                return
            _abort(context, status)

        return call

    def _judge(self, error: Exception, method: str) -> Status:
        if isinstance(error, TrilithError):
            return self._to_status(error)
        log.error("%s failed in a way that nobody foresaw", method, exc_info=error)
        said = shorten(f"{method}: {type(error).__name__}: {error} (the traceback is in the server's log)")
        return Status(grpc.StatusCode.INTERNAL, said)


def _abort(context: grpc.ServicerContext, status: Status) -> NoReturn:
    """Outside of any handler of exceptions: `abort` raises one, to end the call."""
    context.set_trailing_metadata(status.metadata)
    context.abort(status.code, status.details)
    raise AssertionError("grpc's abort has returned")
