"""Records that have a name and change seldom, each in an object of Kubernetes: read from a watch."""

from typing import Generic

from replication.clock import Clock
from replication.control.store.resources import Named, Resource
from replication.errors import AlreadyExists, Conflict, NotFound
from replication.kubernetes.access import Json
from replication.kubernetes.client import Client
from replication.kubernetes.watched import Entry, Watched


class NamedObjects(Generic[Named]):
    """All records of one kind."""

    def __init__(self, client: Client, resource: Resource[Named], clock: Clock) -> None:
        self._client = client
        self._resource: Resource[Named] = resource
        self._watched: Watched[Named] = Watched(client, resource.path, resource.parse, clock, of_spec=True)

    def add(self, item: Named) -> None:
        """AlreadyExists when the name is taken by something different."""
        wanted = self._resource.to_object(item)
        while True:
            try:
                made = self._client.create(self._resource.path, wanted)
            except AlreadyExists:
                known = self._find_now(item.name)
                if known is None:
                    continue  # removed at this moment
                self._require_same(known, item)
                made = known
            self._watched.put(made)
            return

    def put(self, item: Named) -> None:
        """Whatever was there."""
        self._watched.put(self._client.apply(self._path(item.name), self._resource.to_object(item)))

    def replace(self, old: Named, new: Named) -> None:
        """Conflict unless it is still `old`."""
        changed = Conflict(f"{self._resource.word} {old.name} has been changed meanwhile")
        known = self._find_now(old.name)
        if known is None or self._resource.parse(known) != old:
            raise changed
        wanted = {**known, "spec": self._resource.to_object(new)["spec"]}
        try:
            self._watched.put(self._client.replace(self._path(old.name), wanted))
        except (Conflict, NotFound) as error:
            raise changed from error

    def remove(self, name: str) -> None:
        """Nothing to do when it is not there."""
        try:
            removed = self._client.delete(self._path(name))
        except NotFound:
            return
        self._watched.drop(self._resource.name_of(name), removed["details"]["uid"])

    def get(self, name: str) -> Named:
        """NotFound only when the server says so: what the watch does not know may have been made just now."""
        known: Named | None = self.find(name)
        if known is not None:
            return known
        made = self._find_now(name)
        if made is None:
            raise NotFound(f"no {self._resource.word} {name}")
        return self._resource.parse(made)

    def find(self, name: str) -> Named | None:
        """As the watch knows it."""
        entry: Entry[Named] | None = self._watched.find(self._resource.name_of(name))
        return None if entry is None else entry.get()

    def list(self) -> tuple[Named, ...]:
        """By name."""
        return tuple(sorted((found.get() for found in self._watched.list()), key=lambda item: item.name))

    def peek(self, name: str) -> Entry[Named] | None:
        """What is known of its object without asking."""
        return self._watched.peek(self._resource.name_of(name))

    def close(self) -> None:
        self._watched.close()

    def _path(self, name: str) -> str:
        return f"{self._resource.path}/{self._resource.name_of(name)}"

    def _find_now(self, name: str) -> Json | None:
        try:
            return self._client.get(self._path(name))
        except NotFound:
            return None

    def _require_same(self, known: Json, wanted: Named) -> None:
        found = self._resource.parse(known)
        if found != wanted:
            raise AlreadyExists(f"a different {self._resource.word} {wanted.name} exists: {found}")
