"""A node loses power: its pod runs elsewhere with what it wrote; the node that returns is used again."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from csi.failover.deciding import Confirm, Policy
from csi.failover.failover import FailOver
from hack.bench.figures import Board, Figure, Goal
from hack.kubernetes.site import ProcessSite
from hack.lab.vm import Machine
from replication.clock import SystemClock
from replication.errors import NotFound
from tests.cluster.conftest import STORAGE_CLASS
from tests.cluster.pods import PATH, Cluster, Json, is_so, make_claim, make_pod, of_claim

CLOCK = SystemClock()
WATCHED_SECONDS = 8.0  # that the leader watches before the power goes: it has to have heard the node once
ELSEWHERE_SECONDS = 300.0
GOALS = {Confirm.PEERS: 40.0, Confirm.LEASE: 75.0}


@pytest.mark.parametrize("confirm", GOALS)
def test_a_pod_whose_node_loses_power_runs_elsewhere(
    site: ProcessSite, cluster: Cluster, confirm: Confirm
) -> None:
    name = f"db-{confirm}"
    pod = f"{name}-0"
    cluster.apply(make_claim(name, STORAGE_CLASS), make_set(name))
    cluster.wait(lambda: find_runner(cluster, pod) != "", f"{pod} runs")
    cluster.run(pod, f"echo {name} > {PATH}/file && sync")
    node = find_runner(cluster, pod)
    with guarding(site, cluster, Policy(confirm=confirm)):
        seconds = lose_power(cluster, site.cluster[node], pod)
        assert cluster.run(pod, f"cat {PATH}/file") == f"{name}\n"
        bring_back(site, site.cluster[node])
        cluster.wait(lambda: "taints" not in cluster.get("nodes", node)["spec"], f"{node} used again")
    cluster.kubectl.run("delete", "statefulset", name)
    goal = Goal("<=", GOALS[confirm])
    Board("failover").add(Figure(f"pod-elsewhere-after-power-cut-{confirm}", seconds, "s", goal))


@contextmanager
def guarding(site: ProcessSite, cluster: Cluster, policy: Policy) -> Iterator[None]:
    """As in a controller that leads."""
    stop = threading.Event()
    failover = FailOver(cluster.client, site.control, CLOCK, policy)
    thread = threading.Thread(target=failover.run, args=(stop,))
    thread.start()
    try:
        CLOCK.sleep(WATCHED_SECONDS)
        yield
    finally:
        stop.set()
        thread.join()


def lose_power(cluster: Cluster, machine: Machine, pod: str) -> float:
    """Seconds until the pod is ready on another one."""
    machine.crash()
    began = CLOCK.now()
    cluster.wait(
        lambda: find_runner(cluster, pod) not in {"", machine.name}, f"{pod} elsewhere", ELSEWHERE_SECONDS
    )
    return CLOCK.now() - began


def bring_back(site: ProcessSite, machine: Machine) -> None:
    machine.start()
    site.start_agent(machine)
    site.kubernetes.start_worker(machine)
    site.start_node(machine)
    site.kubernetes.wait_node_ready(machine)


def make_set(name: str) -> Json:
    """A StatefulSet of one pod, with the claim that is called like it."""
    labels = {"app": name}
    pod = make_pod(name, of_claim(name))
    spec = {
        "selector": {"matchLabels": labels},
        "serviceName": name,
        "template": {"metadata": {"labels": labels}, "spec": {**pod["spec"], "restartPolicy": "Always"}},
    }
    metadata = {"name": name, "namespace": pod["metadata"]["namespace"]}
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": spec}


def find_runner(cluster: Cluster, pod: str) -> str:
    """The node on which it is ready; "" while it is not."""
    with suppress(NotFound):
        found = cluster.get("pods", pod)
        if is_so(found, "Ready"):
            return str(found["spec"]["nodeName"])
    return ""
