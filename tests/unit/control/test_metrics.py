"""What a Prometheus server is told, over HTTP as it asks."""

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from prometheus_client.parser import text_string_to_metric_families

from replication.clock import SystemClock
from replication.control.control import Control
from replication.control.metrics import Metrics, parse_address, serve_metrics
from replication.control.reconciler import Reconciler
from replication.control.survey import Survey
from replication.control.volumes import VolumeRequest
from replication.errors import InvalidRequest
from replication.model import GIB, MIB, ArrayReport, MemberHealth, MemberReport, NodeFacts, VolumeGroup
from tests.unit.control.records import volume
from tests.unit.control.test_volumes import make

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@contextmanager
def served(metrics: Metrics) -> Iterator[str]:
    server = serve_metrics(metrics, ("127.0.0.1", 0))
    try:
        yield f"http://127.0.0.1:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()


def scrape(url: str) -> Samples:
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - our own server
        text = answer.read().decode()
    families = text_string_to_metric_families(text)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def read(metrics: Metrics) -> Samples:
    with served(metrics) as url:
        return scrape(url)


def look_at(control: Control) -> Samples:
    reconciler = Reconciler(control, SystemClock())
    reconciler.run_once()
    return read(reconciler.metrics)


def test_before_the_first_look_nothing_is_made_up() -> None:
    assert read(Metrics(SystemClock())) == {("trilith_longest_wait_seconds", ()): 0.0}


def test_volumes_replicas_pools_and_nodes_are_counted() -> None:
    cluster, control = make(["a", "b", "c", "d"])
    made = control.volumes.create(VolumeRequest("data", GIB, "nvme", preferred_nodes=("a", "b", "c")))
    control.volumes.attach(made.id, "a")
    cluster.node("d").silent = True
    told = look_at(control)
    assert told["trilith_volumes", (("health", "redundant"),)] == 1
    assert told["trilith_volumes", (("health", "lost"),)] == 0
    assert told["trilith_replicas", (("state", "in_sync"),)] == 3
    assert told["trilith_node_up", (("node", "a"),)] == 1
    assert told["trilith_node_up", (("node", "d"),)] == 0
    where = (("node", "a"), ("pool", "nvme"))
    assert told["trilith_pool_capacity_bytes", where] > told["trilith_pool_available_bytes", where] > 0
    assert 0 <= told["trilith_look_age_seconds", ()] < 60


def test_a_stale_replica_makes_a_volume_degraded() -> None:
    cluster, control = make()
    made = control.volumes.create(VolumeRequest("data", GIB, "nvme"))
    cluster.node("c").silent = True
    control.volumes.attach(made.id, "a")
    told = look_at(control)
    assert told["trilith_volumes", (("health", "degraded"),)] == 1
    assert told["trilith_replicas", (("state", "stale"),)] == 1


def survey(report: ArrayReport, groups: tuple[VolumeGroup, ...] = ()) -> Survey:
    facts = NodeFacts("a", "cluster", "boot-1", "", True, (), groups, (), (report,))
    return Survey(frozenset({"a"}), {"a": facts}, {"v0": volume("iir")}, (), {}, SystemClock().now())


def test_a_copy_and_the_writes_that_wait_are_told_of_by_their_volume() -> None:
    metrics = Metrics(SystemClock())
    members = (MemberReport("r0", MemberHealth.GOOD), MemberReport("r2", MemberHealth.RECOVERING))
    report = ArrayReport("v0", 1, 0, members, True, 2.5, 100 * MIB, 25 * MIB, MIB)
    metrics.note(survey(report))
    told, label = read(metrics), (("volume", "data"),)
    assert told["trilith_rebuild_total_bytes", label] == 100 * MIB
    assert told["trilith_rebuild_done_bytes", label] == 25 * MIB
    assert told["trilith_rebuild_bytes_per_second", label] == MIB
    assert told["trilith_volume_wait_seconds", label] == 2.5


def test_disks_of_a_node_are_added_up_by_pool() -> None:
    metrics = Metrics(SystemClock())
    groups = tuple(
        VolumeGroup(f"vg{number}", pool, f"/dev/{number}", 10, 4, 1)
        for number, pool in enumerate(("fast", "fast", "slow"))
    )
    metrics.note(survey(ArrayReport("v0", 1, 0, (), resync_done=True), groups))
    told = read(metrics)
    fast, slow = (("node", "a"), ("pool", "fast")), (("node", "a"), ("pool", "slow"))
    assert (told["trilith_pool_capacity_bytes", fast], told["trilith_pool_capacity_bytes", slow]) == (20, 10)
    assert told["trilith_pool_available_bytes", fast] == 8
    assert told["trilith_pool_reserved_bytes", fast] == 2


def test_the_longest_wait_outlives_the_report_of_it() -> None:
    metrics = Metrics(SystemClock())
    for held in (0.0, 4.5, 1.0):
        metrics.note_report(ArrayReport("v0", 1, 0, (), resync_done=True, held_seconds=held))
    assert read(metrics)["trilith_longest_wait_seconds", ()] == 4.5


@pytest.mark.parametrize(
    ("text", "address"), [("127.0.0.1:9810", ("127.0.0.1", 9810)), ("[::1]:0", ("::1", 0))]
)
def test_an_address_has_a_host_and_a_port(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "9810", ":9810", "localhost:", "localhost:http", "localhost:99999"])
def test_what_is_no_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"HOST:PORT, like 127\.0\.0\.1:9810"):
        parse_address(text)


def test_an_address_in_use_is_refused() -> None:
    server = serve_metrics(Metrics(SystemClock()), ("127.0.0.1", 0))
    try:
        with pytest.raises(
            InvalidRequest, match=r"cannot be served at 127\.0\.0\.1:[0-9]+: Address already in use"
        ):
            serve_metrics(Metrics(SystemClock()), ("127.0.0.1", server.server_port))
    finally:
        server.shutdown()
        server.server_close()
