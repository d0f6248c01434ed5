"""Nodes are replaced by new ones with empty disks, one after another, as cloud node pools are upgraded."""

import pytest

from hack.kubernetes.installation import Installation
from hack.lab.errors import LabError
from hack.lab.vm import Machine
from tests.cluster.pods import STORAGE_CLASS, Cluster, ephemeral, make_pod
from tests.cluster.writing import are_redundant, writing

DRAIN = ("--ignore-daemonsets", "--delete-emptydir-data")
NEW = "m4"
COPIED_SECONDS = 600.0


@pytest.mark.more
def test_nodes_are_replaced_one_after_another_and_nothing_is_lost(
    installation: Installation, cluster: Cluster
) -> None:
    installation.upgrade("controller.nodeGraceSeconds=20")
    user, machine, other = cluster.machines.machines
    cluster.apply(make_pod("user", ephemeral(STORAGE_CLASS, block=True), node=user.name, block=True))
    cluster.wait_for_condition("user")
    with writing(cluster, "user") as checked:
        for old, new in ((machine.name, NEW), (NEW, machine.name)):
            replace(installation, cluster, machine, old, new)
            refuse_to_drain(cluster, other.name)
            cluster.wait(lambda new=new: new in find_holders(cluster), "a replica there", COPIED_SECONDS)  # type: ignore[misc]
            cluster.wait(lambda: are_redundant(cluster), "the volume whole again", COPIED_SECONDS)
        verdict = checked.finish()
    assert verdict.lost == ()


def replace(installation: Installation, cluster: Cluster, machine: Machine, old: str, new: str) -> None:
    """Drained, deleted, and another one in its place, with new disks."""
    cluster.kubectl.run("drain", old, *DRAIN, "--timeout=500s", timeout=520)
    machine.crash()
    cluster.kubectl.run("delete", "node", old)
    cluster.machines.renew_disks(machine)
    machine.start()
    installation.kubernetes.start_worker(machine, new)
    installation.kubernetes.wait_node_ready(new)


def refuse_to_drain(cluster: Cluster, node: str) -> None:
    """As long as the new one holds nothing yet."""
    with pytest.raises(LabError, match="disruption budget"):
        cluster.kubectl.run("drain", node, *DRAIN, "--timeout=15s")
    cluster.kubectl.run("uncordon", node)


def find_holders(cluster: Cluster) -> set[str]:
    return {replica["node"] for volume in cluster.list("volumes") for replica in volume["spec"]["replicas"]}
