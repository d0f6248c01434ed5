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


def test_a_machine_that_is_lost_is_removed_only_when_it_is_silent(cluster: Cluster) -> None:
    assert "answers" in cluster.fail(5, "node", "remove", "m3", "--lost")
    cluster.crash("m3")
    assert cluster.read("node", "remove", "m3", "--lost") == {"removed": "m3"}
    assert cluster.control.store.get_pool("nvme").nodes == ("m1", "m2")
