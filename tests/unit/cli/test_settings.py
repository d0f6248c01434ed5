"""Settings of the cluster and of pools."""

from tests.unit.cli.conftest import Cluster


def test_a_pool_rules_over_the_cluster_and_the_cluster_over_the_default(cluster: Cluster) -> None:
    assert cluster.read("settings", "show")["replacement_delay"] == 600.0
    cluster.say("settings", "set", "--replacement-delay", "30")
    cluster.say("settings", "set", "--pool", "nvme", "--rebuilds-per-node", "5")
    assert cluster.read("settings", "show", "--pool", "nvme")["rebuilds_per_node"] == 5
    lines = cluster.say("settings", "show", "--pool", "nvme").splitlines()
    assert lines[1].split() == ["replacement-delay", "30", "cluster"]
    assert lines[2].split() == ["rebuilds-per-node", "5", "pool", "nvme"]
    cluster.say("settings", "set", "--pool", "nvme", "--unset", "rebuilds-per-node")
    assert cluster.say("settings", "show", "--pool", "nvme").splitlines()[2].split()[1:] == ["2", "default"]


def test_what_makes_no_sense_is_refused(cluster: Cluster) -> None:
    cluster.fail(2, "settings", "set", "--rebuilds-per-node", "0")
    assert "no setting speed" in cluster.fail(2, "settings", "set", "--unset", "speed")
    cluster.fail(3, "settings", "show", "--pool", "none")
