"""What else happens to a cluster: a controller dies, the API server is away, a node is drained."""

import pytest

from hack.helm.chart import NAMESPACE
from hack.kubernetes.installation import Installation
from tests.cluster.pods import (
    PATH,
    STORAGE_CLASS,
    Cluster,
    ephemeral,
    make_claim,
    make_pod,
    make_set,
    of_claim,
)
from tests.cluster.remains import find_left
from tests.cluster.test_nodes_die import find_leader, find_runner
from tests.cluster.writing import are_redundant, writing

AWAY_SECONDS = 60.0
PODS = 6


@pytest.mark.more
def test_volumes_are_made_though_the_leading_controller_dies(cluster: Cluster) -> None:
    cluster.apply(*(make_pod(f"p{number}", ephemeral(STORAGE_CLASS, "16Mi")) for number in range(PODS)))
    cluster.wait(lambda: cluster.list("volumes") != [], "the first volume")
    leader, _ = find_leader(cluster)
    cluster.kubectl.run("delete", "pod", leader, "--namespace", NAMESPACE, "--grace-period=0", "--force")
    cluster.wait_for_all_ready(PODS, 600.0)
    assert len(cluster.list("volumes")) == PODS
    assert find_leader(cluster)[0] not in {leader, ""}
    cluster.clean()
    cluster.wait(lambda: not list(find_left(cluster)), "nothing left")


@pytest.mark.more
def test_writes_wait_for_the_api_server_when_a_replica_is_lost(
    installation: Installation, cluster: Cluster
) -> None:
    plane = installation.kubernetes.plane
    user, replica = (cluster.machines[name] for name in ("m1", "m2"))
    cluster.apply(make_pod("user", ephemeral(STORAGE_CLASS, block=True), node=user.name, block=True))
    cluster.wait_for_condition("user")
    with writing(cluster, "user") as checked:
        plane.apiserver.kill()
        replica.cut_from(user.address)
        checked.wait_until_waiting()
        checked.assert_waiting(AWAY_SECONDS)
        plane.apiserver.start()
        plane.wait_ready()
        checked.wait_for_writes(100, timeout=300)
        replica.heal_from()
        cluster.wait(lambda: are_redundant(cluster), "the replica in sync again")
        verdict = checked.finish()
    assert verdict.lost == ()


@pytest.mark.more
def test_a_drained_node_gives_its_pod_away(cluster: Cluster) -> None:
    cluster.apply(make_claim("db", STORAGE_CLASS), make_set("db", of_claim("db")))
    cluster.wait(lambda: find_runner(cluster, "db-0") != "", "db-0 runs")
    cluster.run("db-0", f"echo kept > {PATH}/file && sync")
    node = find_runner(cluster, "db-0")
    cluster.kubectl.run(
        *("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=500s"), timeout=520
    )
    cluster.wait(lambda: find_runner(cluster, "db-0") not in {"", node}, "db-0 elsewhere")
    assert cluster.run("db-0", f"cat {PATH}/file") == "kept\n"
    cluster.kubectl.run("uncordon", node)
    cluster.wait(lambda: are_redundant(cluster), "all replicas in sync")
