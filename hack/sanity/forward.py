"""A UNIX socket whose calls go to one of the site's plugins: csi-sanity has no certificate.

Every unary call is passed on as it is, bytes for bytes, with its deadline; so is the answer or the status.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import grpc

_THREADS = 16
_DEADLINE = 120.0


class Forwarder:
    """`with Forwarder(socket, channel): …`; its address for a client is `endpoint`."""

    def __init__(self, socket: Path, channel: grpc.Channel) -> None:
        self.endpoint = f"unix://{socket}"
        self._server = grpc.server(ThreadPoolExecutor(_THREADS))
        self._server.add_generic_rpc_handlers((_Everything(channel),))
        self._server.add_insecure_port(f"unix:{socket}")

    def __enter__(self) -> "Forwarder":
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop(None).wait()


class _Everything(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types of its own
    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        pass_on = self._channel.unary_unary(handler_call_details.method)

        def forward(request: bytes, context: grpc.ServicerContext) -> bytes:
            left = min(_DEADLINE, context.time_remaining() or _DEADLINE)  # hundreds of years for none
            try:
                return bytes(pass_on(request, timeout=left))
            except grpc.RpcError as error:
                context.set_code(error.code())
                context.set_details(error.details())
                return b""

        return grpc.unary_unary_rpc_method_handler(forward)
