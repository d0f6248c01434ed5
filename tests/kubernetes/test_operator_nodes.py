"""Nodes that join, change, and leave, by their Nodes and their agents' pods in a real API server."""

from pathlib import Path

from csi.operator.nodes import FOLLOWS
from hack.kubernetes.plane import ControlPlane
from replication.clock import wait_until
from replication.control.cordons import Cordon
from replication.control.insync import in_sync
from replication.control.volumes import VolumeRequest
from replication.kubernetes.client import Client
from replication.model import GIB, MemberHealth, Volume
from tests.kubernetes.controllers import Replica
from tests.kubernetes.machines import Machines
from tests.kubernetes.patience import CLOCK, wait_for
from tests.kubernetes.test_operator_pools import POOLS, cluster, make_pool, wait_for_condition

ZONE = "topology.kubernetes.io/zone"
LABELS = "/metadata/labels"


def names(replica: Replica) -> list[str]:
    return [node.name for node in replica.control.nodes.list()]


def nodes_of(replica: Replica, volume: Volume) -> list[str]:
    return sorted(r.node for r in in_sync(replica.control.volumes.get(volume.id)))


def test_a_node_joins_moves_and_keeps_in_step_with_its_labels(
    plane: ControlPlane, admin: Client, tmp_path: Path
) -> None:
    with cluster(plane, admin, ["m1"], tmp_path) as (machines, replica):
        wait_for(lambda: names(replica), ["m1"])
        assert replica.control.nodes.get("m1").address == "10.0.0.1:7443"
        machines.change("m1", f"{LABELS}/topology.kubernetes.io~1zone", "z1")
        wait_for(lambda: dict(replica.control.nodes.get("m1").labels).get(ZONE, ""), "z1")
        machines.remove_pod("m1")
        address = machines.add_pod("m1")
        wait_for(lambda: replica.control.nodes.get("m1").data_address, address)
        machines.add("m2")
        wait_for(lambda: names(replica), ["m1", "m2"])


def test_replicas_are_spread_over_the_zones_that_nodes_say_they_are_in(
    plane: ControlPlane, admin: Client, tmp_path: Path
) -> None:
    zones = {"m1": "z1", "m2": "z1", "m3": "z1", "m4": "z2", "m5": "z3"}
    with cluster(plane, admin, list(zones), tmp_path, zones=zones) as (_, replica):
        make_pool(admin)
        wait_for(lambda: admin.get(f"{POOLS}/nvme").get("status", {}).get("nodes"), 5)
        volume = replica.control.volumes.create(VolumeRequest("data", GIB, "nvme"))
        assert {zones[node] for node in nodes_of(replica, volume)} == {"z1", "z2", "z3"}


def test_a_node_whose_agent_is_of_another_cluster_does_not_join(
    plane: ControlPlane, admin: Client, tmp_path: Path
) -> None:
    with cluster(plane, admin, ["m1"], tmp_path) as (machines, replica):
        wait_for(lambda: names(replica), ["m1"])
        stranger = machines.fakes.node("m1")
        machines.fakes.nodes["m2"] = stranger
        machines.add("m2")
        wait_until(
            lambda: any("answers node m1, not m2" in e.message for e in replica.control.events.list("m2")),
            "an event says why",
            timeout=60,
            clock=CLOCK,
        )
        assert names(replica) == ["m1"]
        del machines.fakes.nodes["m2"]


def test_a_cordon_follows_the_node_and_an_administrators_stays(
    plane: ControlPlane, admin: Client, tmp_path: Path
) -> None:
    with cluster(plane, admin, ["m1", "m2"], tmp_path) as (machines, replica):
        wait_for(lambda: names(replica), ["m1", "m2"])
        replica.control.emptying.cordon("m2")
        machines.change("m1", "/spec/unschedulable", True)
        wait_for(
            lambda: list(replica.control.store.list_cordons()),
            [Cordon("m1", False, FOLLOWS), Cordon("m2")],
        )
        machines.change("m1", "/spec/unschedulable", None)
        wait_for(lambda: list(replica.control.store.list_cordons()), [Cordon("m2")])


def test_a_node_that_is_gone_is_removed_and_its_replicas_are_made_elsewhere(
    plane: ControlPlane, admin: Client, tmp_path: Path
) -> None:
    with cluster(plane, admin, ["m1", "m2", "m3"], tmp_path, node_grace=3.0) as (machines, replica):
        make_pool(admin)
        wait_for_condition(admin, {"status": "True"})
        volume = replica.control.volumes.create(VolumeRequest("data", GIB, "nvme"))
        replica.control.volumes.attach(volume.id, "m1")
        machines.add("m4")
        wait_for(lambda: len(replica.control.pools.get("nvme").nodes), 4)
        lost = next(r for r in volume.replicas if r.node == "m3")
        machines.remove("m3")
        machines.fakes.node("m1").set_health(volume.id, lost.id, MemberHealth.LOST)
        wait_for(lambda: names(replica), ["m1", "m2", "m4"])
        assert replica.control.pools.get("nvme").nodes == ("m1", "m2", "m4")
        recover(machines, replica, volume)
        wait_for(lambda: nodes_of(replica, volume), ["m1", "m2", "m4"])


def test_a_node_whose_data_is_nowhere_else_is_kept_and_says_so(
    plane: ControlPlane, admin: Client, tmp_path: Path
) -> None:
    with cluster(plane, admin, ["m1", "m2"], tmp_path, node_grace=1.0) as (machines, replica):
        make_pool(admin, replicas=1)
        wait_for_condition(admin, {"status": "True"})
        volume = replica.control.volumes.create(VolumeRequest("data", GIB, "nvme"))
        holder = volume.replicas[0].node
        machines.remove(holder)
        wait_until(
            lambda: any(
                "it alone is in sync of data" in e.message for e in replica.control.events.list(holder)
            ),
            "an event says why",
            timeout=60,
            clock=CLOCK,
        )
        assert names(replica) == ["m1", "m2"]
        machines.fakes.node(holder).silent = False
        machines.add(holder)
        wait_for_condition(admin, {"status": "True"})
        assert nodes_of(replica, volume) == [holder]
        machines.remove(holder)
        replica.control.nodes.get(holder)
        replica.control.emptying.remove(holder, lost=True)
        assert names(replica) == sorted({"m1", "m2"} - {holder})


def recover(machines: Machines, replica: Replica, volume: Volume) -> None:
    """Its array copies to the replica that is new, as md does."""
    fake = machines.fakes.node(str(replica.control.volumes.get(volume.id).consumer))
    wait_until(lambda: bool(fake.rejoined), "a copy", timeout=90, clock=CLOCK)
    fake.set_health(volume.id, fake.rejoined[-1].member.replica_id, MemberHealth.RECOVERED)
