"""An API server with one resource, whose watch says what a test wants, when it wants."""

from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import cast

from replication.errors import TrilithError
from replication.kubernetes.access import Json
from replication.kubernetes.client import Client

END: Json = {}


class FakeServer:
    """Lists `items` as of `version`, in pages of one; `cached` when any resourceVersion is good enough."""

    def __init__(self, *items: Json, version: int = 10) -> None:
        self.items = list(items)
        self.version = version
        self.cached: tuple[list[Json], int] = ([], 0)
        self.watched_from: list[str] = []
        self.lists = 0
        self.trouble: TrilithError | None = None
        self._said: SimpleQueue[Json] = SimpleQueue()

    def as_client(self) -> Client:
        return cast("Client", self)

    def say(self, kind: str, item: Json) -> None:
        self._said.put({"type": kind, "object": item})

    def end_watch(self) -> None:
        self._said.put(END)

    def get(self, _: str, **query: str) -> Json:
        items, version = self.cached if "resourceVersion" in query else (self.items, self.version)
        start = int(query.get("continue", "0"))
        self.lists += start == 0
        left = {"continue": str(start + 1)} if start + 1 < len(items) else {}
        return {
            "metadata": {"resourceVersion": str(version), **left},
            "items": items[start : start + 1],
        }

    @contextmanager
    def stream(self, _: str, silence_seconds: float, **query: str) -> Iterator["FakeServer"]:
        assert silence_seconds > 60
        assert query["allowWatchBookmarks"] == "true"
        if self.trouble is not None:
            raise self.trouble
        self.watched_from.append(query["resourceVersion"])
        yield self

    def __iter__(self) -> Iterator[Json]:
        while (event := self._said.get()) is not END:
            yield event

    def shut(self) -> None:
        self.end_watch()


def item(name: str, version: int, word: str = "", uid: str = "") -> Json:
    metadata = {"name": name, "uid": uid or f"uid-{name}", "resourceVersion": str(version)}
    return {"metadata": metadata, "word": word}
