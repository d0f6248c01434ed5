"""Listening to every node's reports: one thread per node, that connects again when the stream breaks."""

import threading
from collections.abc import Callable

from replication.control.nodes import Nodes
from replication.errors import NotFound, TrilithError
from replication.model import ArrayReport
from replication.rpc.contract import Reports

RECONNECT_SECONDS = 0.5


class Watchers:
    """`put(node, report)` is called from several threads and must not take long."""

    def __init__(self, nodes: Nodes, put: Callable[[str, ArrayReport], None]) -> None:
        self._nodes = nodes
        self._put = put
        self._stopped = threading.Event()
        self._mutex = threading.Lock()
        self._streams: dict[str, Reports | None] = {}

    def ensure(self) -> None:
        """A watcher for every node that there is."""
        for node in self._nodes.list():
            with self._mutex:
                if node.name in self._streams:
                    continue
                self._streams[node.name] = None
            threading.Thread(
                target=self._watch, args=(node.name,), name=f"watch {node.name}", daemon=True
            ).start()

    def close(self) -> None:
        self._stopped.set()
        with self._mutex:
            streams = [stream for stream in self._streams.values() if stream is not None]
        for stream in streams:
            stream.close()

    def _watch(self, name: str) -> None:
        try:
            while not self._stopped.is_set():
                self._listen(name)
                self._stopped.wait(RECONNECT_SECONDS)
        except NotFound:
            pass  # the node left the cluster
        finally:
            with self._mutex:
                self._streams.pop(name, None)

    def _listen(self, name: str) -> None:
        """Until the stream breaks. NotFound when the node is no longer one of ours."""
        self._nodes.get(name)
        try:
            stream = self._nodes.to(name).watch()
            with self._mutex:
                self._streams[name] = stream
            if self._stopped.is_set():
                stream.close()
            for report in stream:
                self._put(name, report)
        except TrilithError:
            return
