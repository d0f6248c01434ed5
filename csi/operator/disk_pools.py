"""DiskPools: one object for each pool on each node, for people to look at."""

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress

from csi.operator.classes import MANAGED_BY, POOL_LABEL
from csi.operator.judging import SIZES, Room
from csi.operator.refusals import apart
from csi.operator.resources import DISK_POOLS, VERSION
from csi.operator.statuses import Statuses
from replication.control.store.resources import object_name
from replication.errors import AlreadyExists, NotFound
from replication.kubernetes.access import Json
from replication.kubernetes.client import Client
from replication.kubernetes.watched import Watched

Key = tuple[str, str]  # pool, node


class DiskPools:
    """What there is to be is told with each pass."""

    def __init__(self, client: Client, watched: Watched[Json], statuses: Statuses) -> None:
        self._client = client
        self._watched = watched
        self._statuses = statuses

    def ensure(self, wanted: Collection[Key]) -> None:
        """These, and no others."""
        there = {entry.name: entry.get() for entry in self._watched.list()}
        names = {disk_pool_name(*key): key for key in wanted}
        for name in there.keys() - names:
            with apart(f"DiskPool {name}"):
                self._remove(name, there[name]["metadata"]["uid"])
        for name in names.keys() - there:
            with apart(f"DiskPool {name}"), suppress(AlreadyExists):  # the watch will tell
                self._watched.put(self._client.create(DISK_POOLS, _make(name, *names[name])))
        for name, found in there.items():
            self._statuses.learn(_path(name), found.get("status") or {}, found["metadata"]["uid"])
        self._statuses.keep(map(_path, names), DISK_POOLS)

    def find_sizes(self, pool: str, node: str) -> Mapping[str, int]:
        """As they were told last."""
        status = self._statuses.get(_path(disk_pool_name(pool, node)))
        return {name: status[name] for name in SIZES if name in status}

    def tell(self, pool: str, rooms: Iterable[Room]) -> None:
        for room in rooms:
            path = _path(disk_pool_name(pool, room.node))
            self._statuses.offer(path, dict(room.sizes), [room.ready])

    def _remove(self, name: str, uid: str) -> None:
        with suppress(NotFound):
            self._client.delete(_path(name), uid=uid)
        self._watched.drop(name, uid)


def disk_pool_name(pool: str, node: str) -> str:
    """No pool's name has a dot."""
    return object_name(f"{pool}.{node}")


def _path(name: str) -> str:
    return f"{DISK_POOLS}/{name}"


def _make(name: str, pool: str, node: str) -> Json:
    return {
        "apiVersion": VERSION,
        "kind": "DiskPool",
        "metadata": {"name": name, "labels": {**MANAGED_BY, POOL_LABEL: pool}},
        "spec": {"pool": pool, "node": node},
    }
