"""What a Prometheus server is told: how volumes, replicas, copies, pools and nodes were at the last look.

A scrape asks nobody: it reads what the reconciler saw last, at most `CLEANING_INTERVAL` ago, so that a server
that scrapes often costs the nodes nothing.
"""

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from replication.clock import Clock
from replication.control.redundancy import Health, VolumeHealth, judge_volume
from replication.control.survey import Survey
from replication.errors import InvalidRequest
from replication.model import ArrayReport, ReplicaState

Labels = tuple[str, ...]

_COPIES = (
    ("rebuild_total_bytes", "What the copies to the volume's replicas have to copy."),
    ("rebuild_done_bytes", "What of it has been copied."),
    ("rebuild_bytes_per_second", "How fast that goes."),
)
_SIZES = (
    ("pool_capacity_bytes", "Size of the pool's disks on the node."),
    ("pool_available_bytes", "Free there, and wiped."),
    ("pool_reserved_bytes", "Free there once what deleted replicas left is wiped."),
)


class Metrics(Collector):
    """The newest survey, and the longest that writes have waited. Threads may share it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._mutex = threading.Lock()
        self._survey: Survey | None = None
        self._longest_wait = 0.0

    def note(self, survey: Survey | None) -> None:
        """None: another process looks from now on."""
        with self._mutex:
            self._survey = survey

    def note_report(self, report: ArrayReport) -> None:
        with self._mutex:
            self._longest_wait = max(self._longest_wait, report.held_seconds)

    def collect(self) -> Iterator[Metric]:
        """Nothing but the longest wait, before the first survey."""
        with self._mutex:
            survey, longest = self._survey, self._longest_wait
        about = "Longest that writes to any volume have waited for the control plane since it started."
        yield GaugeMetricFamily("trilith_longest_wait_seconds", about, longest)
        if survey is not None:
            age = self._clock.now() - survey.time
            yield GaugeMetricFamily("trilith_look_age_seconds", "How old everything below is.", age)
            yield from _tell(survey)


def parse_address(text: str) -> tuple[str, int]:
    """(host, port) of HOST:PORT; InvalidRequest for anything else."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 <= int(port) <= 65535:
        raise InvalidRequest(f"metrics are served at HOST:PORT, like 127.0.0.1:9810, not {text!r}")
    return host.strip("[]"), int(port)


def serve_metrics(metrics: Metrics, address: tuple[str, int]) -> WSGIServer:
    """At /metrics, until it is shut down. InvalidRequest where nobody can listen."""
    registry = CollectorRegistry()
    registry.register(metrics)
    host, port = address
    try:
        server, _ = start_http_server(port, host, registry)
    except OSError as error:
        raise InvalidRequest(f"metrics cannot be served at {host}:{port}: {error.strerror}") from error
    return server


def _tell(survey: Survey) -> Iterator[Metric]:
    reports: dict[str, list[ArrayReport]] = {}  # by volume: there may be thousands of both
    for facts in survey.facts.values():
        for report in facts.arrays:
            reports.setdefault(report.volume_id, []).append(report)
    found = [judge_volume(volume, reports.get(volume.id, ())) for volume in survey.volumes.values()]
    yield _count_volumes(found)
    yield _count_replicas(found)
    yield _tell_waits(found)
    yield from _tell_copies(found)
    yield from _tell_pools(survey)
    yield _tell_nodes(survey)


def _count_volumes(found: Iterable[VolumeHealth]) -> Metric:
    counts = Counter(each.health for each in found)
    return _family("volumes", "Volumes by health.", ("health",), {(h,): counts[h] for h in Health})


def _count_replicas(found: Iterable[VolumeHealth]) -> Metric:
    counts = Counter(replica.state for each in found for replica in each.volume.replicas)
    values: dict[Labels, float] = {(state,): counts[state] for state in ReplicaState}
    return _family("replicas", "Replicas by what the record says of them.", ("state",), values)


def _tell_waits(found: Iterable[VolumeHealth]) -> Metric:
    """Of those that wait only: a cluster may have thousands."""
    waits: dict[Labels, float] = {
        (each.volume.name,): each.held_seconds for each in found if each.held_seconds
    }
    return _family("volume_wait_seconds", "How long writes to the volume have waited.", ("volume",), waits)


def _tell_copies(found: Iterable[VolumeHealth]) -> Iterator[Metric]:
    """Total, done and rate of each copy, in the order of _COPIES."""
    values: dict[str, dict[Labels, float]] = {name: {} for name, _ in _COPIES}
    for each in found:
        if (copy := each.rebuild) is not None:
            numbers = (copy.total_bytes, copy.done_bytes, copy.bytes_per_second)
            for (name, _), number in zip(_COPIES, numbers, strict=True):
                values[name][each.volume.name,] = number
    for name, about in _COPIES:
        yield _family(name, about, ("volume",), values[name])


def _tell_pools(survey: Survey) -> Iterator[Metric]:
    """Sums over the pool's disks of each node, in the order of _SIZES."""
    sums: dict[str, Counter[Labels]] = {name: Counter() for name, _ in _SIZES}
    for node, facts in survey.facts.items():
        for group in facts.volume_groups:
            sizes = (group.size_bytes, group.free_bytes, group.reserved_bytes)
            for (name, _), size in zip(_SIZES, sizes, strict=True):
                sums[name][group.pool, node] += size
    for name, about in _SIZES:
        yield _family(name, about, ("pool", "node"), sums[name])


def _tell_nodes(survey: Survey) -> Metric:
    values: dict[Labels, float] = {(name,): int(name in survey.facts) for name in survey.nodes}
    return _family("node_up", "1 when the node's agent answered.", ("node",), values)


def _family(name: str, about: str, labels: tuple[str, ...], values: Mapping[Labels, float]) -> Metric:
    family = GaugeMetricFamily(f"trilith_{name}", about, labels=labels)
    for each, value in sorted(values.items()):
        family.add_metric([str(label) for label in each], value)
    return family
