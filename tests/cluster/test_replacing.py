"""Nodes are replaced by new ones with empty disks, one after another, as cloud node pools are upgraded."""

import pytest

from hack.kubernetes.documented import README, get_command
from hack.kubernetes.installation import Installation
from hack.lab.errors import LabError
from hack.lab.vm import Machine
from tests.cluster.pods import STORAGE_CLASS, Cluster, make_claim, make_set, of_claim
from tests.cluster.test_nodes_die import find_runner
from tests.cluster.writing import are_redundant, read_again, writing

DRAIN = ("--ignore-daemonsets", "--delete-emptydir-data")
POD = "db-0"
COPIED_SECONDS = 600.0


@pytest.mark.more
@pytest.mark.timeout(3600)
def test_all_nodes_are_replaced_one_after_another_and_nothing_is_lost(
    installation: Installation, cluster: Cluster
) -> None:
    """The one with the pod is the last, so that somebody writes while the others go."""
    installation.upgrade("controller.nodeGraceSeconds=20")
    claim = make_claim("db", STORAGE_CLASS, volumeMode="Block")
    cluster.apply(claim, make_set("db", of_claim("db"), block=True))
    cluster.wait(lambda: find_runner(cluster, POD) != "", f"{POD} runs")
    first = cluster.machines[find_runner(cluster, POD)]
    second, third = (machine for machine in cluster.machines.machines if machine is not first)
    with writing(cluster, POD, "db") as checked:
        replace(installation, cluster, second)
        refuse_to_drain(cluster, third.name)
        wait_for_copy(cluster, second)
        replace(installation, cluster, third)
        wait_for_copy(cluster, third)
        verdict = checked.finish()
        assert verdict.lost == ()
        old = first.name
        replace(installation, cluster, first)
        cluster.wait(lambda: find_runner(cluster, POD) not in {"", old}, f"{POD} elsewhere")
        wait_for_copy(cluster, first)
        assert read_again(cluster, checked, find_runner(cluster, POD)).lost == ()
    print(f"{verdict.checked} acknowledged writes checked")


def replace(installation: Installation, cluster: Cluster, machine: Machine) -> None:
    """Drained, deleted, and another one in its place: with new disks and a name that was never there."""
    old = machine.name
    place, _, life = old.partition("-")
    new = f"{place}-{int(life or 1) + 1}"
    cluster.kubectl.run("drain", old, *DRAIN, "--timeout=500s", timeout=520)
    machine.crash()
    cluster.kubectl.run("delete", "node", old)
    cluster.machines.renew_disks(machine)
    machine.name = new
    machine.start()
    installation.kubernetes.start_worker(machine)
    installation.kubernetes.wait_node_ready(new)
    cluster.kubectl.run(*get_command(README, "kubectl label")[1:])


def refuse_to_drain(cluster: Cluster, node: str) -> None:
    """As long as the new one holds nothing yet."""
    with pytest.raises(LabError, match="disruption budget"):
        cluster.kubectl.run("drain", node, *DRAIN, "--timeout=15s")
    cluster.kubectl.run("uncordon", node)


def wait_for_copy(cluster: Cluster, machine: Machine) -> None:
    cluster.wait(lambda: machine.name in find_holders(cluster), "a replica there", COPIED_SECONDS)
    cluster.wait(lambda: are_redundant(cluster), "the volume whole again", COPIED_SECONDS)


def find_holders(cluster: Cluster) -> set[str]:
    return {replica["node"] for volume in cluster.list("volumes") for replica in volume["spec"]["replicas"]}
