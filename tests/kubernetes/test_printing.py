"""What kubectl prints of our kinds: its columns, each with what belongs there."""

import re

import pytest

from csi.operator.resources import DISK_POOLS
from hack.golang import ensure_program
from hack.kubernetes.build import KUBECTL
from hack.kubernetes.kubectl import Kubectl
from hack.kubernetes.plane import ControlPlane
from replication.control.store.kubernetes import KubernetesStore
from replication.control.store.resources import VOLUMES
from replication.kubernetes.access import Json
from replication.kubernetes.client import Client
from tests.kubernetes.conftest import NAMESPACE
from tests.kubernetes.test_operator_pools import POOLS, make_pool
from tests.unit.control.records import volume

SIZES = {"capacity": 4, "available": 3, "used": 2}
WORDS = {"reason": "Told", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
READY = {"type": "Ready", "status": "True", **WORDS}


@pytest.fixture
def kubectl(plane: ControlPlane) -> Kubectl:
    return Kubectl(ensure_program(KUBECTL), plane.admin_kubeconfig)


def tell(admin: Client, path: str, **status: object) -> None:
    admin.patch(f"{path}/status", [{"op": "add", "path": "/status", "value": status}])


def show(kubectl: Kubectl, *words: str) -> list[str]:
    """Lines, whatever the widths of columns and the age."""
    lines = kubectl.run("get", *words).splitlines()
    return [re.sub(r" \d+s\b", " AGE", " ".join(line.split())) for line in lines]


def test_pools_are_printed_with_what_they_have(kubectl: Kubectl, admin: Client) -> None:
    make_pool(admin, replicas=5)
    tell(admin, f"{POOLS}/nvme", **SIZES, nodes=6, conditions=[READY])
    assert show(kubectl, "sp", f"--namespace={NAMESPACE}") == [
        "NAME READY NODES REPLICAS CAPACITY AVAILABLE USED AGE",
        "nvme True 6 5 4 3 2 AGE",
    ]


def test_disk_pools_are_printed_with_what_they_have(kubectl: Kubectl, admin: Client) -> None:
    document: Json = {"apiVersion": "trilith.io/v1alpha1", "kind": "DiskPool"}
    spec = {"pool": "nvme", "node": "m1"}
    admin.create(DISK_POOLS, {**document, "metadata": {"name": "nvme.m1"}, "spec": spec})
    tell(admin, f"{DISK_POOLS}/nvme.m1", **SIZES, reserved=1, conditions=[READY])
    assert show(kubectl, "diskpools") == [
        "NAME NODE CAPACITY AVAILABLE USED RESERVED READY AGE",
        "nvme.m1 m1 4 3 2 1 True AGE",
    ]


def test_volumes_are_printed_with_how_they_are(
    kubectl: Kubectl, admin: Client, store: KubernetesStore
) -> None:
    store.add_volume(volume("iis", size_bytes=5))
    tell(admin, f"{VOLUMES}/v0", health="Degraded", inSync="2/3", doing="it waits")
    head = "NAME VOLUME POOL SIZE REPLICAS PHASE HEALTH IN SYNC NODE AGE"
    row = "v0 data nvme 5 3 ready Degraded 2/3 a AGE"
    assert show(kubectl, "volumes") == [head, row]
    assert show(kubectl, "volumes", "--output=wide") == [f"{head} DOING", f"{row} it waits"]
