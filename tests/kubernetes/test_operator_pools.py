"""StoragePools over a real API server: from a manifest to a StorageClass that gives volumes, and back."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hack.kubernetes.plane import ControlPlane
from replication.clock import wait_until
from replication.control.volumes import VolumeRequest
from replication.errors import NotFound, Unavailable
from replication.kubernetes.access import Json
from replication.kubernetes.client import Client
from replication.model import GIB, VolumeGroup
from tests.fakes.node import FakeNode
from tests.kubernetes.controllers import Replica, running
from tests.kubernetes.machines import Machines, machines_of
from tests.kubernetes.patience import CLOCK, patiently, wait_for

POOLS = "/apis/trilith.io/v1alpha1/namespaces/trilith/storagepools"
OTHERS = "/apis/trilith.io/v1alpha1/namespaces/default/storagepools"
DISK_POOLS = "/apis/trilith.io/v1alpha1/diskpools"
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
ATTRIBUTES = "/apis/storage.k8s.io/v1/volumeattributesclasses"
EVENTS = "/api/v1/namespaces/trilith/events"
READY_SECONDS = 20.0


@contextmanager
def cluster(
    plane: ControlPlane,
    admin: Client,
    names: list[str],
    tmp_path: Path,
    node_grace: float = 300.0,
    zones: dict[str, str] | None = None,
) -> Iterator[tuple[Machines, Replica]]:
    """A controller that leads, and nodes, in `zones` where these name them."""
    with (
        machines_of(admin, names, zones) as machines,
        running(plane, machines.fakes, tmp_path / "csi", node_grace=node_grace) as replica,
    ):
        wait_until(lambda: replica.controller.leads, "a leader", timeout=60, clock=CLOCK)
        yield machines, replica


def make_pool(admin: Client, name: str = "nvme", path: str = POOLS, **spec: object) -> None:
    document = {
        "apiVersion": "trilith.io/v1alpha1",
        "kind": "StoragePool",
        "metadata": {"name": name},
        "spec": spec,
    }
    admin.create(path, document)


def condition(admin: Client, name: str = "nvme", kind: str = "Ready", path: str = POOLS) -> Json:
    found = admin.get(f"{path}/{name}").get("status") or {}
    return next((each for each in found.get("conditions", ()) if each["type"] == kind), {})


def wait_for_condition(admin: Client, wanted: dict[str, Any], name: str = "nvme", path: str = POOLS) -> Json:
    """Of type Ready, unless `wanted` says another; return it whole."""
    kind = wanted.get("type", "Ready")

    def is_so() -> bool:
        return wanted.items() <= condition(admin, name, kind, path).items()

    wait_until(is_so, f"{name}: {wanted}", timeout=60, clock=CLOCK)
    return condition(admin, name, kind, path)


def names(admin: Client, path: str) -> list[str]:
    return [found["metadata"]["name"] for found in admin.get(path)["items"]]


def test_a_pool_gives_a_volume_within_20_seconds(plane: ControlPlane, admin: Client, tmp_path: Path) -> None:
    with cluster(plane, admin, ["m1", "m2", "m3"], tmp_path) as (machines, replica):
        began = CLOCK.now()
        make_pool(admin)
        wait_for_condition(admin, {"status": "True"})
        took = CLOCK.now() - began
        print(f"figure: storage-pool-ready value={took:.2f} unit=s goal=<={READY_SECONDS:g}")
        assert took <= READY_SECONDS
        volume = replica.control.volumes.create(VolumeRequest("data", GIB, "nvme"))
        assert {r.node for r in volume.replicas} == {"m1", "m2", "m3"}
        assert all(node.pools == {"nvme": ("/dev/nvme0n1",)} for node in machines.fakes.nodes.values())

        used = {"capacity": 3 * 100 * GIB, "nodes": 3}
        wait_until(
            lambda: admin.get(f"{POOLS}/nvme")["status"].get("used", 0) > 3 * GIB,
            "the volume shows",
            timeout=60,
            clock=CLOCK,
        )
        status = admin.get(f"{POOLS}/nvme")["status"]
        assert used.items() <= status.items()
        assert status["available"] + status["used"] == status["capacity"]

        disk_pool = admin.get(f"{DISK_POOLS}/nvme.m1")
        assert disk_pool["spec"] == {"pool": "nvme", "node": "m1"}
        assert disk_pool["status"]["capacity"] == 100 * GIB
        assert disk_pool["status"]["conditions"][0]["message"] == "1 of its disks: /dev/nvme0n1"


def test_a_pool_has_its_classes_which_follow_and_go_with_it(
    plane: ControlPlane, admin: Client, tmp_path: Path
) -> None:
    with cluster(plane, admin, ["m1"], tmp_path) as (_, _):
        make_pool(admin, replicas=1, tier="premium", hyperconverged=True)
        wait_for(lambda: names(admin, CLASSES), ["trilith-nvme"])
        wait_for(
            lambda: names(admin, ATTRIBUTES), [f"trilith-nvme-{t}" for t in ("basic", "premium", "standard")]
        )
        found = admin.get(f"{CLASSES}/trilith-nvme")
        kept = {key: found[key] for key in ("provisioner", "reclaimPolicy", "volumeBindingMode")}
        assert kept == {
            "provisioner": "csi.trilith.io",
            "reclaimPolicy": "Delete",
            "volumeBindingMode": "WaitForFirstConsumer",
        }
        assert found["allowVolumeExpansion"] is True
        assert found["parameters"] == {
            "pool": "nvme",
            "replicas": "1",
            "tier": "premium",
            "hyperconverged": "true",
        }
        assert admin.get(f"{ATTRIBUTES}/trilith-nvme-basic")["parameters"] == {"tier": "basic"}
        admin.patch(f"{POOLS}/nvme", [{"op": "replace", "path": "/spec/tier", "value": "basic"}])
        wait_for(lambda: [c["parameters"]["tier"] for c in admin.get(CLASSES)["items"]], ["basic"])
        admin.delete(f"{POOLS}/nvme")
        wait_for(lambda: not names(admin, POOLS), True)
        assert names(admin, CLASSES) + names(admin, DISK_POOLS) == []
        left = admin.get(ATTRIBUTES)["items"]  # until a controller finds that no claim uses them
        assert all("deletionTimestamp" in each["metadata"] for each in left)


def test_classes_that_somebody_changes_are_put_right(
    plane: ControlPlane, admin: Client, tmp_path: Path
) -> None:
    with cluster(plane, admin, ["m1"], tmp_path) as (_, _):
        make_pool(admin, replicas=1)
        wait_for(lambda: len(names(admin, CLASSES) + names(admin, ATTRIBUTES)), 4)
        default = {"storageclass.kubernetes.io/is-default-class": "true"}
        admin.patch(
            f"{CLASSES}/trilith-nvme",
            [
                {"op": "add", "path": "/metadata/annotations", "value": default},
                {"op": "replace", "path": "/allowVolumeExpansion", "value": False},
            ],
        )
        wait_for(lambda: [c.get("allowVolumeExpansion") for c in admin.get(CLASSES)["items"]], [True])
        assert admin.get(f"{CLASSES}/trilith-nvme")["metadata"]["annotations"] == default
        admin.delete(f"{CLASSES}/trilith-nvme")
        wait_for(lambda: names(admin, CLASSES), ["trilith-nvme"])
        label = "/metadata/labels/trilith.io~1pool"
        admin.patch(f"{ATTRIBUTES}/trilith-nvme-basic", [{"op": "remove", "path": label}])
        wait_for(lambda: len(admin.get(ATTRIBUTES, labelSelector="trilith.io/pool=nvme")["items"]), 3)
        admin.patch(f"{CLASSES}/trilith-nvme", [{"op": "remove", "path": label}])
        wait_for(lambda: len(admin.get(CLASSES, labelSelector="trilith.io/pool=nvme")["items"]), 1)


def test_a_copy_of_a_pools_class_is_left_alone(plane: ControlPlane, admin: Client, tmp_path: Path) -> None:
    with cluster(plane, admin, ["m1"], tmp_path):
        make_pool(admin, replicas=1)
        wait_for_condition(admin, {"status": "True"})
        made = admin.get(f"{CLASSES}/trilith-nvme")
        admin.create(CLASSES, {**made, "metadata": {"name": "own", "labels": made["metadata"]["labels"]}})
        make_pool(admin, "later", replicas=1, nodeSelector={"no": "node"})
        wait_for(lambda: names(admin, CLASSES), ["own", "trilith-later", "trilith-nvme"])
        admin.delete(f"{POOLS}/nvme")
        wait_for(lambda: names(admin, CLASSES), ["own", "trilith-later"])


def test_too_few_nodes_are_told_in_a_condition_and_an_event_until_more_come(
    plane: ControlPlane, admin: Client, tmp_path: Path
) -> None:
    with cluster(plane, admin, ["m1", "m2"], tmp_path) as (machines, replica):
        make_pool(admin)
        told = wait_for_condition(admin, {"status": "False", "reason": "NotEnoughNodes"})
        wait_until(
            lambda: "2 have a disk" in condition(admin)["message"], "both joined", timeout=60, clock=CLOCK
        )
        told = condition(admin)
        assert told["message"] == "3 replicas need 3 nodes, 2 have a disk for this pool: m1, m2"
        assert replica.control.pools.list() == ()
        events = admin.get(EVENTS)["items"]
        assert [(e["reason"], e["type"], e["involvedObject"]["name"]) for e in events] == [
            ("NotEnoughNodes", "Warning", "nvme")
        ]
        machines.add("m3")
        wait_for_condition(admin, {"status": "True"})
        wait_for(lambda: "Usable" in {e["reason"] for e in admin.get(EVENTS)["items"]}, True)


def test_a_pool_grows_by_labelled_nodes_and_by_disks(
    plane: ControlPlane, admin: Client, tmp_path: Path
) -> None:
    with cluster(plane, admin, ["m1", "m2"], tmp_path) as (machines, replica):
        label = "/metadata/labels/trilith.io~1storage"
        machines.change("m1", label, "true")
        make_pool(admin, replicas=1, nodeSelector={"trilith.io/storage": "true"})
        wait_for_condition(admin, {"status": "True"})
        assert replica.control.pools.get("nvme").nodes == ("m1",)
        machines.change("m2", label, "true")
        wait_for(lambda: names(admin, DISK_POOLS), ["nvme.m1", "nvme.m2"])
        machines.fakes.node("m1").more_disks = ("/dev/nvme1n1",)
        wait_for(lambda: list(machines.fakes.node("m1").pools["nvme"][1:]), ["/dev/nvme1n1"])
        machines.change("m1", label, None)
        wait_for(lambda: admin.get(f"{POOLS}/nvme")["status"]["capacity"], 300 * GIB)
        assert names(admin, DISK_POOLS) == ["nvme.m1", "nvme.m2"]


def test_a_pool_takes_only_the_disks_it_names(plane: ControlPlane, admin: Client, tmp_path: Path) -> None:
    with cluster(plane, admin, ["m1"], tmp_path) as (machines, _):
        machines.fakes.node("m1").more_disks = ("/dev/nvme1n1", "/dev/nvme2n1", "/dev/sda")
        make_pool(admin, "most", replicas=1, disks={"exclude": ["/dev/nvme1n1", "/dev/nvme2n1"]})
        wait_for_condition(admin, {"status": "True"}, "most")
        make_pool(admin, "two", replicas=1, disks={"include": ["/dev/nvme1n1", "/dev/sda"]})
        wait_for_condition(admin, {"status": "True"}, "two")
        assert machines.fakes.node("m1").pools == {"most": ("/dev/nvme0n1",), "two": ("/dev/nvme1n1",)}


def test_a_disk_that_was_taken_out_stays_out_until_it_is_uncordoned(
    plane: ControlPlane, admin: Client, tmp_path: Path
) -> None:
    with cluster(plane, admin, ["m1"], tmp_path) as (machines, replica):
        node, out = machines.fakes.node("m1"), "/dev/nvme1n1"
        node.more_disks = (out,)
        make_pool(admin, replicas=1)
        wait_for_condition(admin, {"status": "True"})
        wait_for(lambda: admin.get(f"{POOLS}/nvme")["status"]["capacity"], 200 * GIB)
        assert replica.control.emptying.remove_disk("m1", out)
        wait_for(lambda: admin.get(f"{POOLS}/nvme")["status"]["capacity"], 100 * GIB)
        node.more_disks = (out, "/dev/nvme2n1")
        wait_for(lambda: list(node.pools["nvme"]), ["/dev/nvme0n1", "/dev/nvme2n1"])
        replica.control.emptying.uncordon_disk("m1", out)
        wait_for(lambda: list(node.pools["nvme"]), ["/dev/nvme0n1", "/dev/nvme2n1", out])


def test_of_two_pools_that_match_the_same_disks_the_first_has_them(
    plane: ControlPlane, admin: Client, tmp_path: Path
) -> None:
    with cluster(plane, admin, ["m1"], tmp_path) as (_, replica):
        make_pool(admin, "first", replicas=1)
        wait_for_condition(admin, {"status": "True"}, "first")
        make_pool(admin, "second", replicas=1)
        told = wait_for_condition(admin, {"status": "False", "reason": "DisksTaken"}, "second")
        assert told["message"] == (
            "1 node is needed, 0 have a disk for this pool; node m1: /dev/nvme0n1: pool first has it"
        )
        assert [pool.name for pool in replica.control.pools.list()] == ["first"]
        admin.delete(f"{POOLS}/first")
        wait_for_condition(admin, {"status": "True"}, "second")


def test_a_pool_in_another_namespace_is_told_where_it_belongs(
    plane: ControlPlane, admin: Client, tmp_path: Path
) -> None:
    with cluster(plane, admin, ["m1"], tmp_path) as (_, replica):
        make_pool(admin, replicas=1)
        wait_for_condition(admin, {"status": "True"})
        make_pool(admin, path=OTHERS, replicas=1)
        told = wait_for_condition(admin, {"status": "False", "reason": "OtherNamespace"}, path=OTHERS)
        assert told["message"].startswith("pools are in namespace trilith, where Trilith is")
        finalizers = {"op": "add", "path": "/metadata/finalizers", "value": ["trilith.io/pool"]}
        admin.patch(f"{OTHERS}/nvme", [finalizers])  # as a copy of the other's manifest has them
        admin.delete(f"{OTHERS}/nvme")
        wait_for(lambda: not names(admin, OTHERS), True)
        assert [pool.name for pool in replica.control.pools.list()] == ["nvme"]
        assert condition(admin)["status"] == "True"


def test_a_striped_pool_spreads_each_replica_over_all_disks_of_its_node(
    plane: ControlPlane, admin: Client, tmp_path: Path
) -> None:
    with cluster(plane, admin, ["m1"], tmp_path) as (machines, replica):
        machines.fakes.node("m1").more_disks = ("/dev/nvme1n1",)
        make_pool(admin, replicas=1, disks={"striped": True})
        wait_for_condition(admin, {"status": "True"})
        made = replica.control.volumes.create(VolumeRequest("pvc-1", GIB, "nvme"))
        (lies,) = made.replicas
        assert (len(lies.groups), lies.striped) == (2, True)
        (kept,) = admin.get("/apis/trilith.io/v1alpha1/volumes")["items"][0]["spec"]["replicas"]
        assert (kept["otherGroups"], kept["striped"]) == (list(lies.other_groups), True)
        replica.control.volumes.delete(made.id)


def test_a_pool_in_use_is_not_deleted_and_says_by_which_volumes(
    plane: ControlPlane, admin: Client, tmp_path: Path
) -> None:
    with cluster(plane, admin, ["m1"], tmp_path) as (machines, replica):
        make_pool(admin, replicas=1)
        wait_for_condition(admin, {"status": "True"})
        volume = replica.control.volumes.create(VolumeRequest("pvc-1", GIB, "nvme"))
        admin.delete(f"{POOLS}/nvme")
        told = wait_for_condition(admin, {"type": "Deleting", "reason": "VolumesLeft"})
        assert told["message"].startswith("pool nvme holds volumes: pvc-1;")
        wait_for(lambda: not names(admin, CLASSES), True)
        assert machines.fakes.node("m1").pools
        wait_for(lambda: "VolumesLeft" in {e["reason"] for e in admin.get(EVENTS)["items"]}, True)
        replica.control.volumes.delete(volume.id)
        wait_for(lambda: not names(admin, POOLS), True)
        assert machines.fakes.node("m1").pools == {}
        with pytest.raises(NotFound):
            replica.control.pools.get("nvme")


def test_without_its_finalizer_a_pool_goes_and_its_volumes_stay(
    plane: ControlPlane, admin: Client, tmp_path: Path
) -> None:
    """The documented way out; a StoragePool of the same name takes it up again."""
    with cluster(plane, admin, ["m1"], tmp_path) as (machines, replica):
        make_pool(admin, replicas=1)
        wait_for_condition(admin, {"status": "True"})
        volume = replica.control.volumes.create(VolumeRequest("pvc-1", GIB, "nvme"))
        admin.delete(f"{POOLS}/nvme")
        wait_for_condition(admin, {"type": "Deleting", "reason": "VolumesLeft"})
        admin.patch(f"{POOLS}/nvme", [{"op": "remove", "path": "/metadata/finalizers"}])
        wait_for(lambda: not names(admin, DISK_POOLS), True)
        assert replica.control.volumes.get(volume.id) == volume
        make_pool(admin, replicas=1)
        wait_for_condition(admin, {"status": "True"})
        assert machines.fakes.node("m1").replicas.keys() == {(volume.id, volume.replicas[0].id)}


def test_a_node_that_falls_silent_makes_the_pool_say_so(
    plane: ControlPlane, admin: Client, tmp_path: Path
) -> None:
    with cluster(plane, admin, ["m1", "m2", "m3"], tmp_path) as (machines, _):
        make_pool(admin)
        wait_for_condition(admin, {"status": "True"})
        machines.fakes.node("m2").silent = True
        told = wait_for_condition(admin, {"status": "False", "reason": "NotEnoughNodes"})
        assert "node m2: it does not answer" in told["message"]
        status = admin.get(f"{DISK_POOLS}/nvme.m2")["status"]
        assert (status["capacity"], status["conditions"][0]["status"]) == (100 * GIB, "Unknown")
        machines.fakes.node("m2").silent = False
        wait_for_condition(admin, {"status": "True"})


def test_a_pool_is_made_though_the_server_was_away_meanwhile(
    plane: ControlPlane, admin: Client, tmp_path: Path
) -> None:
    with cluster(plane, admin, ["m1", "m2", "m3"], tmp_path) as (_, replica):
        wait_for(lambda: len(replica.control.nodes.list()), 3)
        make_pool(admin)
        plane.apiserver.end()
        CLOCK.sleep(3.0)
        plane.apiserver.start()
        plane.wait_ready()
        wait_until(
            lambda: patiently(lambda: condition(admin)).get("status") == "True",
            "ready after all",
            timeout=90,
            clock=CLOCK,
        )


def test_what_a_leader_began_the_next_one_ends(plane: ControlPlane, admin: Client, tmp_path: Path) -> None:
    with machines_of(admin, ["m1"]) as machines:
        held = HeldNode(name="m1", cluster=machines.fakes)
        machines.fakes.nodes["m1"] = held
        with running(plane, machines.fakes, tmp_path / "1.sock") as first:
            wait_until(lambda: first.controller.leads, "a leader", timeout=60, clock=CLOCK)
            make_pool(admin, replicas=1)
            assert held.asked.wait(60)
            wait_for_condition(admin, {"status": "False"})
        held.go.set()
        with running(plane, machines.fakes, tmp_path / "2.sock"):
            wait_for_condition(admin, {"status": "True"})


@dataclass(kw_only=True)
class HeldNode(FakeNode):
    """Its disks are not taken before a test says so."""

    asked: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)

    def ensure_disk_pool(self, pool: str, disks: tuple[str, ...]) -> tuple[VolumeGroup, ...]:
        self.asked.set()
        if not self.go.is_set():
            raise Unavailable(f"{self.name} is busy")
        return super().ensure_disk_pool(pool, disks)
