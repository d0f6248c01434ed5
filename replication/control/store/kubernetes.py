"""Records in a Kubernetes API server: for several controllers at once, on any machines.

Volumes are read from the server and swapped there; lists, and what changes seldom, come from watches. A call
which raises Unavailable may have been done all the same, as if this process had died then.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from itertools import islice

from replication.clock import Clock
from replication.control.cordons import Cordon
from replication.control.settings import Settings
from replication.control.store.base import EVENTS_KEPT, Event
from replication.control.store.eventlog import EventLog, Reference
from replication.control.store.leases import VALID_SECONDS, LeaseLocks
from replication.control.store.named import NamedObjects
from replication.control.store.resources import (
    API_VERSION,
    CLUSTER_NAME,
    CLUSTERS,
    CORDONS,
    FINALIZER,
    NODES,
    POOLS,
    SETTINGS,
    VOLUME_NAMES,
    VOLUMES,
    cluster_object,
    is_object_name,
    object_name,
    parse_volume,
    volume_name_object,
    volume_object,
    volume_spec,
)
from replication.errors import (
    AlreadyExists,
    Conflict,
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    TrilithError,
    Unsupported,
)
from replication.kubernetes.access import Json
from replication.kubernetes.client import Client
from replication.kubernetes.watched import Entry, Watched
from replication.model import Node, Phase, Pool, Versioned, Volume

FORMAT = 1


class KubernetesStore:
    """The state of one cluster. Threads may share it."""

    def __init__(
        self,
        client: Client,
        cluster: str,
        clock: Clock,
        namespace: str,
        lock_seconds: float = VALID_SECONDS,
    ) -> None:
        """`namespace` is for locks, if nobody has chosen one before."""
        self._client = client
        self._cluster = cluster
        self.namespace = ensure_cluster(client, cluster, namespace)  # of the locks
        self._volumes = Watched(client, VOLUMES, parse_volume, clock, of_spec=True)
        self._ordered: tuple[Sequence[Entry[Versioned]], tuple[Versioned, ...]] = ((), ())
        self._nodes = NamedObjects(client, NODES, clock)
        self._pools = NamedObjects(client, POOLS, clock)
        self._cordons = NamedObjects(client, CORDONS, clock)
        self._settings = NamedObjects(client, SETTINGS, clock)
        self._locks = LeaseLocks(client, self.namespace, clock, lock_seconds)
        self._events = EventLog(client, self._refer, clock)

    def cluster(self) -> str:
        return self._cluster

    def add_volume(self, volume: Volume) -> Versioned:
        """First the record, then its name: so a name whose volume is not there has lost it for good."""
        self._locks.require()
        if self._find_nameless(volume.name) is not None:
            raise AlreadyExists(f"a volume {volume.name} exists")
        try:
            made = self._client.create(VOLUMES, volume_object(volume, 1))
        except AlreadyExists as error:
            raise AlreadyExists(f"a volume {volume.name} exists") from error
        try:
            self._take_name(volume, made["metadata"]["uid"])
        except TrilithError:
            with suppress(TrilithError):  # then it is one that was cut short, as if this process had died
                self.remove_volume(volume.id, 1)
            raise
        self._volumes.put(made)
        return Versioned(volume, 1)

    def swap_volume(self, volume: Volume, expected_version: int, events: tuple[Event, ...] = ()) -> Versioned:
        """One request, which the server compares and writes in one go."""
        self._locks.require()
        version = expected_version + 1
        steps: list[Json] = [
            {"op": "test", "path": "/spec/version", "value": expected_version},
            {"op": "replace", "path": "/spec", "value": volume_spec(volume, version)},
        ]
        try:
            written = self._client.patch(_path_of(volume.id), steps)
        except NotFound as error:
            raise NotFound(f"no volume {volume.id}") from error
        except InvalidRequest:
            self._require_version(volume.id, expected_version)
            raise
        self._volumes.put(written)
        self._events.add(*events)
        return Versioned(volume, version)

    def remove_volume(self, volume_id: str, expected_version: int, events: tuple[Event, ...] = ()) -> None:
        self._locks.require()
        try:
            gone = self._remove_unread(volume_id, expected_version)
            while not gone:  # something else of the object was written meanwhile: its status, an annotation
                gone = self._try_remove(volume_id, expected_version)
        except NotFound:
            return
        self._events.add(*events)

    def get_volume(self, volume_id: str) -> Versioned:
        return parse_volume(self._read_volume(volume_id))

    def recall_volume(self, volume_id: str) -> Versioned | None:
        """From the watch, which begins with the first question, and from what was written here."""
        self._volumes.begin()
        known = self._volumes.peek(volume_id)
        return known.value if known is not None and isinstance(known.value, Versioned) else None

    def find_volume(self, name: str) -> Versioned | None:
        try:
            owner = self._client.get(f"{VOLUME_NAMES}/{object_name(name)}")["spec"]["volume"]
            found = self.get_volume(owner)
        except NotFound:
            return self._find_nameless(name)
        return found if found.volume.name == name else self._find_nameless(name)

    def list_volumes(self) -> tuple[Versioned, ...]:
        """What has not changed since the last time is not sorted again."""
        entries = self._volumes.list()
        known, ordered = self._ordered
        if known is not entries:
            ordered = tuple(sorted((each.get() for each in entries), key=lambda found: found.volume.name))
            self._ordered = entries, ordered
        return ordered

    def list_volumes_after(self, volume_id: str, count: int) -> tuple[Versioned, ...]:
        """An object's name is its volume's id."""
        later = (found for found in self._volumes.list() if found.name > volume_id)
        return tuple(found.get() for found in islice(later, count))

    def add_node(self, node: Node) -> None:
        self._nodes.add(node)

    def replace_node(self, old: Node, new: Node) -> None:
        self._nodes.replace(old, new)

    def remove_node(self, name: str) -> None:
        self._nodes.remove(name)

    def get_node(self, name: str) -> Node:
        return self._nodes.get(name)

    def list_nodes(self) -> tuple[Node, ...]:
        return self._nodes.list()

    def add_pool(self, pool: Pool) -> None:
        self._pools.add(pool)

    def replace_pool(self, old: Pool, new: Pool) -> None:
        self._pools.replace(old, new)

    def remove_pool(self, name: str) -> None:
        self._pools.remove(name)

    def get_pool(self, name: str) -> Pool:
        return self._pools.get(name)

    def list_pools(self) -> tuple[Pool, ...]:
        return self._pools.list()

    def get_settings(self, name: str) -> Settings:
        return self._settings.find(name) or Settings(name)

    def put_settings(self, settings: Settings) -> None:
        self._settings.put(settings)

    def put_cordon(self, cordon: Cordon) -> None:
        self._cordons.put(cordon)

    def remove_cordon(self, name: str) -> None:
        self._cordons.remove(name)

    def list_cordons(self) -> tuple[Cordon, ...]:
        return self._cordons.list()

    def add_event(self, event: Event) -> None:
        self._events.add(event)

    def list_events(self, subject: str | None, limit: int) -> tuple[Event, ...]:
        return self._events.list(subject, min(limit, EVENTS_KEPT))

    def lock(self, key: str, operation: str, timeout: float = 0.0) -> AbstractContextManager[None]:
        return self._locks.lock(key, operation, timeout)

    def close(self) -> None:
        self._events.close()
        self._locks.close()
        for watched in (self._volumes, self._nodes, self._pools, self._cordons, self._settings):
            watched.close()
        self._client.close()

    def _take_name(self, volume: Volume, uid: str) -> None:
        """AlreadyExists unless it is free. Ends: each round, somebody else has taken it or given it back."""
        wanted = volume_name_object(volume, uid)
        path = f"{VOLUME_NAMES}/{object_name(volume.name)}"
        while True:
            try:
                self._client.create(VOLUME_NAMES, wanted)
            except AlreadyExists:
                pass
            else:
                return
            try:
                held = self._client.get(path)
                self._require_free(held, volume.id)
                version = held["metadata"]["resourceVersion"]
                self._client.replace(
                    path, {**wanted, "metadata": {**wanted["metadata"], "resourceVersion": version}}
                )
            except (NotFound, Conflict):
                continue
            return

    def _find_nameless(self, name: str) -> Versioned | None:
        """One that was restored: its name belonged to the object that it was before, and went with that.

        Whose maker died before it had a name is still being made, and in nobody's way.
        """
        values = (entry.value for entry in self._volumes.list())
        named = (each.volume for each in values if isinstance(each, Versioned) and each.volume.name == name)
        volume_id = next((each.id for each in named if each.phase is not Phase.CREATING), None)
        try:
            return self.get_volume(volume_id) if volume_id is not None else None
        except NotFound:
            return None  # the watch has not told its end yet

    def _require_free(self, held: Json, volume_id: str) -> None:
        if held["spec"]["volume"] == volume_id:
            return
        try:
            self._read_volume(held["spec"]["volume"])
        except NotFound:
            return
        raise AlreadyExists(f"a volume {held['spec']['name']} exists")

    def _read_volume(self, volume_id: str) -> Json:
        if not is_object_name(volume_id):
            raise NotFound(f"no volume {volume_id}")
        try:
            return self._client.get(_path_of(volume_id))
        except NotFound as error:
            raise NotFound(f"no volume {volume_id}") from error

    def _require_version(self, volume_id: str, expected: int) -> Json:
        found = self._read_volume(volume_id)
        version = found["spec"]["version"]
        if version != expected:
            raise Conflict(f"volume {volume_id} has version {version} by now, not {expected}")
        return found

    def _remove_unread(self, volume_id: str, expected: int) -> bool:
        """As it nearly always is: with our finalizer and no other. False: it has to be looked at."""
        steps: list[Json] = [
            {"op": "test", "path": "/spec/version", "value": expected},
            {"op": "test", "path": "/metadata/finalizers", "value": [FINALIZER]},
            {"op": "replace", "path": "/metadata/finalizers", "value": []},
        ]
        try:
            metadata = self._client.patch(_path_of(volume_id), steps)["metadata"]
        except InvalidRequest:
            return False
        return self._delete(volume_id, metadata)

    def _try_remove(self, volume_id: str, expected: int) -> bool:
        """False when the object was written between two of the requests. NotFound when it is gone."""
        metadata = self._require_version(volume_id, expected)["metadata"]
        finalizers = [each for each in metadata.get("finalizers", ()) if each != FINALIZER]
        steps = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
            {"op": "add", "path": "/metadata/finalizers", "value": finalizers},
        ]
        try:
            metadata = self._client.patch(_path_of(volume_id), steps)["metadata"]
        except InvalidRequest:
            if self._read_volume(volume_id)["metadata"]["resourceVersion"] == metadata["resourceVersion"]:
                raise
            return False
        return self._delete(volume_id, metadata)

    def _delete(self, volume_id: str, metadata: Json) -> bool:
        """Without our finalizer, as it was written just now; False when somebody has written since."""
        uid, version = metadata["uid"], metadata["resourceVersion"]
        try:
            self._client.delete(_path_of(volume_id), uid=uid, resourceVersion=version)
        except Conflict:
            return False
        except NotFound:
            pass  # deleted by somebody before, it waited for our finalizer only
        self._volumes.drop(volume_id, uid)
        return True

    def _refer(self, subject: str) -> Reference:
        """To the object that an event is about, as `kubectl describe` looks for it."""
        for kind, known in (
            ("Volume", self._volumes.peek(subject)),
            (NODES.kind, self._nodes.peek(subject)),
            (POOLS.kind, self._pools.peek(subject)),
        ):
            if known is not None:
                return {"apiVersion": API_VERSION, "kind": kind, "name": known.name, "uid": known.uid}
        return {"apiVersion": API_VERSION, "kind": "Volume", "name": object_name(subject)}


def ensure_cluster(client: Client, cluster: str, namespace: str) -> str:
    """The namespace that holds the locks: the one that was given first.

    FailedPrecondition when the records are another's, Unsupported when a newer program wrote them.
    """
    path = f"{CLUSTERS}/{CLUSTER_NAME}"
    try:
        found = client.get(path)["spec"]
    except NotFound:
        with suppress(AlreadyExists):  # another was first
            client.create(CLUSTERS, cluster_object(cluster, namespace, FORMAT))
        found = client.get(path)["spec"]
    if found["format"] > FORMAT:
        raise Unsupported(
            f"the records in Kubernetes have format {found['format']}, this program knows {FORMAT}: "
            f"use a newer trilith"
        )
    if found["cluster"] != cluster:
        raise FailedPrecondition(
            f"the records in Kubernetes are of cluster {found['cluster']}, "
            f"the identity is of cluster {cluster}"
        )
    return str(found["lockNamespace"])


def _path_of(volume_id: str) -> str:
    return f"{VOLUMES}/{volume_id}"
