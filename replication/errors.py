"""Everything that can go wrong, as one tree.

TrilithError
├── InvalidRequest          the caller's words make no sense: a bad size, an unknown parameter
├── NotFound                no such volume, node, pool, replica or disk
├── AlreadyExists           the name is taken by something different; the message says what differs
├── FailedPrecondition      not in this state: in use, not empty, attached elsewhere
│   └── Unsupported         this kernel or machine lacks something; the message says what to install
├── OutOfSpace              no disk pool has room; the message says how much there is and where
├── OutOfRange              a size that can never fit
├── Conflict                somebody else changed the record first, or an operation is under way: try again
│   └── StaleEpoch          the caller speaks for an attachment that is over
├── Unavailable             a node or the store does not answer
│   ├── NotWiped            the room holds old bytes still: try again
│   └── TimedOut            it took longer than its deadline
├── Unauthenticated         a certificate that is not ours, or expired
├── DataLoss                what is on a disk is not what it must be: a bad header, a damaged store
└── KernelError             a kernel interface or tool refused
    └── CommandFailed       a command ended non-zero; carries argv, exit status and standard error

A message says what, which and why, in the caller's words. Raised where it happens, turned into a gRPC status
once, at the edge (replication/rpc/status.py, csi/errors.py), by walking the class's MRO.
"""

from collections.abc import Sequence


class TrilithError(Exception):
    """The root: what is caught by a border that must not fall over."""


class InvalidRequest(TrilithError):
    """What the caller asked for is malformed, whatever the state of the cluster."""


class NotFound(TrilithError):
    """The thing named does not exist."""


class AlreadyExists(TrilithError):
    """The name is taken by something that is not what was asked for."""


class FailedPrecondition(TrilithError):
    """The request is sound, but not in the state that the thing is in."""


class Unsupported(FailedPrecondition):
    """The machine's kernel or tools cannot do it; the message names what is missing."""


class OutOfSpace(TrilithError):
    """There is not enough room now."""


class OutOfRange(TrilithError):
    """The size can never be had here."""


class Conflict(TrilithError):
    """Another operation came first; repeating the call is right."""


class Busy(Conflict):
    """Another operation on the same thing is under way, perhaps in another process."""


class StaleEpoch(Conflict):
    """The attachment that the caller speaks for has been superseded."""


class Unavailable(TrilithError):
    """A node or the store does not answer."""


class NotWiped(Unavailable):
    """There is room once old bytes have been wiped; the message says how much and where."""

    wanted_bytes = 0  # set by whoever raises it, and known in its process only
    volume_group = ""  # where


class TimedOut(Unavailable):
    """No answer within the deadline."""


class Unauthenticated(TrilithError):
    """The peer's certificate is not of this cluster, or no longer valid."""


class DataLoss(TrilithError):
    """Stored bytes are not what they must be."""


class KernelError(TrilithError):
    """A kernel interface answered with an error that we do not expect in normal life."""


class CommandFailed(KernelError):
    """A command ended with a status other than 0."""

    def __init__(self, argv: Sequence[str], status: int, stderr: str) -> None:
        super().__init__(f"{' '.join(argv)}: exit status {status}: {stderr.strip() or 'no message'}")
        self.argv = tuple(argv)
        self.status = status
        self.stderr = stderr
