"""Nodes and disks emptied from the command line."""

import json

import pytest

from replication.control.cordons import Cordon
from replication.model import Volume
from tests.unit.cli.conftest import Cluster


def test_a_node_is_cordoned_and_not_any_more(cluster: Cluster) -> None:
    assert cluster.read("node", "cordon", "m2") == {"cordoned": "m2"}
    assert cluster.read("node", "list")[1]["cordon"] == "cordoned"
    assert "cordoned" in cluster.say("node", "list").splitlines()[2]
    cluster.say("node", "uncordon", "m2")
    assert cluster.control.store.list_cordons() == ()
    cluster.fail(3, "node", "cordon", "m9")


@pytest.mark.usefixtures("volume")
def test_a_drain_says_what_is_left_and_gives_up_in_time(cluster: Cluster) -> None:
    cluster.clock.scripts = [lambda: None] * 9
    result = cluster.run("node", "drain", "m1", "--timeout", "2")
    assert result.exit_code == 7
    assert "m1: 1 replicas left: r0 of data (in_sync)" in result.stdout
    assert "volume data is in use on node m1" in result.stderr
    assert "goes on while" in result.stderr
    assert cluster.control.store.list_cordons() == (Cordon("m1", draining=True),)


def test_a_drain_ends_when_nothing_is_left(cluster: Cluster, volume: Volume) -> None:
    def finish() -> None:
        cluster.control.volumes.detach(volume.id)
        cluster.control.volumes.delete(volume.id)

    cluster.clock.scripts = [finish]
    lines = cluster.say("-o", "json", "disk", "drain", "m2", "/dev/nvme0n1").splitlines()
    assert [len(json.loads(line)["left"]) for line in lines] == [1, 0]
    assert cluster.read("disk", "uncordon", "m2", "/dev/nvme0n1")["node"] == "m2"
    assert "is being drained" in cluster.say("disk", "drain", "m2", "/dev/nvme0n1", "--no-wait")
    assert "is being drained" in cluster.say("node", "drain", "m3", "--no-wait")


def test_a_disk_is_removed_once_it_is_empty_and_taken_again_once_it_is_uncordoned(
    cluster: Cluster, volume: Volume
) -> None:
    place = ("m2", "/dev/nvme0n1")

    def seen() -> tuple[object, ...]:
        (disk,) = cluster.read("disk", "list", "--node", "m2")
        return disk["pool"], disk["cordon"], disk["usable"]

    assert "drain it first: `trilith disk drain m2 /dev/nvme0n1`" in cluster.fail(5, "disk", "remove", *place)
    cluster.say("disk", "drain", *place, "--no-wait")
    assert seen() == ("nvme", "draining", False)
    cluster.control.volumes.detach(volume.id)
    cluster.control.volumes.delete(volume.id)
    assert cluster.read("disk", "remove", *place) == {
        "removed": place[1],
        "node": "m2",
        "cordon": "cordoned",
    }
    assert "is in no pool; uncordon it" in cluster.say("disk", "remove", *place)
    assert seen() == ("", "cordoned", True)
    assert "cordoned" in cluster.say("disk", "list")
    make = ("pool", "create", "nvme", "--node", "m1", "--node", "m2", "--node", "m3")
    assert "it is cordoned: `trilith disk uncordon`" in cluster.fail(5, *make)
    cluster.say("disk", "uncordon", *place)
    cluster.say(*make)
    assert seen() == ("nvme", "", False)


def test_of_a_disk_that_is_not_there_nothing_is_left_to_remove(cluster: Cluster) -> None:
    place = ("m2", "/dev/nvme7n1")
    assert cluster.read("disk", "remove", *place) == {"removed": place[1], "node": "m2", "cordon": ""}
    assert "nothing is kept of it" in cluster.say("disk", "remove", *place)
    cluster.fail(3, "disk", "uncordon", *place)
    cluster.fail(3, "disk", "remove", "m9", place[1])


def test_a_machine_that_is_lost_is_removed_only_when_it_is_silent(cluster: Cluster) -> None:
    assert "answers" in cluster.fail(5, "node", "remove", "m3", "--lost")
    cluster.crash("m3")
    assert cluster.read("node", "remove", "m3", "--lost") == {"removed": "m3"}
    assert cluster.control.store.get_pool("nvme").nodes == ("m1", "m2")
