"""What a store of records has to do, whatever keeps them: SQLite, Kubernetes, or memory in tests.

Records of volumes are changed by compare-and-swap only. A store that cannot be read or written raises
Unavailable (try again), OutOfSpace, DataLoss (damaged) or Unsupported (written by a newer Trilith).
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from replication.control.cordons import Cordon
from replication.control.settings import Settings
from replication.model import Node, Pool, Versioned, Volume

EVENTS_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Event:
    """One decision, for people to read. `subject` is a volume's id, or a node's or pool's name."""

    time: float
    subject: str
    kind: str
    message: str


class Store(Protocol):
    """The state of one cluster."""

    def cluster(self) -> str:
        """The cluster's identifier, made when the store was."""

    def add_volume(self, volume: Volume) -> Versioned:
        """AlreadyExists when its id or its name is taken. An id is never given to another volume later."""

    def swap_volume(self, volume: Volume, expected_version: int, events: tuple[Event, ...] = ()) -> Versioned:
        """Conflict unless the record still has `expected_version`; NotFound when it is gone.

        `events` are kept in the same go, but a swap does not fail for want of them.
        """

    def remove_volume(self, volume_id: str, expected_version: int, events: tuple[Event, ...] = ()) -> None:
        """Conflict unless the record still has `expected_version`. Nothing to do when it is gone."""

    def get_volume(self, volume_id: str) -> Versioned: ...

    def recall_volume(self, volume_id: str) -> Versioned | None:
        """As it was known last, without asking anybody: good to begin a swap with, which says if it is old.

        None where that is not known, or where to read costs nothing.
        """

    def find_volume(self, name: str) -> Versioned | None: ...

    def list_volumes(self) -> tuple[Versioned, ...]:
        """By name."""

    def list_volumes_after(self, volume_id: str, count: int) -> tuple[Versioned, ...]:
        """By id, at most `count`: what comes after `volume_id`, whether that exists or not."""

    def add_node(self, node: Node) -> None:
        """AlreadyExists when the name is taken by something different."""

    def replace_node(self, old: Node, new: Node) -> None:
        """Conflict unless the store still says `old`."""

    def remove_node(self, name: str) -> None: ...

    def get_node(self, name: str) -> Node: ...

    def list_nodes(self) -> tuple[Node, ...]: ...

    def add_pool(self, pool: Pool) -> None:
        """AlreadyExists when the name is taken by something different."""

    def replace_pool(self, old: Pool, new: Pool) -> None:
        """Conflict unless the store still says `old`."""

    def remove_pool(self, name: str) -> None: ...

    def get_pool(self, name: str) -> Pool: ...

    def list_pools(self) -> tuple[Pool, ...]: ...

    def get_settings(self, name: str) -> Settings:
        """Of the pool of this name, or of the cluster (settings.CLUSTER). Empty when none were put."""

    def put_settings(self, settings: Settings) -> None: ...

    def put_cordon(self, cordon: Cordon) -> None: ...

    def remove_cordon(self, name: str) -> None: ...

    def list_cordons(self) -> tuple[Cordon, ...]:
        """By name."""

    def add_event(self, event: Event) -> None:
        """Keeps the newest EVENTS_KEPT."""

    def list_events(self, subject: str | None, limit: int) -> tuple[Event, ...]:
        """The newest first."""

    def lock(self, key: str, operation: str, timeout: float = 0.0) -> AbstractContextManager[None]:
        """One operation at a time on `key`; Conflict names the one under way. Ends with its process."""

    def close(self) -> None: ...
