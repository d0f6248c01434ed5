"""Dead nodes, on a real API server: what is written there, in which order, and what is left alone.

Machines are fakes that behave, and nobody reconciles: what Kubernetes' own controllers make of it is in
test_failover_controllers.py.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from csi.failover.deciding import Confirm, Policy
from csi.failover.failover import FailOver
from csi.failover.lookout import Lookout
from csi.failover.objects import ATTACHMENTS, LEASES, NODES
from csi.identity import NAME
from hack.kubernetes.plane import ControlPlane
from replication.clock import SystemClock, wait_until
from replication.kubernetes.access import Json, read_kubeconfig
from replication.kubernetes.client import Client
from replication.model import Attachment
from tests.fakes.behind import StoreBehind
from tests.fakes.node import FakeCluster
from tests.kubernetes.conftest import ACCOUNT
from tests.kubernetes.controllers import running
from tests.kubernetes.failover_stand import (
    SHOP_PODS,
    Kubelets,
    Stand,
    make_namespace,
    make_stand,
    remove_all,
    unique,
)
from tests.kubernetes.patience import patiently

MARK, RETIRED = (
    "trilith.io/failed-over=trilith:NoSchedule",
    "node.kubernetes.io/out-of-service=trilith:NoExecute",
)
POLICY = Policy(silence_seconds=0.2, unrenewed_seconds=1.0, pace_seconds=1.0)
PEERS = replace(POLICY, confirm=Confirm.PEERS)
SECONDS = 30.0
CLOCK = SystemClock()

Open = Callable[..., FailOver]


@pytest.fixture
def stand(admin: Client) -> Iterator[Stand]:
    make_namespace(admin)
    yield make_stand(admin)
    patiently(lambda: remove_all(admin))


@pytest.fixture
def kubelets(stand: Stand) -> Iterator[Kubelets]:
    with Kubelets(stand) as running:
        yield running


@pytest.fixture
def open_failover(plane: ControlPlane, stand: Stand) -> Iterator[Open]:
    """With the rights of the account that is installed; one after another, as leaders are."""
    opened = []

    def open_one(policy: Policy = POLICY, stages: int = 4) -> FailOver:
        client = Client(read_kubeconfig(plane.kubeconfig(ACCOUNT)))
        lookout = Lookout(stand.control.nodes, CLOCK)
        opened.append((client, FailOver(client, stand.control, CLOCK, policy, lookout, stages=stages)))
        return opened[-1][1]

    yield open_one
    for client, failover in opened:
        failover.close()
        client.close()


def step_until(failover: FailOver, condition: Callable[[], bool], what: str) -> None:
    def is_so() -> bool:
        failover.step()
        return condition()

    wait_until(is_so, what, timeout=SECONDS, clock=CLOCK)


def die(stand: Stand, kubelets: Kubelets, node: str) -> None:
    """Its power goes: the machine is silent, and its kubelet renews nothing."""
    stand.fakes.node(node).silent = True
    kubelets.alive.discard(node)


def test_a_dead_nodes_pods_are_freed_of_fenced_volumes(
    stand: Stand, kubelets: Kubelets, open_failover: Open
) -> None:
    volume, elsewhere = stand.attach("data", "a"), stand.attach("other", "b")
    stand.run_pod("db-0", "a", "data")
    stand.run_pod("plain", "a")
    stand.run_pod("apart", "b", "other")
    foreign = "kubernetes.io/csi/csi.example.com^x"
    stand.tell("a", unique(volume), foreign)
    failover = open_failover()
    failover.step()
    assert stand.list_pods() == {"db-0": False, "plain": False, "apart": False}
    die(stand, kubelets, "a")
    stand.tell("a", unique(volume), foreign, ready="Unknown")
    step_until(failover, lambda: RETIRED in stand.read_taints("a"), "a is retired")
    assert stand.list_pods() == {"plain": False, "apart": False}
    assert stand.read_in_use("a") == [foreign]
    assert stand.read_taints("a") == {MARK, RETIRED}
    fenced = stand.control.volumes.get(volume.id)
    assert (fenced.attachment, fenced.consumer) == (Attachment.DETACHED, None)
    assert stand.control.volumes.get(elsewhere.id).consumer == "b"
    assert stand.list_events("a") == ["given-up", "freed"]


def test_nobody_is_freed_of_a_volume_by_a_list_that_is_behind(
    stand: Stand, kubelets: Kubelets, open_failover: Open
) -> None:
    """It was attached meanwhile, so that nothing in the list says that it has to be fenced."""
    assert isinstance(stand.control.store, StoreBehind)
    stand.control.store.fall_behind()
    volume = stand.attach("data", "a")
    stand.run_pod("db-0", "a", "data")
    failover = open_failover(PEERS)
    failover.step()
    die(stand, kubelets, "a")
    step_until(failover, lambda: stand.list_pods() == {}, "the pod is freed")
    assert stand.control.volumes.get(volume.id).consumer is None
    kinds = [event.kind for event in stand.control.events.list(volume.id)]
    assert "fenced" in kinds


def test_a_pod_that_was_put_on_a_node_just_dead_is_freed_too(
    stand: Stand, kubelets: Kubelets, open_failover: Open
) -> None:
    """Nobody knew yet. Its volume has never been there: nothing would end its waiting."""
    volume = stand.make_volume("data", "a")
    failover = open_failover(PEERS)
    failover.step()
    die(stand, kubelets, "a")
    stand.run_pod("db-0", "a", "data")
    stand.make_attachment("pvc-data", "a", NAME, done=False)
    step_until(failover, lambda: stand.list_pods() == {}, "the pod is freed")
    assert stand.read_taints("a") == {MARK}
    assert stand.control.volumes.get(volume.id).epoch == volume.epoch


def test_a_pod_whose_volume_kubernetes_has_detached_is_freed_too(
    stand: Stand, kubelets: Kubelets, open_failover: Open
) -> None:
    """Fail-over was held for longer than Kubernetes waits: nothing else ends a StatefulSet's pod there."""
    stand.make_volume("data", "a")
    stand.bind_claim("data", "pvc-data")
    stand.run_pod("db-0", "a", "data")
    stand.run_pod("plain", "a")
    stand.admin.delete(f"{SHOP_PODS}/db-0")
    failover = open_failover()
    failover.step()
    die(stand, kubelets, "a")
    stand.tell("a", ready="Unknown")
    step_until(failover, lambda: stand.list_pods() == {"plain": False}, "the pod is freed")
    step_until(failover, lambda: stand.read_taints("a") == {MARK, RETIRED}, "a is retired")


