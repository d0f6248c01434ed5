"""A fourth node joins: first without a disk pool, then with one, which is needed when another node dies."""

import json
from collections import Counter
from collections.abc import Iterator

import pytest

from csi.identity import NAME
from hack.bench.figures import Board, Figure, Goal
from hack.helm.chart import NAMESPACE
from hack.kubernetes.documented import README, get_command
from hack.kubernetes.installation import Installation
from hack.kubernetes.joining import joined
from hack.lab.vm import Machine
from replication.clock import SystemClock
from tests.cluster.pods import (
    POOL,
    STORAGE_CLASS,
    Cluster,
    Json,
    ephemeral,
    is_so,
    make_claim,
    make_pod,
    of_claim,
)
from tests.cluster.test_nodes_die import bring_back
from tests.cluster.test_replacing import COPIED_SECONDS, find_holders
from tests.cluster.writing import are_redundant, writing

CLOCK = SystemClock()
TIMES = 20
DELAY_SECONDS = 20
CONTROLLER = "deployment/trilith-controller"


@pytest.fixture(scope="module")
def fourth(installation: Installation, whole: Cluster) -> Iterator[Machine]:
    """Volumes can be used there, and are nowhere but on the other three. In the end it has left for good."""
    installation.upgrade("controller.nodeGraceSeconds=20")
    with joined(installation.kubernetes) as machine:
        whole.wait(lambda: has_driver(whole, machine.name), "our driver there")
        yield machine
    whole.wait(lambda: machine.name not in list_known(whole), "it forgotten")


@pytest.fixture
def hasty(cluster: Cluster) -> Iterator[None]:
    """Who is away is replaced soon."""
    change_settings(cluster, "--replacement-delay", str(DELAY_SECONDS))
    yield
    change_settings(cluster, "--unset", "replacement-delay")


@pytest.mark.more
@pytest.mark.timeout(3600)
def test_pods_land_beside_their_replicas_when_their_class_says_so(cluster: Cluster, fourth: Machine) -> None:
    """The fourth node has least to do, and the scheduler likes that."""
    near, far = (land(cluster, fourth, hyperconverged=wanted) for wanted in (True, False))
    assert sum(near.values()) == sum(far.values()) == TIMES
    assert near[fourth.name] == 0


def land(cluster: Cluster, empty: Machine, *, hyperconverged: bool) -> Counter[str]:
    """By node, how often a pod that uses the same claim again and again was put there."""
    name = "near" if hyperconverged else "far"
    make_class(cluster, name, hyperconverged=hyperconverged)
    cluster.apply(make_claim(name, name), make_pod(f"{name}-first", of_claim(name)))
    cluster.wait_for_condition(f"{name}-first")
    holders = find_holders(cluster)
    assert len(holders) == 3
    assert empty.name not in holders
    cluster.delete("pods", f"{name}-first")
    landings = Counter(put(cluster, name, number, holders) for number in range(TIMES))
    beside = sum(landings[node] for node in holders)
    goal = Goal(">=", TIMES) if hyperconverged else Goal("<=", TIMES)
    board = Board(f"landings-{name}")
    board.add(Figure(f"pods-beside-a-replica-of-{TIMES}-{name}", beside, "pods", goal))
    board.note(f"  {dict(landings)}, replicas on {', '.join(sorted(holders))}")
    cluster.clean()
    cluster.delete("storageclasses", name)
    return landings


def put(cluster: Cluster, name: str, number: int, holders: set[str]) -> str:
    """Where the scheduler put one: it need not run."""
    pod = f"{name}-{number}"
    cluster.apply(make_pod(pod, of_claim(name)))
    cluster.wait(lambda: "nodeName" in cluster.get("pods", pod)["spec"], f"a node for {pod}")
    spec = cluster.get("pods", pod)["spec"]
    assert find_drawn(spec) == (sorted(holders) if name == "near" else [])
    cluster.client.delete(f"/api/v1/namespaces/{cluster.namespace}/pods/{pod}", grace_seconds=0)
    return str(spec["nodeName"])


