"""The API server, asked: JSON there and back, its refusals as our errors.

Threads share a client; each request borrows a connection. Nothing is repeated here: whoever asks knows if
a request may be made twice, and Unavailable leaves open whether it was done.
"""

import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from urllib.parse import urlencode

import urllib3
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError

from replication.errors import (
    AlreadyExists,
    Conflict,
    InvalidRequest,
    NotFound,
    OutOfSpace,
    TrilithError,
    Unavailable,
)
from replication.kubernetes.access import Access, Json

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 10.0
CONNECTIONS = 48  # kept open; a controller has some twenty watches
MANAGER = "trilith"
_PATCH = "application/json-patch+json"
_APPLY = "application/apply-patch+yaml"  # JSON is YAML
_JSON = "application/json"
_KEEPALIVE = (
    *HTTPConnection.default_socket_options,
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)
"""A watch is silent for a minute at a time: without these a server that lost power would go unnoticed."""


class Refused(Unavailable):
    """The server answers, and will not do this: other requests may well succeed, and this one later."""


_MEANINGS: dict[int, type[TrilithError]] = {
    400: InvalidRequest,
    403: Refused,
    404: NotFound,
    413: InvalidRequest,
    422: InvalidRequest,
    500: Refused,  # as when a webhook that is to be asked does not answer
}
"""All else may pass: a server that has just started does not know yet who may do what (401, 403)."""


class Forgotten(Unavailable):
    """The server does not remember what happened since: list anew."""


class Client:
    """One API server, as one user."""

    def __init__(self, access: Access, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._access = access
        self._timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=answer_seconds)
        tls = {"ssl_context": access.trust} if access.trust is not None else {}
        self._pool = urllib3.connection_from_url(
            access.server,
            maxsize=CONNECTIONS,
            retries=False,
            socket_options=_KEEPALIVE,
            **tls,
        )

    def get(self, path: str, **query: str) -> Json:
        return self._ask("GET", path, query=query)

    def create(self, path: str, new: Json) -> Json:
        """AlreadyExists when its name is taken."""
        return self._ask("POST", path, new)

    def replace(self, path: str, new: Json) -> Json:
        """Conflict unless it still has the resourceVersion that `new` has."""
        return self._ask("PUT", path, new)

    def patch(self, path: str, steps: Sequence[Mapping[str, object]]) -> Json:
        """A JSON patch (RFC 6902), all of it or nothing. InvalidRequest also when one of its tests fails."""
        return self._ask("PATCH", path, steps, content=_PATCH)

    def apply(self, path: str, wanted: Json, **more: str) -> Json:
        """Make it, or make it so, whoever wrote it last. `more` is for the query, as dryRun="All"."""
        query = {"fieldManager": MANAGER, "force": "true", **more}
        return self._ask("PATCH", path, wanted, content=_APPLY, query=query)

    def delete(self, path: str, *, grace_seconds: int | None = None, **preconditions: str) -> Json:
        """Of a certain `uid` or `resourceVersion` only, else Conflict. NotFound when it is gone.

        A pod that is given 0 seconds is gone at once, whatever its node still does.
        """
        options: Json = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": preconditions}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        return self._ask("DELETE", path, options)

    @contextmanager
    def stream(self, path: str, silence_seconds: float, **query: str) -> Iterator["Stream"]:
        """Objects as the server sends them. Unavailable after `silence_seconds` without a word."""
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=silence_seconds)
        with _explained(self._access.server):
            answer = self._pool.urlopen(
                "GET",
                _with_query(path, query),
                headers=self._headers(),
                timeout=timeout,
                preload_content=False,
            )
            try:
                if answer.status != 200:
                    raise _refusal(answer.status, answer.read())
                yield Stream(answer)
            finally:
                answer.close()

    def close(self) -> None:
        self._pool.close()

    def _ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content: str = _JSON,
        query: Mapping[str, str] | None = None,
    ) -> Json:
        with _explained(self._access.server):
            answer = self._pool.urlopen(
                method,
                _with_query(path, query or {}),
                body=None if body is None else json.dumps(body),
                headers=self._headers(content),
                timeout=self._timeout,
            )
            if answer.status >= 300:
                raise _refusal(answer.status, answer.data)
            found: Json = json.loads(answer.data)
            return found

    def _headers(self, content: str = _JSON) -> dict[str, str]:
        headers = {"Accept": _JSON, "Content-Type": content, "User-Agent": MANAGER}
        if self._access.read_token is not None:
            headers["Authorization"] = f"Bearer {self._access.read_token().strip()}"
        return headers


class Stream:
    """Lines of one answer that does not end."""

    def __init__(self, answer: urllib3.BaseHTTPResponse) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[Json]:
        rest = b""
        for chunk in self._answer.stream():
            *lines, rest = (rest + chunk).split(b"\n")
            yield from map(json.loads, filter(None, lines))

    def shut(self) -> None:
        """From another thread: whoever reads it is told that it is over."""
        with suppress(ValueError, OSError):  # it is over already
            self._answer.shutdown()


def _with_query(path: str, query: Mapping[str, str]) -> str:
    return f"{path}?{urlencode(query)}" if query else path


@contextmanager
def _explained(server: str) -> Iterator[None]:
    try:
        yield
    except HTTPError as error:
        raise Unavailable(f"Kubernetes API server {server} does not answer: {error}") from error
    except (OSError, ValueError) as error:  # a token that cannot be read, an answer that is no JSON
        raise Unavailable(f"Kubernetes API server {server} cannot be asked: {error}") from error


def _refusal(status: int, body: bytes) -> TrilithError:
    message, reason = _read_status(body)
    text = f"Kubernetes: {message or body.decode(errors='replace')[:200]} ({status})"
    if "database space exceeded" in message:
        return OutOfSpace(f"{text}: etcd is full")
    if status == 409:
        return AlreadyExists(text) if reason == "AlreadyExists" else Conflict(text)
    if status == 410:
        return Forgotten(text)
    return _MEANINGS.get(status, Unavailable)(text)


def _read_status(body: bytes) -> tuple[str, str]:
    """Message and reason of a metav1.Status; empty when it is none."""
    try:
        status = json.loads(body)
        return str(status.get("message", "")), str(status.get("reason", ""))
    except (ValueError, AttributeError):
        return "", ""


def raise_status(status: Json) -> None:
    """What a watch says instead of an event."""
    raise _refusal(int(status.get("code", 500)), json.dumps(status).encode())
