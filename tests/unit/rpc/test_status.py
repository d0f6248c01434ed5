"""Every error gets its code by its ancestry, and comes back as itself."""

import grpc
import pytest

from replication.errors import (
    CommandFailed,
    Conflict,
    FailedPrecondition,
    KernelError,
    NotFound,
    StaleEpoch,
    TimedOut,
    TrilithError,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from replication.rpc.status import CLASS_KEY, MESSAGE_BYTES, from_rpc_error, shorten, to_status

PEER = "node a at 192.0.2.1:7000"


class Failure(grpc.RpcError):  # type: ignore[misc]  # gRPC carries no types
    """What the client gets from gRPC."""

    def __init__(
        self, code: grpc.StatusCode, details: str | None, metadata: tuple[tuple[str, str], ...] | None
    ) -> None:
        self._values = (code, details, metadata)

    def code(self) -> grpc.StatusCode:
        return self._values[0]

    def details(self) -> str | None:
        return self._values[1]

    def trailing_metadata(self) -> tuple[tuple[str, str], ...] | None:
        return self._values[2]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFound("x"), grpc.StatusCode.NOT_FOUND),
        (Unsupported("x"), grpc.StatusCode.FAILED_PRECONDITION),
        (StaleEpoch("x"), grpc.StatusCode.ABORTED),
        (TimedOut("x"), grpc.StatusCode.DEADLINE_EXCEEDED),
        (CommandFailed(["lvs"], 5, "no"), grpc.StatusCode.INTERNAL),
        (TrilithError("x"), grpc.StatusCode.UNKNOWN),
    ],
)
def test_the_code_is_that_of_the_nearest_ancestor(error: TrilithError, code: grpc.StatusCode) -> None:
    assert to_status(error).code is code


def test_a_subclass_that_nobody_entered_anywhere_keeps_its_class() -> None:
    class Fenced(StaleEpoch):
        pass

    status = to_status(Fenced("epoch 3 is over"))
    assert status.code is grpc.StatusCode.ABORTED
    assert type(_return(status.code, status.details, status.metadata)) is Fenced


def test_a_class_of_a_newer_server_arrives_as_its_nearest_ancestor() -> None:
    error = _return(grpc.StatusCode.ABORTED, "busy", ((CLASS_KEY, "FromTheFuture"),))
    assert type(error) is Conflict
    assert str(error) == "busy"


def test_a_failed_command_arrives_as_a_kernel_error_with_its_message() -> None:
    status = to_status(CommandFailed(["lvs", "-a"], 5, "no such group\n"))
    error = _return(status.code, status.details, status.metadata)
    assert type(error) is KernelError
    assert str(error) == "lvs -a: exit status 5: no such group"


@pytest.mark.parametrize(
    ("code", "details", "expected"),
    [
        (grpc.StatusCode.UNAVAILABLE, "Connection refused", Unavailable),
        (grpc.StatusCode.CANCELLED, "Channel closed!", Unavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", TimedOut),
        (grpc.StatusCode.UNAVAILABLE, "Tls handshake failed: CERTIFICATE_VERIFY_FAILED", Unauthenticated),
        (grpc.StatusCode.UNAVAILABLE, "Hostname Verification Check failed.", Unavailable),
        (grpc.StatusCode.UNIMPLEMENTED, "Method not found!", Unsupported),
        (grpc.StatusCode.FAILED_PRECONDITION, "not by our server", TrilithError),
    ],
)
def test_a_failure_of_the_transport_names_the_peer(
    code: grpc.StatusCode, details: str, expected: type[TrilithError]
) -> None:
    error = _return(code, details, None)
    assert type(error) is expected
    assert PEER in str(error)
    assert details in str(error)


def test_a_long_message_keeps_both_ends_and_fits_a_header() -> None:
    short = shorten("lvcreate: " + "ä" * 5000 + " no space")
    assert len(short.encode()) <= MESSAGE_BYTES
    assert short.startswith("lvcreate: ä")
    assert short.endswith("ä no space")


def test_a_message_that_is_not_text_is_still_sent() -> None:
    assert to_status(FailedPrecondition("/mnt/\udcff is busy")).details == "/mnt/\\udcff is busy"


def _return(
    code: grpc.StatusCode, details: str, metadata: tuple[tuple[str, str], ...] | None
) -> TrilithError:
    return from_rpc_error(Failure(code, details, metadata), PEER)
