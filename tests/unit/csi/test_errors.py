"""Every error becomes the gRPC code that the CSI specification gives its case."""

import grpc
import pytest

from csi.errors import to_status
from replication import errors

EXPECTED = {
    errors.InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Unsupported: grpc.StatusCode.FAILED_PRECONDITION,
    errors.OutOfSpace: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.OutOfRange: grpc.StatusCode.OUT_OF_RANGE,
    errors.Conflict: grpc.StatusCode.ABORTED,
    errors.Busy: grpc.StatusCode.ABORTED,
    errors.StaleEpoch: grpc.StatusCode.ABORTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.NotWiped: grpc.StatusCode.UNAVAILABLE,
    errors.TimedOut: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.DataLoss: grpc.StatusCode.DATA_LOSS,
    errors.KernelError: grpc.StatusCode.INTERNAL,
}


@pytest.mark.parametrize(
    ("error", "code"), EXPECTED.items(), ids=lambda value: getattr(value, "__name__", None)
)
def test_each_error_has_its_code(error: type[errors.TrilithError], code: object) -> None:
    assert to_status(error("why")).code is code


def test_a_failed_command_is_an_internal_error() -> None:
    assert to_status(errors.CommandFailed(["lvs"], 5, "no")).code is grpc.StatusCode.INTERNAL


def test_a_new_subclass_needs_no_entry() -> None:
    class Tomorrow(errors.OutOfSpace):
        pass

    assert to_status(Tomorrow("full")).code is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_the_table_above_misses_no_error_of_the_tree() -> None:
    tree = {cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, Exception)}
    assert tree - set(EXPECTED) == {errors.TrilithError, errors.CommandFailed}