def test_the_node_that_returns_is_used_again_by_itself(
    stand: Stand, kubelets: Kubelets, open_failover: Open
) -> None:
    volume = stand.attach("data", "a")
    stand.run_pod("db-0", "a", "data")
    taint = {"key": "mine", "value": "trilith", "effect": "NoSchedule"}
    stand.admin.patch(f"{NODES}/a", [{"op": "add", "path": "/spec/taints", "value": [taint]}])
    failover = open_failover()
    failover.step()
    die(stand, kubelets, "a")
    stand.tell("a", unique(volume), ready="Unknown")
    step_until(failover, lambda: stand.list_pods() == {}, "the pod is freed")
    stand.admin.delete(f"{ATTACHMENTS}/csi-pvc-data")
    stand.fakes.node("a").silent = False
    kubelets.alive.add("a")
    stand.tell("a")
    failover.step()
    assert MARK in stand.read_taints("a"), "its array of an epoch that is over is there still"
    stand.fakes.node("a").boot()
    step_until(failover, lambda: MARK not in stand.read_taints("a"), "a is welcome")
    assert stand.read_taints("a") == {"mine=trilith:NoSchedule"}
    assert stand.list_events("a")[-1] == "welcome"


def test_volumes_of_other_drivers_keep_the_node_in_service(
    stand: Stand, kubelets: Kubelets, open_failover: Open
) -> None:
    stand.attach("data", "a")
    stand.make_attachment("theirs", "a", "csi.example.com")
    stand.run_pod("db-0", "a", "data")
    failover = open_failover()
    failover.step()
    die(stand, kubelets, "a")
    stand.tell("a", ready="Unknown")
    step_until(failover, lambda: stand.list_pods() == {}, "the pod is freed")
    failover.step()
    assert stand.read_taints("a") == {MARK}


