"""Health on one screen, rebuilds while they run, and events."""

import json
from dataclasses import replace

import pytest

from replication.control import insync
from replication.control.reconciler import Reconciler
from replication.model import MemberHealth, ReplicaState, Volume
from tests.unit.cli.conftest import Cluster


def lose(cluster: Cluster, volume: Volume) -> str:
    """The id of a remote replica that the record does not count any more."""
    lost = next(replica for replica in volume.replicas if replica.node != "m1")
    cluster.fakes.node("m1").set_health(volume.id, lost.id, MemberHealth.LOST)
    report = cluster.fakes.node("m1").describe().arrays[0]
    Reconciler(cluster.control, cluster.clock).handle("m1", report)
    assert lost.id not in {r.id for r in insync.in_sync(cluster.control.volumes.get(volume.id))}
    return lost.id


def set_state(cluster: Cluster, volume: Volume, replica_id: str, state: ReplicaState) -> None:
    def step(record: Volume) -> Volume:
        changed = (replace(r, state=state) if r.id == replica_id else r for r in record.replicas)
        return replace(record, replicas=tuple(changed))

    cluster.control.records.change(volume.id, step)


@pytest.mark.usefixtures("volume")
def test_a_healthy_cluster(cluster: Cluster) -> None:
    said = cluster.say("status").splitlines()
    assert said[0] == "cluster cluster: healthy"
    assert [line.split()[0] for line in said[1:] if line] == [
        "NODE", "m1", "m2", "m3", "POOL", "nvme", "VOLUME", "data",
    ]  # fmt: skip
    status = cluster.read("status")
    assert (status["cluster"], status["healthy"]) == ("cluster", True)


def test_an_empty_cluster_is_healthy(empty: Cluster) -> None:
    assert empty.say("status") == "cluster cluster: healthy\n"


def test_a_silent_node_needs_attention(cluster: Cluster) -> None:
    cluster.crash("m2")
    said = cluster.say("status")
    assert said.startswith("cluster cluster: needs attention\n")
    assert "node m2 does not answer" in said
    assert cluster.read("status")["nodes"][1]["up"] is False


def test_a_degraded_volume_says_which_replica_and_since_when(cluster: Cluster, volume: Volume) -> None:
    lost = lose(cluster, volume)
    (row,) = (line for line in cluster.say("status").splitlines() if line.startswith("data"))
    assert "degraded, 2 of 3 replicas in sync" in row
    assert f"{lost} on m" in row
    assert "stale since 20" in row
    (degraded,) = cluster.read("status")["volumes"]
    assert (degraded["health"], degraded["missing"][0]["id"]) == ("degraded", lost)


def test_the_status_can_be_watched_until_interrupted(cluster: Cluster) -> None:
    cluster.clock.scripts = [lambda: cluster.crash("m1")]
    lines = [json.loads(line) for line in cluster.say("--output", "json", "status", "--watch").splitlines()]
    assert [line["healthy"] for line in lines] == [True, False]
    assert "needs attention" in cluster.say("status", "--watch")


def test_a_rebuild_is_watched_until_the_volume_is_redundant(cluster: Cluster, volume: Volume) -> None:
    lost = lose(cluster, volume)
    cluster.clock.scripts = [
        lambda: set_state(cluster, volume, lost, ReplicaState.REBUILDING),
        lambda: None,
        lambda: set_state(cluster, volume, lost, ReplicaState.IN_SYNC),
    ]
    assert cluster.say("volume", "watch", "data").splitlines() == [
        "volume data: degraded, 2 of 3 replicas in sync",
        "volume data: rebuilding, 2 of 3 replicas in sync",
        "volume data: redundant, 3 of 3 replicas in sync",
    ]


def test_a_rebuild_is_watched_by_programs(cluster: Cluster, volume: Volume) -> None:
    lost = lose(cluster, volume)
    cluster.clock.scripts = [lambda: set_state(cluster, volume, lost, ReplicaState.IN_SYNC)]
    lines = cluster.say("--output", "json", "volume", "watch", volume.id).splitlines()
    assert [json.loads(line)["in_sync"] for line in lines] == [2, 3]


def test_watching_ends_at_its_deadline(cluster: Cluster, volume: Volume) -> None:
    lose(cluster, volume)
    cluster.clock.scripts = [lambda: None] * 5
    said = cluster.fail(7, "volume", "watch", "data", "--timeout", "3")
    assert "volume data: still degraded, 2 of 3 replicas in sync after 3 s" in said


def test_events_are_shown_oldest_first_with_the_volumes_name(cluster: Cluster, volume: Volume) -> None:
    kinds = [event["kind"] for event in cluster.read("events", "data")]
    assert kinds.index("created") < kinds.index("attached") == len(kinds) - 1
    assert cluster.read("events", volume.id) == cluster.read("events", "data")
    assert len(cluster.read("events", "--limit", "1")) == 1
    assert all(line.split()[2] == "data" for line in cluster.say("events", "data").splitlines()[1:])


def test_events_of_what_never_was_are_none(cluster: Cluster) -> None:
    assert cluster.read("events", "nothing") == []


@pytest.mark.usefixtures("volume")
def test_events_are_followed_each_once(cluster: Cluster) -> None:
    def write() -> None:
        cluster.control.events.write("m9", "greeted", "hello")
        cluster.control.events.write("m9", "greeted", "again")

    before = len(cluster.read("events"))
    cluster.clock.scripts = [write, lambda: None]
    events = [json.loads(line) for line in cluster.say("--output", "json", "events", "-f").splitlines()]
    assert [event["message"] for event in events[before:]] == ["hello", "again"]
    assert cluster.say("events", "m9", "--follow").splitlines()[-1].endswith("m9  greeted  again")


def test_in_a_terminal_a_rebuild_has_a_bar(
    cluster: Cluster, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    lost = lose(cluster, volume)
    cluster.clock.scripts = [lambda: set_state(cluster, volume, lost, ReplicaState.IN_SYNC)]
    said = cluster.say("volume", "watch", "data")
    assert "━" in said
    assert "redundant, 3 of 3 replicas in sync" in said
    assert "healthy" in cluster.say("status")
