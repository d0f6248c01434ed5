"""Nodes that are drained by the real kubectl, and the real disruption controller that counts guards."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hack.golang import ensure_program
from hack.kubernetes.arguments import controller_manager_argv
from hack.kubernetes.build import CONTROLLER_MANAGER, KUBECTL
from hack.kubernetes.kubectl import Kubectl
from hack.kubernetes.plane import ControlPlane
from hack.lab.errors import LabError
from replication.clock import wait_until
from replication.control.control import Control
from replication.control.insync import in_sync
from replication.control.volumes import VolumeRequest
from replication.kubernetes.client import Client
from replication.model import GIB, MemberHealth, Volume
from tests.kubernetes.machines import Machines
from tests.kubernetes.patience import CLOCK, wait_for
from tests.kubernetes.test_operator_pools import POOLS, cluster, make_pool, wait_for_condition

BUDGETS = "/apis/policy/v1/namespaces/trilith/poddisruptionbudgets"
DRAIN = ("--ignore-daemonsets", "--delete-emptydir-data")


@pytest.fixture(scope="module")
def kubectl(plane: ControlPlane) -> Iterator[Kubectl]:
    """Beside it runs, of all that a controller manager does, what has to do with budgets."""
    kubeconfig = plane.kubeconfig("system:kube-controller-manager")
    argv = controller_manager_argv(ensure_program(CONTROLLER_MANAGER), plane.folder, kubeconfig)
    manager = plane.daemon("disruption", [*argv, "--controllers=disruption-controller", "--secure-port=0"])
    manager.start()
    yield Kubectl(ensure_program(KUBECTL), plane.admin_kubeconfig)
    manager.end()


@contextmanager
def guarded(
    plane: ControlPlane, admin: Client, names: list[str], tmp_path: Path, replicas: int = 3
) -> Iterator[tuple[Machines, Control, Volume]]:
    """A pool on all nodes, whose guards run, and a volume in it."""
    with cluster(plane, admin, names, tmp_path) as (machines, replica), kubelets(machines):
        make_pool(admin, replicas=replicas)
        wait_for_condition(admin, {"status": "True"})
        volume = replica.control.volumes.create(VolumeRequest("data", GIB, "nvme"))
        wait_for(machines.run_guards, names)
        wait_for(lambda: [counted(admin, node) for node in names], [(1, 1)] * len(names))
        yield machines, replica.control, volume


@contextmanager
def kubelets(machines: Machines) -> Iterator[None]:
    """What runs on nodes runs, until the block ends."""
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.5):
            machines.run_guards()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def counted(admin: Client, node: str) -> tuple[int, int]:
    """Guards that there have to be, and that there are."""
    status = admin.get(f"{BUDGETS}/trilith-guard-{node}").get("status") or {}
    return status.get("desiredHealthy", -1), status.get("currentHealthy", -1)


def waits_for(admin: Client, node: str) -> str:
    found = admin.get(f"{BUDGETS}/trilith-guard-{node}")
    return str(found["metadata"]["annotations"]["trilith.io/waits-for"])


def nodes_in_sync(control: Control, volume: Volume) -> list[str]:
    return sorted(r.node for r in in_sync(control.volumes.get(volume.id)))


def cordons(control: Control) -> dict[str, bool]:
    """Whether they drain."""
    return {cordon.name: cordon.draining for cordon in control.store.list_cordons()}


def test_a_drain_goes_through_and_the_next_waits_for_redundancy(
    plane: ControlPlane, admin: Client, tmp_path: Path, kubectl: Kubectl
) -> None:
    with guarded(plane, admin, ["m1", "m2", "m3"], tmp_path) as (machines, control, volume):
        kubectl.run("drain", "m1", *DRAIN, "--timeout=60s")
        assert cordons(control) == {"m1": False}
        with pytest.raises(LabError, match="violate the pod's disruption budget"):
            kubectl.run("drain", "m2", *DRAIN, "--timeout=12s")
        assert waits_for(admin, "m2") == "volume data: 1 in sync on nodes that stay, 2 needed"
        assert nodes_in_sync(control, volume) == ["m1", "m2", "m3"]
        assert machines.run_guards() == ["m2", "m3"]

        kubectl.run("uncordon", "m1")
        wait_for(machines.run_guards, ["m1", "m2", "m3"])
        machines.remove_pod("m3")
        wait_for(lambda: cordons(control), {"m2": False})
        kubectl.run("drain", "m2", *DRAIN, "--timeout=60s")
        assert counted(admin, "m3") == (1, 1)  # an agent that is being replaced changes nothing
        assert cordons(control) == {"m2": False}


def test_a_degraded_volume_keeps_the_nodes_that_it_needs(
    plane: ControlPlane, admin: Client, tmp_path: Path, kubectl: Kubectl
) -> None:
    with guarded(plane, admin, ["m1", "m2", "m3"], tmp_path) as (machines, control, volume):
        control.volumes.attach(volume.id, "m1")
        lost = next(r for r in volume.replicas if r.node == "m3")
        machines.fakes.node("m3").silent = True
        machines.fakes.node("m1").set_health(volume.id, lost.id, MemberHealth.LOST)
        wait_for(lambda: nodes_in_sync(control, volume), ["m1", "m2"])
        with pytest.raises(LabError, match="violate the pod's disruption budget"):
            kubectl.run("drain", "m2", *DRAIN, "--timeout=12s")
        machines.fakes.node("m3").silent = False
        wait_until(lambda: bool(machines.fakes.node("m1").rejoined), "brought back", timeout=60, clock=CLOCK)
        machines.fakes.node("m1").set_health(volume.id, lost.id, MemberHealth.RECOVERED)
        kubectl.run("drain", "m2", *DRAIN, "--timeout=60s")


def test_a_dead_node_is_drained_when_what_it_had_is_elsewhere(
    plane: ControlPlane, admin: Client, tmp_path: Path, kubectl: Kubectl
) -> None:
    """Its guard is not ready any more, and no kubelet ends it."""
    with guarded(plane, admin, ["m1", "m2", "m3"], tmp_path) as (machines, _, _):
        machines.fakes.node("m3").silent = True
        machines.lose_kubelet("m3")
        wait_for(lambda: counted(admin, "m3"), (1, 0))
        kubectl.run("drain", "m3", *DRAIN, "--timeout=60s")
        assert machines.run_guards() == ["m1", "m2"]


def test_a_volume_of_one_replica_keeps_its_node_until_it_is_deleted_or_somebody_insists(
    plane: ControlPlane, admin: Client, tmp_path: Path, kubectl: Kubectl
) -> None:
    with guarded(plane, admin, ["m1"], tmp_path, replicas=1) as (machines, control, volume):
        with pytest.raises(LabError, match="violate the pod's disruption budget"):
            kubectl.run("drain", "m1", *DRAIN, "--timeout=12s")
        assert waits_for(admin, "m1") == "volume data: 0 in sync on nodes that stay, 1 needed"
        kubectl.run("annotate", "node", "m1", "trilith.io/unguarded=true")
        kubectl.run("drain", "m1", *DRAIN, "--timeout=60s")
        kubectl.run("uncordon", "m1")
        kubectl.run("annotate", "node", "m1", "trilith.io/unguarded-")
        wait_for(machines.run_guards, ["m1"])
        control.volumes.delete(volume.id)
        kubectl.run("drain", "m1", *DRAIN, "--timeout=60s")
        wait_for(lambda: len(machines.run_guards()), 0)
        admin.delete(f"{POOLS}/nvme")
        wait_for(lambda: admin.get(BUDGETS)["items"], [])


def test_a_node_that_leaves_for_good_is_emptied_first(
    plane: ControlPlane, admin: Client, tmp_path: Path, kubectl: Kubectl
) -> None:
    with guarded(plane, admin, ["m1", "m2", "m3", "m4"], tmp_path) as (machines, control, volume):
        leaving, consumer = sorted(r.node for r in volume.replicas)[:2]
        control.volumes.attach(volume.id, consumer)
        spare = ({"m1", "m2", "m3", "m4"} - {r.node for r in volume.replicas}).pop()
        kubectl.run("taint", "node", leaving, "trilith.io/drain=:NoSchedule")
        wait_for(lambda: cordons(control), {leaving: True})
        wait_for(lambda: waits_for(admin, leaving), "volume data: its replica moves first")
        fake = machines.fakes.node(consumer)
        wait_until(lambda: bool(fake.rejoined), "a new replica", timeout=60, clock=CLOCK)
        fake.set_health(volume.id, fake.rejoined[-1].member.replica_id, MemberHealth.RECOVERED)
        wait_for(lambda: spare in nodes_in_sync(control, volume), True)
        wait_until(
            lambda: leaving not in {r.node for r in control.volumes.get(volume.id).replicas},
            "it is empty",
            timeout=90,
            clock=CLOCK,
        )
        wait_for(lambda: waits_for(admin, leaving), "")
        kubectl.run("drain", leaving, *DRAIN, "--timeout=60s")
        wait_for(lambda: leaving in machines.run_guards(), False)
        kubectl.run("taint", "node", leaving, "trilith.io/drain-")
        kubectl.run("uncordon", leaving)
        wait_for(lambda: len(cordons(control)), 0)


@pytest.mark.more
def test_all_nodes_are_replaced_one_after_another_and_nothing_is_lost(
    plane: ControlPlane, admin: Client, tmp_path: Path, kubectl: Kubectl
) -> None:
    """New names, empty disks; the next drain begins as soon as the last machine is gone."""
    selector = {"trilith.io/storage": "true"}
    with cluster(plane, admin, ["user"], tmp_path, node_grace=2.0) as (machines, replica), kubelets(machines):
        for name in ("m1", "m2", "m3"):
            machines.add(name, selector)
        make_pool(admin, nodeSelector=selector)
        wait_for_condition(admin, {"status": "True"})
        volume = replica.control.volumes.create(VolumeRequest("data", GIB, "nvme"))
        replica.control.volumes.attach(volume.id, "user")
        for old, new in (("m1", "m4"), ("m2", "m5"), ("m3", "m6")):
            machines.add(new, selector)
            wait_for(lambda new=new: new in replica.control.pools.get("nvme").nodes, True)  # type: ignore[misc]
            kubectl.run("drain", old, *DRAIN, "--timeout=100s")
            lose(machines, replica.control, volume, old)
            if old != "m3":
                after = f"m{int(old[1]) + 1}"
                with pytest.raises(LabError, match="violate the pod's disruption budget"):
                    kubectl.run("drain", after, *DRAIN, "--timeout=8s")
            assert len(nodes_in_sync(replica.control, volume)) == 2
            restore(machines, replica.control, volume, new)
        wait_for(lambda: nodes_in_sync(replica.control, volume), ["m4", "m5", "m6"])
        wait_for(lambda: list(replica.control.pools.get("nvme").nodes), ["m4", "m5", "m6"])


def lose(machines: Machines, control: Control, volume: Volume, node: str) -> None:
    """Its machine is deleted, which the consumer's agent finds."""
    gone = next(r for r in control.volumes.get(volume.id).replicas if r.node == node)
    machines.remove(node)
    machines.fakes.node("user").set_health(volume.id, gone.id, MemberHealth.LOST)
    wait_for(lambda: node in nodes_in_sync(control, volume), False)


def restore(machines: Machines, control: Control, volume: Volume, node: str) -> None:
    """A copy to the replica that is made there ends."""
    fake = machines.fakes.node("user")

    def is_copied() -> bool:
        replicas = control.volumes.get(volume.id).replicas
        new = next((r.id for r in replicas if r.node == node), None)
        return any(spec.member.replica_id == new for spec in fake.rejoined)

    wait_until(is_copied, f"a copy to {node}", timeout=90, clock=CLOCK)
    fake.set_health(volume.id, fake.rejoined[-1].member.replica_id, MemberHealth.RECOVERED)
    wait_for(lambda: node in nodes_in_sync(control, volume), True)
