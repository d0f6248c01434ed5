"""Pools, volumes and replicas."""

import re

import pytest

from replication.model import GIB, MIB, Attachment, Volume
from tests.unit.cli.conftest import Cluster

NEW = ("volume", "create", "logs", "--pool", "nvme", "--size")


def test_a_pool_is_made_listed_shown_and_deleted(bare: Cluster) -> None:
    nodes = [word for name in ("m1", "m2", "m3") for word in ("--node", name)]
    (made,) = bare.read("pool", "create", "nvme", *nodes)
    assert (made["nodes"], made["replica_count"]) == (["m1", "m2", "m3"], 3)
    assert made["size_bytes"] == 300 * GIB
    assert made["largest_volume_bytes"] == 100 * GIB - 4 * MIB
    assert re.search(r"nvme +3 +m1 m2 m3 +300 GiB +0 B +0 B +300 GiB +99.9 GiB", bare.say("pool", "list"))
    assert [node["node"] for node in bare.read("pool", "show", "nvme")["usage"]] == ["m1", "m2", "m3"]
    assert re.search(r"m2 +/dev/nvme0n1 +vg-m2 +100 GiB", bare.say("pool", "show", "nvme"))
    assert bare.say("pool", "delete", "nvme") == "pool nvme deleted\n"
    bare.fail(3, "pool", "delete", "nvme")


def test_disks_name_their_nodes(bare: Cluster) -> None:
    (made,) = bare.read("pool", "create", "one", "--disk", "m2:/dev/nvme0n1", "--replicas", "1")
    assert made["nodes"] == ["m2"]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (2, ()),
        (2, ("--disk", "m1")),
        (2, ("--disk", "/dev/nvme0n1")),
        (2, ("--disk", "m1:nvme0n1")),
        (2, ("--node", "m1", "--replicas", "2")),
        (3, ("--node", "m9", "--replicas", "1")),
        (5, ("--node", "m1", "--node", "m2")),
        (5, ("--disk", "m1:/dev/sda", "--replicas", "1")),
    ],
)
def test_a_pool_that_cannot_be_is_refused(bare: Cluster, status: int, words: tuple[str, ...]) -> None:
    bare.fail(status, "pool", "create", "p", *words)


def test_a_pool_with_volumes_stays(cluster: Cluster, volume: Volume) -> None:
    assert volume.name in cluster.fail(5, "pool", "delete", "nvme")


def test_a_pool_says_which_node_is_silent(cluster: Cluster) -> None:
    cluster.crash("m2")
    assert "m2: node m2 does not answer" in cluster.say("pool", "list")
    assert "node m2 does not answer" in cluster.say("pool", "show", "nvme")


def test_a_volume_is_made(cluster: Cluster) -> None:
    said = cluster.say(*NEW, "1GiB")
    assert re.fullmatch(r"volume logs \(v[0-9a-f]{16}\) made: 1 GiB, replicas on m1, m2, m3\n", said)
    assert cluster.read(*NEW, "1GiB")["size_bytes"] == GIB


def test_a_volume_may_have_other_replicas_than_its_pool_and_preferred_nodes(cluster: Cluster) -> None:
    made = cluster.read(*NEW, "1GiB", "--replicas", "1", "--prefer", "m2")
    assert [replica["node"] for replica in made["replicas"]] == ["m2"]


@pytest.mark.parametrize(
    ("status", "words", "word"),
    [
        (2, (*NEW, "lots"), "say for example 512MiB"),
        (2, (*NEW, "0"), "say for example 512MiB"),
        (2, (*NEW, "1GiB", "--replicas", "2"), "'2' is not one of"),
        (2, NEW[:-1], "Missing option '--size'"),
        (3, ("volume", "create", "logs", "--pool", "tape", "--size", "1GiB"), "tape"),
        (5, (*NEW, "1GiB", "--replicas", "5"), "5 replicas need 5 nodes"),
        (6, (*NEW, "200GiB"), "larger than the disks"),
    ],
)
def test_a_volume_that_cannot_be_is_refused_and_leaves_nothing(
    cluster: Cluster, status: int, words: tuple[str, ...], word: str
) -> None:
    assert word in cluster.fail(status, *words)
    assert cluster.control.volumes.list() == ()


