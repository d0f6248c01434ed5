"""Replicas compared and made equal from the command line."""

import json
from collections.abc import Callable

from replication.model import Volume
from tests.unit.cli.conftest import Cluster


def end(cluster: Cluster, volume: Volume, mismatched: int) -> Callable[[], None]:
    """The check or repair under way ends."""

    def script() -> None:
        array = cluster.fakes.node("m1").arrays[volume.id]
        array.activity, array.mismatched_bytes = "idle", mismatched

    return script


def test_equal_replicas_are_compared_once(cluster: Cluster, volume: Volume) -> None:
    cluster.clock.scripts = [end(cluster, volume, 0)]
    said = cluster.say("volume", "scrub", "data")
    assert said.splitlines() == [
        "volume data: check 0.0 %, 0 B/s, 0 B different",
        "volume data: check 100.0 %, 0 B different",
    ]
    assert cluster.fakes.node("m1").calls.count("scrub") == 1


def test_what_differs_is_made_equal_and_compared_again(cluster: Cluster, volume: Volume) -> None:
    cluster.clock.scripts = [end(cluster, volume, n) for n in (4096, 4096, 0)]
    lines = [json.loads(line) for line in cluster.say("-o", "json", "volume", "scrub", "data").splitlines()]
    ended = [(line["doing"], line["mismatched_bytes"]) for line in lines if line["ended"]]
    assert ended == [("check", 4096), ("repair", 4096), ("check", 0)]


def test_what_differs_is_an_error_when_nothing_is_to_be_changed(cluster: Cluster, volume: Volume) -> None:
    cluster.clock.scripts = [end(cluster, volume, 4096)]
    assert "4 KiB differ" in cluster.fail(9, "volume", "scrub", "data", "--check-only")
    cluster.control.volumes.detach(volume.id)
    assert "only what is in use" in cluster.fail(5, "volume", "scrub", "data")
