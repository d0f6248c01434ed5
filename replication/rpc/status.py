"""Errors to gRPC statuses, once, at the server's edge, and back to the same errors in the client.

The class's name travels in the trailing metadata, because several classes share a status code.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import grpc

from replication.errors import (
    AlreadyExists,
    Conflict,
    DataLoss,
    FailedPrecondition,
    InvalidRequest,
    KernelError,
    NotFound,
    OutOfRange,
    OutOfSpace,
    TimedOut,
    TrilithError,
    Unauthenticated,
    Unavailable,
    Unsupported,
)

CLASS_KEY = "trilith-error"

MESSAGE_BYTES = 2000
"""A message travels in a header, percent-encoded to at most thrice its size; gRPC takes 8 KiB of headers."""

CODES: dict[type, grpc.StatusCode] = {
    InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
    AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    OutOfSpace: grpc.StatusCode.RESOURCE_EXHAUSTED,
    OutOfRange: grpc.StatusCode.OUT_OF_RANGE,
    Conflict: grpc.StatusCode.ABORTED,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
    TimedOut: grpc.StatusCode.DEADLINE_EXCEEDED,
    Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    DataLoss: grpc.StatusCode.DATA_LOSS,
    KernelError: grpc.StatusCode.INTERNAL,
    TrilithError: grpc.StatusCode.UNKNOWN,
}

HANDSHAKE_WORDS = ("handshake failed", "certificate_verify_failed")
"""What gRPC 1.85 writes into the details of UNAVAILABLE when TLS failed; there is no code for it."""

OTHERS_WORDS = ("hostname verification", "peer name")
"""What it writes when somebody has shown a certificate of our authority, and it is another's."""


@dataclass(frozen=True, slots=True)
class Status:
    """What ends a call. A `code` is one of grpc.StatusCode."""

    code: grpc.StatusCode
    details: str
    metadata: tuple[tuple[str, str], ...] = ()


def to_status(error: TrilithError) -> Status:
    code = next(CODES[cls] for cls in type(error).__mro__ if cls in CODES)
    name = next(cls.__name__ for cls in type(error).__mro__ if _takes_a_message(cls))
    return Status(code, shorten(str(error)), ((CLASS_KEY, name),))


def from_rpc_error(error: grpc.RpcError, peer: str) -> TrilithError:
    """The error that the server raised, with its message; or what became of the transport, naming `peer`."""
    metadata = dict(error.trailing_metadata() or ())
    details = error.details() or "no details"
    if CLASS_KEY in metadata:
        return _find_class(metadata[CLASS_KEY], error.code())(details)
    return _from_transport(error.code(), details, peer)


def shorten(text: str) -> str:
    """Keep both ends of a long text: what was done is at its beginning, what came of it at its end."""
    encoded = text.encode(errors="backslashreplace")  # a path may hold bytes that are not UTF-8
    if len(encoded) <= MESSAGE_BYTES:
        return encoded.decode()
    half = MESSAGE_BYTES // 2 - 4
    return f"{encoded[:half].decode(errors='ignore')} [...] {encoded[-half:].decode(errors='ignore')}"


def _from_transport(code: grpc.StatusCode, details: str, peer: str) -> TrilithError:
    if code is grpc.StatusCode.UNAVAILABLE and _has(details, HANDSHAKE_WORDS):
        return Unauthenticated(f"{peer}: {details}")
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        who = ", another machine of this cluster is there" if _has(details, OTHERS_WORDS) else ""
        return Unavailable(f"{peer} does not answer{who}: {details}")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return TimedOut(f"{peer} did not answer in time: {details}")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return Unsupported(f"{peer} does not know this call, its agent is older: upgrade it ({details})")
    return TrilithError(f"{peer}: {code.name}: {details}")


def _has(details: str, words: tuple[str, ...]) -> bool:
    return any(word in details.lower() for word in words)


def _find_class(name: str, code: grpc.StatusCode) -> type[TrilithError]:
    """A class that this side does not know is a newer server's: the code tells its nearest ancestor."""
    known = {cls.__name__: cls for cls in _tree(TrilithError) if _takes_a_message(cls)}
    by_code = {code: cls for cls, code in CODES.items()}
    return known.get(name) or by_code.get(code, TrilithError)


def _tree(root: type[TrilithError]) -> Iterator[type[TrilithError]]:
    yield root
    for child in root.__subclasses__():
        yield from _tree(child)


def _takes_a_message(cls: type) -> bool:
    """Whether its message alone can raise it again; CommandFailed, for one, arrives as KernelError."""
    return issubclass(cls, TrilithError) and cls.__init__ is TrilithError.__init__
