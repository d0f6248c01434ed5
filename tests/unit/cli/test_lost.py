"""A volume that is lost, and one whose writes wait for replicas, as people see them."""

from dataclasses import replace

from replication.cli.watch import describe, to_plain
from replication.control.redundancy import Health, find_waits, judge_volume
from replication.model import MemberHealth, Volume
from tests.unit.cli.conftest import Cluster
from tests.unit.control.records import detached, report
from tests.unit.control.records import volume as record

GOOD, LOST = MemberHealth.GOOD, MemberHealth.LOST


def test_it_is_said_what_writes_wait_for() -> None:
    held = replace(report(GOOD, LOST, LOST), held_seconds=9.0)
    health = judge_volume(record("iii", min_in_sync=2), [held])
    assert health.health is Health.WAITING
    assert health.waits_for == "for 1 of r1 on b, r2 on c (min-in-sync-replicas is 2)"
    assert health.waits_for in describe(health)
    assert to_plain(health)["waits_for"] == health.waits_for
    assert find_waits(record("iii"), report(GOOD, LOST, LOST)) == ""


def test_a_lost_volume_says_which_replicas_are_gone_and_since_when() -> None:
    health = judge_volume(detached("iss", lost_since=60.0), [])
    assert health.health is Health.LOST
    assert "since 1970-01-01 00:01:00Z: r0 on a" in describe(health)


def test_data_is_given_up_by_word_only(cluster: Cluster, volume: Volume) -> None:
    said = cluster.fail(2, "volume", "recover", volume.name, "--from", "r1")
    assert (
        "what the disk of replica r1 has refused, or never had, will be lost: say --accept-data-loss" in said
    )
    said = cluster.fail(5, "volume", "recover", volume.name, "--from", "r1", "--accept-data-loss")
    assert "is not lost" in said
    cluster.fail(3, "volume", "recover", volume.name, "--from", "r9", "--accept-data-loss")
    cluster.control.volumes.detach(volume.id)
    set_lost(cluster, volume)
    assert "when replica r1 went stale, will be lost" in cluster.fail(
        2, "volume", "recover", volume.name, "--from", "r1"
    )
    said = cluster.fail(5, "volume", "recover", volume.name, "--from", "r1", "--accept-data-loss")
    assert "r0 on node m1 is back, attach it" in said
    cluster.fakes.node("m1").replicas.clear()
    assert cluster.read("volume", "recover", volume.name, "--from", "r1", "--accept-data-loss")["epoch"] == 2


def set_lost(cluster: Cluster, volume: Volume) -> None:
    def step(found: Volume) -> Volume:
        states = ("in_sync", "stale", "stale")
        stale = detached("iss").replicas[1].state
        kept = (
            r if s == "in_sync" else replace(r, state=stale)
            for r, s in zip(found.replicas, states, strict=True)
        )
        return replace(found, lost_since=5.0, replicas=tuple(kept))

    cluster.control.records.change(volume.id, step)
