"""How many sidecars there are beside the leader, for /metrics: without them nobody asks it for anything.

Each has one connection from when it starts until it ends (csi-lib-utils v0.24.0 closes none that is idle), so
that one which cannot start, or ends again and again, is missed also while it would have nothing to do.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

SOCKETS = Path("/proc/net/unix")
"""Of the network namespace, which is the pod's: `Num RefCount Protocol Flags Type St Inode Path`."""

CONNECTED = "03"
"""SS_CONNECTED of linux/net.h. A socket that was accepted has the path of the one that listens."""


class Sidecars(Collector):
    """Told of by whoever leads only: those of others wait."""

    def __init__(self, socket: Path, leads: Callable[[], bool], sockets: Path = SOCKETS) -> None:
        self._socket = socket
        self._leads = leads
        self._sockets = sockets

    def collect(self) -> Iterator[Metric]:
        if self._leads():
            count = count_connections(self._sockets.read_text(), self._socket)
            about = "Sidecars that are connected to the leader, of three that the chart has."
            yield GaugeMetricFamily("trilith_sidecars", about, count)


def count_connections(table: str, socket: Path) -> int:
    """That are open at the socket of this path."""
    rows = (line.split(maxsplit=7) for line in table.splitlines()[1:])
    return sum(row[5] == CONNECTED and row[7:] == [str(socket)] for row in rows)