def find_drawn(spec: Json) -> list[str]:
    """The nodes that the pod prefers to all others; none when it prefers none."""
    affinity = spec.get("affinity", {}).get("nodeAffinity", {})
    terms = affinity.get("preferredDuringSchedulingIgnoredDuringExecution", [])
    named = Counter(node for term in terms for node in term["preference"]["matchExpressions"][0]["values"])
    weight = max(named.values(), default=0)
    return sorted(node for node, points in named.items() if points == weight)


@pytest.mark.more
@pytest.mark.usefixtures("hasty")
@pytest.mark.timeout(3600)
def test_a_replica_whose_node_never_comes_back_is_made_again_on_the_node_that_joined(
    installation: Installation, cluster: Cluster, fourth: Machine
) -> None:
    """Nobody drained it, and a pod writes. What the dead node had is counted until its Node is deleted."""
    user, lost, other = cluster.machines.machines[:3]
    cluster.apply(make_pod("user", ephemeral(STORAGE_CLASS, block=True), node=user.name, block=True))
    cluster.wait_for_condition("user")
    assert find_holders(cluster) == {user.name, lost.name, other.name}
    cluster.kubectl.run(*get_command(README, "kubectl label")[1:])
    cluster.wait(lambda: has_disk_pool(cluster, fourth.name), "a disk pool there")
    with writing(cluster, "user") as checked:
        checked.collector.restart_stall_watch()
        lost.crash()
        began = CLOCK.now()
        wanted = {user.name, other.name, fourth.name}
        cluster.wait(lambda: find_in_sync(cluster) == wanted, "the replica elsewhere", COPIED_SECONDS)
        whole_again, stall = CLOCK.now() - began, checked.collector.stall()
        cluster.kubectl.run("delete", "node", lost.name)
        cluster.wait(lambda: find_holders(cluster) == wanted, "the dead one's replica forgotten")
        cluster.wait(lambda: are_redundant(cluster), "the volume to say that it is whole")
        verdict = checked.finish()
    Board("joining").add_all(
        [
            Figure("three-in-sync-after-a-nodes-loss", whole_again, "s", Goal("<=", DELAY_SECONDS + 120.0)),
            Figure("longest-stall-by-it", stall, "s", Goal("<=", 5.0)),
        ]
    )
    print(f"{verdict.checked} acknowledged writes checked")
    assert verdict.lost == ()
    cluster.clean()
    cluster.machines.renew_disks(lost)
    bring_back(installation, cluster, lost)
    cluster.kubectl.run(*get_command(README, "kubectl label")[1:])
    cluster.wait(lambda: has_disk_pool(cluster, lost.name), "another machine in its place")


def find_in_sync(cluster: Cluster) -> set[str]:
    (volume,) = cluster.list("volumes")
    return {replica["node"] for replica in volume["spec"]["replicas"] if replica["state"] == "in_sync"}


def make_class(cluster: Cluster, name: str, *, hyperconverged: bool) -> None:
    cluster.apply(
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": name},
            "provisioner": NAME,
            "parameters": {"pool": POOL, "hyperconverged": json.dumps(hyperconverged)},
            "volumeBindingMode": "WaitForFirstConsumer",
        }
    )


def change_settings(cluster: Cluster, *words: str) -> None:
    command = ("exec", CONTROLLER, "--namespace", NAMESPACE, "--", "trilith", "settings", "set")
    cluster.kubectl.run(*command, *words)


def has_driver(cluster: Cluster, node: str) -> bool:
    found = [each for each in cluster.list("csinodes") if each["metadata"]["name"] == node]
    return any(driver["name"] == NAME for each in found for driver in each["spec"].get("drivers") or ())


def list_known(cluster: Cluster) -> set[str]:
    """All nodes that Trilith thinks of."""
    return {found["spec"]["name"] for found in cluster.kubectl.get("noderecords")}


def has_disk_pool(cluster: Cluster, node: str) -> bool:
    found = cluster.kubectl.get("diskpools", "--namespace", NAMESPACE)
    return any(each["spec"]["node"] == node and is_so(each, "Ready") for each in found)
