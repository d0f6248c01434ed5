"""Plain HTTP for Prometheus and for kubelet: /metrics, /healthz, /readyz. Nothing of it is secret.

Whoever reaches the port may ask: so there are at most so many connections, and none is idle for long.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.registry import Collector

from csi.connections import Bounded
from replication.errors import InvalidRequest

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Check = Callable[[], str]
"""Why not; empty when all is well."""

TEXT = [("Content-Type", "text/plain; charset=utf-8")]
LOOK = 0.5
CONNECTIONS = 32
IDLE_SECONDS = 5.0

logger = logging.getLogger(__name__)


class Web:
    """A server at HOST:PORT, which listens from when it is made."""

    def __init__(
        self, address: tuple[str, int], collectors: Iterable[Collector], find_trouble: Check
    ) -> None:
        """`find_trouble` decides /readyz. InvalidRequest where nobody can listen."""
        registry = CollectorRegistry()
        for collector in collectors:
            registry.register(collector)
        app = _route(make_wsgi_app(registry), find_trouble)
        try:
            self._server = make_server(*address, app, server_class=_Server, handler_class=_Handler)
        except OSError as error:
            host, port = address
            raise InvalidRequest(f"{host}:{port}: cannot be listened at: {error.strerror}") from error
        self.port = self._server.server_port

    def run(self, stop: threading.Event) -> None:
        serving = threading.Thread(target=self._server.serve_forever, args=(LOOK,), name="web", daemon=True)
        serving.start()
        stop.wait()
        self._server.shutdown()
        self._server.server_close()


class _Server(Bounded, WSGIServer):
    connections = CONNECTIONS


class _Handler(WSGIRequestHandler):
    timeout = IDLE_SECONDS

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its base's name)
        logger.debug(format, *args)


def _route(metrics: "WSGIApplication", find_trouble: Check) -> "WSGIApplication":
    def app(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/metrics":
                return metrics(environ, start_response)
            case "/healthz":
                return _say(start_response, "")
            case "/readyz":
                return _say(start_response, find_trouble())
        start_response("404 Not Found", TEXT)
        return [b"there are /metrics, /healthz and /readyz\n"]

    return app


def _say(start_response: "StartResponse", trouble: str) -> Iterable[bytes]:
    start_response("503 Service Unavailable" if trouble else "200 OK", TEXT)
    return [f"{trouble or 'ok'}\n".encode()]