@pytest.mark.parametrize("volume", [{"nfs": {"server": "s", "path": "/"}}, None], ids=["inline", "a claim"])
def test_so_do_pods_with_volumes_that_are_never_attached(
    stand: Stand, kubelets: Kubelets, open_failover: Open, volume: Json | None
) -> None:
    """A driver with `attachRequired: false` has no VolumeAttachments: its pods would be replaced unfenced."""
    stand.attach("data", "a")
    stand.run_pod("db-0", "a", "data")
    if volume is None:
        stand.make_claim("share", {"csi": {"driver": "nfs.csi.k8s.io", "volumeHandle": "x"}})
    stand.run_pod("files", "a", *([] if volume else ["share"]), inline=volume)
    failover = open_failover()
    failover.step()
    die(stand, kubelets, "a")
    stand.tell("a", ready="Unknown")
    step_until(failover, lambda: stand.list_pods() == {"files": False}, "the pod with ours is freed")
    failover.step()
    assert stand.read_taints("a") == {MARK}
    stand.admin.delete(f"{SHOP_PODS}/files", grace_seconds=0)
    step_until(failover, lambda: RETIRED in stand.read_taints("a"), "a is retired")


def test_volumes_that_are_the_nodes_own_do_not(stand: Stand, kubelets: Kubelets, open_failover: Open) -> None:
    stand.attach("data", "a")
    stand.run_pod("db-0", "a", "data")
    stand.make_claim("scratch", {"local": {"path": "/scratch"}})
    stand.run_pod("builder", "a", "scratch", inline={"emptyDir": {}})
    failover = open_failover()
    failover.step()
    die(stand, kubelets, "a")
    stand.tell("a", ready="Unknown")
    step_until(failover, lambda: RETIRED in stand.read_taints("a"), "a is retired")


def test_without_the_lease_nothing_happens_unless_the_peers_word_stands(
    stand: Stand, kubelets: Kubelets, open_failover: Open
) -> None:
    """The machine is cut off from us and its peers, and its kubelet is well."""
    stand.attach("data", "a")
    stand.run_pod("db-0", "a", "data")
    careful = open_failover()
    careful.step()
    stand.fakes.node("a").silent = True
    assert "a" in kubelets.alive
    for _ in range(4):
        careful.step()
    assert stand.read_taints("a") == set()
    quick = open_failover(PEERS)
    step_until(quick, lambda: stand.list_pods() == {}, "the pod is freed")
    assert stand.read_taints("a") == {MARK}


def test_a_node_that_a_peer_hears_is_left_alone(
    stand: Stand, kubelets: Kubelets, open_failover: Open
) -> None:
    """Its agent has ended, and its kubelet; the machine and what it writes go on."""
    stand.attach("data", "a")
    failover = open_failover(PEERS)
    failover.step()
    kubelets.alive.discard("a")
    stand.fakes.node("a").ended = True
    for _ in range(4):
        failover.step()
    assert stand.read_taints("a") == set()


def test_a_new_leader_goes_on_where_the_old_one_ended(
    stand: Stand, kubelets: Kubelets, open_failover: Open
) -> None:
    """It was killed after the fence: the record is all that is left of it, and the mark."""
    volume = stand.attach("data", "a")
    stand.run_pod("db-0", "a", "data")
    first = open_failover(stages=1)
    first.step()
    die(stand, kubelets, "a")
    stand.tell("a", unique(volume), ready="Unknown")
    step_until(first, lambda: stand.control.volumes.get(volume.id).consumer is None, "fenced")
    assert stand.list_pods() == {"db-0": False}
    second = open_failover()
    step_until(second, lambda: stand.list_pods() == {}, "the pod is freed")
    assert stand.read_in_use("a") == []


def test_a_node_that_returns_in_the_middle_is_freed_by_its_own_kubelet(
    stand: Stand, kubelets: Kubelets, open_failover: Open
) -> None:
    volume = stand.attach("data", "a")
    stand.run_pod("db-0", "a", "data")
    failover = open_failover(stages=1)
    failover.step()
    die(stand, kubelets, "a")
    step_until(failover, lambda: stand.control.volumes.get(volume.id).consumer is None, "fenced")
    stand.fakes.node("a").boot()
    stand.fakes.node("a").silent = False
    kubelets.alive.add("a")
    stand.tell("a", unique(volume))
    step_until(failover, lambda: stand.list_pods() == {"db-0": True}, "the pod is being deleted")
    assert stand.read_in_use("a") == [unique(volume)]


