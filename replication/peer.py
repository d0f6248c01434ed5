"""What nodes say of each other: values shared by control and agents."""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Peer:
    """Another machine, to be asked whether it is alive."""

    name: str
    address: str  # host:port of its agent
    data_address: str


class PeerState(StrEnum):
    """What became of that."""

    ANSWERS = "answers"
    SILENT = "silent"  # and it has answered this asker before
    UNKNOWN = "unknown"  # it never has: the network may not let it


@dataclass(frozen=True, slots=True)
class PeerVerdict:
    """Of one peer, by the agent that asked it."""

    name: str
    state: PeerState