def test_the_same_name_with_another_size_is_refused(cluster: Cluster) -> None:
    cluster.say(*NEW, "1GiB")
    assert "size is 1073741824, not 2147483648" in cluster.fail(4, *NEW, "2GiB")


def test_no_room_says_where_there_is_how_much(cluster: Cluster) -> None:
    cluster.say(*NEW, "90GiB")
    said = cluster.fail(6, "volume", "create", "more", "--pool", "nvme", "--size", "20GiB")
    assert "m1 10.00 GiB" in said or "m1 9.9" in said
    assert "hint: see the room there is with `trilith pool list`" in said


def test_a_silent_node_makes_creation_unavailable(cluster: Cluster) -> None:
    cluster.crash("m3")
    assert "m3" in cluster.fail(7, *NEW, "1GiB")
    assert cluster.control.volumes.list() == ()


def test_a_volume_is_found_by_name_and_by_id(cluster: Cluster, volume: Volume) -> None:
    assert cluster.read("volume", "show", "data") == cluster.read("volume", "show", volume.id)
    assert re.search(r"attached +m1\n", cluster.say("volume", "show", "data"))


def test_volumes_are_listed_with_their_health(cluster: Cluster, volume: Volume) -> None:
    row = cluster.say("volume", "list").splitlines()[1].split()
    assert row == ["data", volume.id, "nvme", "256", "MiB", "3/3", "redundant", "m1"]
    assert [each["id"] for each in cluster.read("volume", "list")] == [volume.id]


def test_attaching_tells_the_device(cluster: Cluster, volume: Volume) -> None:
    assert cluster.say("volume", "attach", "data", "m1") == f"/dev/md_{volume.id}\n"
    assert cluster.read("volume", "attach", "data", "m1")["device"] == f"/dev/md_{volume.id}"
    assert "m1" in cluster.fail(5, "volume", "attach", "data", "m2")
    cluster.fail(3, "volume", "attach", "data", "m9")
    cluster.fail(3, "volume", "attach", "nothing", "m1")


def test_detaching_can_be_repeated(cluster: Cluster, volume: Volume) -> None:
    for _ in range(2):
        assert cluster.read("volume", "detach", "data")["attachment"] == Attachment.DETACHED
    cluster.say("volume", "attach", volume.id, "m2")


def test_detaching_from_another_node_changes_nothing(cluster: Cluster, volume: Volume) -> None:
    cluster.say("volume", "detach", "data", "--node", "m2")
    assert cluster.control.volumes.get(volume.id).consumer == "m1"


@pytest.mark.usefixtures("volume")
def test_a_volume_grows_and_never_shrinks(cluster: Cluster) -> None:
    assert cluster.read("volume", "expand", "data", "512MiB")["size_bytes"] == 512 * MIB
    assert "never becomes smaller" in cluster.fail(2, "volume", "expand", "data", "256MiB")
    cluster.fail(6, "volume", "expand", "data", "200GiB")
    cluster.fail(2, "volume", "expand", "data", "big")


def test_a_volume_in_use_is_not_deleted(cluster: Cluster, volume: Volume) -> None:
    assert "m1" in cluster.fail(5, "volume", "delete", "data")
    cluster.say("volume", "detach", "data")
    assert cluster.say("volume", "delete", "data") == f"volume data ({volume.id}) deleted\n"
    cluster.fail(3, "volume", "delete", "data")


def test_replicas_are_listed(cluster: Cluster, volume: Volume) -> None:
    cluster.say(*NEW, "1GiB")
    assert len(cluster.read("replica", "list")) == 6
    rows = cluster.read("replica", "list", volume.id)
    assert [(row["replica"], row["state"], row["copy"]) for row in rows] == [
        (f"r{n}", "in_sync", None) for n in range(3)
    ]
    assert re.search(r"data +r0 +m\d +in_sync", cluster.say("replica", "list", "data"))
    cluster.fail(3, "replica", "list", "nothing")
