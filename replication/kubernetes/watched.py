"""All objects of one resource, kept as they are on the server by a list and a watch.

What we wrote ourselves is here at once, what others wrote as soon as the server tells. An object never goes
back to an older version: resourceVersions of one resource are compared as numbers (KEP-5504).
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from replication.clock import Clock
from replication.errors import DataLoss, TrilithError, Unavailable
from replication.kubernetes.access import Json
from replication.kubernetes.client import Client, Forgotten, Stream, raise_status

PAGE = 500
WATCH_SECONDS = 300  # then the server ends it, and another begins where it ended
SILENCE_SECONDS = 90.0  # bookmarks come every minute
FIRST_SECONDS = 20.0  # for the first list
GIVE_UP_SECONDS = 60.0  # without a watch, until it is not gone on with any more, but begun by a list
STALE_SECONDS = 10.0  # without a watch, until nothing is said any more
SHORTEST_WAIT, LONGEST_WAIT = 0.1, 5.0  # before another watch; doubled while they bring nothing
GONE_KEPT = 1000  # deletions of ours: the server tells of each within seconds

T = TypeVar("T")
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """An object, parsed; or what is wrong with it, so that a damaged one spoils no other."""

    name: str
    version: int
    uid: str
    generation: int  # of the spec
    value: T | DataLoss

    def get(self) -> T:
        if isinstance(self.value, DataLoss):
            raise self.value
        return self.value


def _tell_nobody() -> None:
    """Most are asked when somebody wants to know."""


class Watched(Generic[T]):
    """Begins when it is first asked. An object that is in a namespace is called NAMESPACE/NAME."""

    def __init__(
        self,
        client: Client,
        path: str,
        parse: Callable[[Json], T],
        clock: Clock,
        *,
        tell: Callable[[], object] = _tell_nobody,
        of_spec: bool = False,
        **selectors: str,
    ) -> None:
        """`parse` raises DataLoss. `tell` is called after each change of a value, by the thread that watches.

        `of_spec`: values are of names and specs alone, and specs have generations; what else is written of an
        object leaves its value as it is. `selectors` are fieldSelector and labelSelector.
        """
        self._client = client
        self._path = path
        self._parse = parse
        self._clock = clock
        self._tell = tell
        self._of_spec = of_spec
        self._selectors = selectors
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._stream: Stream | None = None
        self._entries: dict[str, Entry[T]] = {}
        self._ordered: Sequence[Entry[T]] | None = None
        self._gone: dict[str, None] = {}  # uids that we deleted, and whose end the server may still tell
        self._version = ""  # what the next watch goes on from; empty: list first
        self._newest = 0  # version that the server has told
        self._heard = False  # anything, in this round
        self._listed = False
        self._trouble = f"{path}: not listed yet"
        self._lost: float | None = None  # since when the server is not watched; None: it is

    def begin(self) -> None:
        """For who only peeks. Waits for nothing."""
        with self._changed:
            self._ensure_thread()

    def list(self) -> Sequence[Entry[T]]:
        """By the objects' names; the same until something changes. Unavailable as `find`."""
        with self._changed:
            self._require_news()
            if self._ordered is None:
                self._ordered = tuple(self._entries[name] for name in sorted(self._entries))
            return self._ordered

    def find(self, name: str) -> Entry[T] | None:
        """Unavailable when the server is not watched for longer than it takes to come back."""
        with self._changed:
            self._require_news()
            return self._entries.get(name)

    def peek(self, name: str) -> Entry[T] | None:
        """What is known of it, without asking for more."""
        with self._changed:
            return self._entries.get(name)

    def put(self, written: Json) -> None:
        """What the server answered when we wrote it."""
        with self._changed:
            self._apply(written)

    def drop(self, name: str, uid: str) -> None:
        """We deleted it."""
        with self._changed:
            self._gone[uid] = None
            if len(self._gone) > GONE_KEPT:
                del self._gone[next(iter(self._gone))]
            self._forget(name, uid)

    def close(self) -> None:
        self._closed.set()
        with self._changed:
            stream, thread = self._stream, self._thread
        if stream is not None:
            stream.shut()
        if thread is not None:
            thread.join()

    def _require_news(self) -> None:
        self._ensure_thread()
        if not self._changed.wait_for(lambda: self._listed, FIRST_SECONDS):
            raise Unavailable(self._trouble)
        if self._lost is not None and self._clock.now() - self._lost >= STALE_SECONDS:
            raise Unavailable(self._trouble)

    def _ensure_thread(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._follow, name=f"watch {self._path}", daemon=True)
            self._thread.start()

    def _follow(self) -> None:
        wait = SHORTEST_WAIT
        while not self._closed.is_set():
            self._heard = False
            self._follow_once()
            wait = SHORTEST_WAIT if self._heard else wait
            self._closed.wait(wait)
            wait = min(wait * 2, LONGEST_WAIT)

    def _follow_once(self) -> None:
        """Until the watch ends."""
        try:
            self._list_and_watch()
        except Forgotten as error:
            logger.info("%s: listed anew: %s", self._path, error)
            self._version = ""
        except TrilithError as error:
            lost = self._lose(error)
            self._version = "" if self._clock.now() - lost >= GIVE_UP_SECONDS else self._version

    def _list_and_watch(self) -> None:
        if not self._version:
            self._list()
        query = {
            **self._selectors,
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        with self._client.stream(self._path, SILENCE_SECONDS, **query) as stream:
            with self._changed:
                self._stream, self._lost = stream, None
            if not self._closed.is_set():
                for event in stream:
                    self._hear(event)

    def _lose(self, error: TrilithError) -> float:
        """Since when it is."""
        with self._changed:
            self._trouble, self._stream = f"{self._path}: not watched: {error}", None
            if self._lost is None and not self._closed.is_set():
                self._lost = self._clock.now()
                logger.warning("%s", self._trouble)
            return self._clock.now() if self._lost is None else self._lost

    def _list(self) -> None:
        """All of it as of one moment, which is now: no resourceVersion is asked for."""
        found, query = [], {"limit": str(PAGE), **self._selectors}
        while True:
            page = self._client.get(self._path, **query)
            found += page["items"]
            if not page["metadata"].get("continue"):
                break
            query["continue"] = page["metadata"]["continue"]
        with self._changed:
            self._take_list(found, page["metadata"]["resourceVersion"])
            self._changed.notify_all()
        self._tell()

    def _take_list(self, found: Sequence[Json], version: str) -> None:
        """What we wrote meanwhile is newer than the list. A restored server is of an earlier time."""
        if int(version) < self._newest:
            logger.warning("%s: the server was restored: what was known is dropped", self._path)
            self._entries.clear()
            self._ordered = None
        names = {_name(item["metadata"]) for item in found}
        for name, known in list(self._entries.items()):
            if name not in names and known.version <= int(version):
                self._forget(name, known.uid)
        there = {item["metadata"]["uid"] for item in found}
        self._gone = {uid: None for uid in self._gone if uid in there}
        for item in found:
            self._apply(item)
        self._version, self._newest, self._listed = version, int(version), True

    def _hear(self, event: Json) -> None:
        kind, item = event["type"], event["object"]
        if kind == "ERROR":
            raise_status(item)
        self._heard = changed = True
        with self._changed:
            if kind == "DELETED":
                self._gone.pop(item["metadata"]["uid"], None)
                self._forget(_name(item["metadata"]), item["metadata"]["uid"])
            else:
                changed = kind != "BOOKMARK" and self._apply(item)
            self._version = item["metadata"]["resourceVersion"]
            self._newest = int(self._version)
        if changed:
            self._tell()

    def _apply(self, item: Json) -> bool:
        """Whether its value is another now."""
        metadata = item["metadata"]
        name, uid, version = _name(metadata), metadata["uid"], int(metadata["resourceVersion"])
        known = self._entries.get(name)
        if uid in self._gone or (known is not None and known.version >= version):
            return False
        generation = metadata.get("generation", 0)
        same = known is not None and (known.uid, known.generation) == (uid, generation)
        value = known.value if known is not None and same and self._of_spec else self._parse_safely(item)
        self._entries[name] = Entry(name, version, uid, generation, value)
        self._ordered = None
        return known is None or known.uid != uid or known.value != value

    def _parse_safely(self, item: Json) -> T | DataLoss:
        try:
            return self._parse(item)
        except DataLoss as error:
            return error

    def _forget(self, name: str, uid: str) -> None:
        known = self._entries.get(name)
        if known is not None and known.uid == uid:
            del self._entries[name]
            self._ordered = None


def _name(metadata: Json) -> str:
    """Objects of several namespaces may be watched together."""
    return f"{metadata['namespace']}/{metadata['name']}" if "namespace" in metadata else str(metadata["name"])