def test_a_volume_whose_only_copy_is_there_keeps_its_pod(
    stand: Stand, kubelets: Kubelets, open_failover: Open
) -> None:
    alone = stand.attach("alone", "a", replicas=1)
    stand.attach("data", "a")
    stand.run_pod("single", "a", "alone")
    stand.run_pod("db-0", "a", "data")
    stand.run_pod("both", "a", "alone", "data")
    failover = open_failover()
    failover.step()
    die(stand, kubelets, "a")
    step_until(failover, lambda: "db-0" not in stand.list_pods(), "the pod is freed")
    for _ in range(3):
        failover.step()
    assert stand.list_pods() == {"single": False, "both": False}
    assert stand.control.volumes.get(alone.id).consumer == "a"
    assert stand.list_events("a").count("failover-waits") == 1
    stand.fakes.node("a").silent = False
    kubelets.alive.add("a")
    stand.tell("a", unique(alone))
    step_until(failover, lambda: stand.list_pods()["both"], "the pod that lacks a volume is being deleted")
    assert stand.list_pods() == {"single": False, "both": True}


def test_when_most_are_silent_nobody_is_given_up(
    stand: Stand, kubelets: Kubelets, open_failover: Open
) -> None:
    stand.attach("data", "a")
    stand.run_pod("db-0", "a", "data")
    failover = open_failover(PEERS)
    failover.step()
    for node in ("a", "b"):
        die(stand, kubelets, node)
    step_until(failover, lambda: "failover-waits" in stand.list_events("a"), "it is told")
    for _ in range(3):
        failover.step()
    assert stand.read_taints("a") == set()
    assert stand.list_pods() == {"db-0": False}
    assert stand.list_events("a").count("failover-waits") == 1
    assert list(stand.list_events("b")) == [], "it has no volumes"


def test_switched_off_nobody_is_given_up(stand: Stand, kubelets: Kubelets, open_failover: Open) -> None:
    stand.attach("data", "a")
    failover = open_failover(replace(PEERS, enabled=False))
    failover.step()
    die(stand, kubelets, "a")
    step_until(failover, lambda: "failover-waits" in stand.list_events("a"), "it is told")
    for _ in range(3):
        failover.step()
    assert stand.read_taints("a") == set()
    assert stand.list_events("a").count("failover-waits") == 1


def test_a_node_without_a_lease_is_given_up_when_it_is_not_ready(stand: Stand, open_failover: Open) -> None:
    stand.attach("data", "a")
    stand.run_pod("db-0", "a", "data")
    failover = open_failover()
    failover.step()
    stand.fakes.node("a").silent = True
    stand.admin.delete(f"{LEASES}/a")
    for _ in range(3):
        failover.step()
    assert stand.read_taints("a") == set()
    stand.tell("a", ready="Unknown")
    step_until(failover, lambda: stand.list_pods() == {}, "the pod is freed")


def test_the_controller_that_leads_does_it(plane: ControlPlane, admin: Client, tmp_path: Path) -> None:
    make_namespace(admin)
    fakes = FakeCluster(["a", "b", "c"])
    with running(plane, fakes, tmp_path / "csi.sock", failover=PEERS) as replica:
        stand = Stand(admin, fakes, replica.control)
        stand.attach("data", "a")
        stand.run_pod("db-0", "a", "data")
        wait_until(lambda: replica.controller.leads, "it leads", timeout=SECONDS, clock=CLOCK)
        heard = [fakes.node(each).heard for each in "bc"]
        wait_until(lambda: all("a" in each for each in heard), "a is heard", timeout=SECONDS, clock=CLOCK)
        stand.fakes.node("a").silent = True
        wait_until(lambda: stand.list_pods() == {}, "the pod is freed", timeout=SECONDS, clock=CLOCK)
        assert stand.read_taints("a") == {MARK}
    patiently(lambda: remove_all(admin))
