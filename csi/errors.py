"""Which gRPC code each error becomes: decided here, once, for the services that face Kubernetes."""

import grpc

from replication.errors import TrilithError
from replication.rpc import status
from replication.rpc.status import Status, shorten


class Unimplemented(TrilithError):  # noqa: N818 (in gRPC's words)
    """A call of the specification that this plugin does not advertise."""


CODES: dict[type, grpc.StatusCode] = status.CODES | {
    Unimplemented: grpc.StatusCode.UNIMPLEMENTED,
    TrilithError: grpc.StatusCode.INTERNAL,  # UNKNOWN would say that the plugin does not know its own errors
}
"""The agent's table, but for what only CSI has."""


def to_status(error: TrilithError) -> Status:
    """The code of the nearest class that has one, so that a new subclass needs no entry."""
    code = next(CODES[cls] for cls in type(error).__mro__ if cls in CODES)
    return Status(code, shorten(str(error)))
