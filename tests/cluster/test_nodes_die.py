"""A node loses power: its pod runs elsewhere with what it wrote; the node that returns is used again."""

from contextlib import suppress

import pytest

from csi.failover.deciding import Confirm
from hack.bench.figures import Board, Figure, Goal
from hack.helm.chart import NAMESPACE
from hack.kubernetes.installation import Installation
from hack.lab.vm import Machine
from replication.clock import SystemClock
from replication.errors import NotFound, TimedOut
from tests.cluster.pods import PATH, STORAGE_CLASS, Cluster, is_so, make_claim, make_set, of_claim
from tests.cluster.writing import are_redundant

CLOCK = SystemClock()
POD = "db-0"
ELSEWHERE_SECONDS, PLAIN_SECONDS = 300.0, 400.0
LEADERS = 3
GOALS = {Confirm.PEERS: 40.0, Confirm.LEASE: 75.0}


@pytest.mark.timeout(7200)
@pytest.mark.parametrize(
    ("confirm", "times"),
    [
        (Confirm.LEASE, 1),
        pytest.param(Confirm.LEASE, 10, marks=pytest.mark.more),
        pytest.param(Confirm.PEERS, 10, marks=pytest.mark.more),
    ],
)
def test_a_pod_whose_node_loses_power_runs_elsewhere(
    installation: Installation, cluster: Cluster, confirm: Confirm, times: int
) -> None:
    installation.upgrade(f"failover.confirm={confirm}")
    make_user(cluster)
    samples = tuple(fail_over(installation, cluster, f"{confirm} {number}") for number in range(times))
    name = f"pod-elsewhere-after-power-cut-{confirm}-longest-of-{times}"
    Board(f"failover-{confirm}").add(Figure(name, max(samples), "s", Goal("<=", GOALS[confirm]), samples))


@pytest.mark.more
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("confirm", [Confirm.PEERS, Confirm.LEASE])
def test_the_leading_controller_may_have_run_there(
    installation: Installation, cluster: Cluster, confirm: Confirm
) -> None:
    """With its sidecars: another leads, and attaches."""
    installation.upgrade(f"failover.confirm={confirm}")
    make_user(cluster)
    samples = []
    for number in range(LEADERS):
        leader, node = find_leader(cluster)
        bring_to(cluster, POD, node)
        samples.append(fail_over(installation, cluster, f"{confirm} {number}"))
        assert find_leader(cluster)[0] != leader
    name = f"pod-elsewhere-after-power-cut-of-leaders-node-{confirm}-longest-of-{LEADERS}"
    goal = Goal("<=", GOALS[confirm])
    Board(f"failover-leader-{confirm}").add(Figure(name, max(samples), "s", goal, tuple(samples)))


@pytest.mark.more
@pytest.mark.timeout(3600)
def test_without_fail_over_it_does_not(installation: Installation, cluster: Cluster) -> None:
    """What plain Kubernetes makes of it: its pod stays where nobody is."""
    installation.upgrade("failover.enabled=false")
    make_user(cluster)
    machine = cluster.machines[find_runner(cluster, POD)]
    machine.crash()
    began = CLOCK.now()
    with pytest.raises(TimedOut):
        cluster.wait(lambda: find_runner(cluster, POD) not in {"", machine.name}, "elsewhere", PLAIN_SECONDS)
    waited = Figure("plain-kubernetes-pod-not-elsewhere-after", CLOCK.now() - began, "s", Goal(">=", 360.0))
    Board("failover-plain").add(waited)
    bring_back(installation, cluster, machine)


def make_user(cluster: Cluster) -> None:
    cluster.apply(make_claim("db", STORAGE_CLASS), make_set("db", of_claim("db")))
    cluster.wait(lambda: find_runner(cluster, POD) != "", f"{POD} runs")


def bring_to(cluster: Cluster, pod: str, node: str) -> None:
    """As people move pods: the others are cordoned meanwhile."""
    others = [machine.name for machine in cluster.machines.machines if machine.name != node]
    cluster.kubectl.run("cordon", *others)
    if find_runner(cluster, pod) != node:
        cluster.kubectl.run("delete", "pod", pod, "--namespace", cluster.namespace)
    cluster.wait(lambda: find_runner(cluster, pod) == node, f"{pod} on {node}")
    cluster.kubectl.run("uncordon", *others)
    cluster.wait(lambda: are_redundant(cluster), "all replicas in sync")


def find_leader(cluster: Cluster) -> tuple[str, str]:
    """The controller's pod that holds the Lease, and its node; "" for each while there is none."""
    lease = cluster.kubectl.find("leases", "trilith-leader", "--namespace", NAMESPACE)
    name = "" if lease is None else str(lease["spec"]["holderIdentity"]).partition("_")[0]
    pod = cluster.kubectl.find("pods", name, "--namespace", NAMESPACE) if name else None
    return name, "" if pod is None else str(pod["spec"]["nodeName"])


def fail_over(installation: Installation, cluster: Cluster, words: str) -> float:
    """Seconds until the pod ran elsewhere, with its data. All nodes and replicas are there when it ends."""
    cluster.run(POD, f"echo {words} > {PATH}/file && sync")
    machine = cluster.machines[find_runner(cluster, POD)]
    seconds = lose_power(cluster, machine, POD)
    assert cluster.run(POD, f"cat {PATH}/file") == f"{words}\n"
    bring_back(installation, cluster, machine)
    return seconds


def bring_back(installation: Installation, cluster: Cluster, machine: Machine) -> None:
    """Nobody does anything for it but to switch it on."""
    machine.start()
    installation.kubernetes.start_worker(machine)
    installation.kubernetes.wait_node_ready(machine.name)
    cluster.wait(lambda: "taints" not in cluster.get("nodes", machine.name)["spec"], "the node used again")
    cluster.wait(lambda: are_redundant(cluster), "its replica in sync again")


def lose_power(cluster: Cluster, machine: Machine, pod: str) -> float:
    """Seconds until the pod is ready on another one."""
    machine.crash()
    began = CLOCK.now()
    cluster.wait(
        lambda: find_runner(cluster, pod) not in {"", machine.name}, f"{pod} elsewhere", ELSEWHERE_SECONDS
    )
    return CLOCK.now() - began


def find_runner(cluster: Cluster, pod: str) -> str:
    """The node on which it is ready; "" while it is not."""
    with suppress(NotFound):
        found = cluster.get("pods", pod)
        if is_so(found, "Ready"):
            return str(found["spec"]["nodeName"])
    return ""
