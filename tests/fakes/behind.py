"""A store as controllers have it whose watch has fallen silent."""

from collections.abc import Callable

from replication.control.store.memory import MemoryStore
from replication.model import Versioned


class StoreBehind(MemoryStore):
    """Its lists stay as they were when it fell behind; records, and swaps, are those of now."""

    def __init__(self, cluster: str = "cluster") -> None:
        super().__init__(cluster)
        self._list: Callable[[], tuple[Versioned, ...]] = super().list_volumes

    def fall_behind(self) -> None:
        found = super().list_volumes()
        self._list = lambda: found

    def list_volumes(self) -> tuple[Versioned, ...]:
        return self._list()
