"""What a real API server is answered, and what becomes of it: asked as the chart has it."""

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from csi.claims import ANNOTATIONS
from hack.kubernetes.plane import ControlPlane
from replication.clock import SystemClock, wait_until
from replication.errors import InvalidRequest
from replication.kubernetes.access import Json
from replication.kubernetes.client import Client
from replication.model import ReplicaState
from tests.kubernetes.admission_stand import (
    ATTRIBUTES,
    PODS,
    POOLS,
    SHOP,
    Stand,
    admitting,
    shopping,
)
from tests.unit.control.records import volume

GIB = 1 << 30
HEARD_SECONDS = 20.0
ACCEPTED = {"annotations": {ANNOTATIONS[0]: "true"}}
NEAR = "topology.trilith.io/node"


@pytest.fixture
def bare(admin: Client) -> Iterator[Stand]:
    """Nobody is asked yet."""
    with shopping(admin) as stand:
        yield stand


@pytest.fixture
def stand(plane: ControlPlane, bare: Stand) -> Iterator[Stand]:
    with admitting(plane, bare.volumes):
        yield bare


def test_a_pod_is_drawn_to_disk_pools_with_room_and_to_its_replicas(stand: Stand) -> None:
    _make_hyperconverged_pool(stand)
    stand.make_claim("new", "trilith-near", **ACCEPTED)
    stand.make_claim("bound", "trilith-near", **ACCEPTED)
    record = volume("iis", id="v-bound", pool="near")
    stand.volumes.append(record)
    stand.bind("bound", "v-bound")
    _wait_for_pools(stand)
    stored = stand.make_pod("new", {"persistentVolumeClaim": {"claimName": "new"}})
    assert _terms(stored) == [_term("a", "b")]
    stored = stand.make_pod("bound", {"persistentVolumeClaim": {"claimName": "bound"}})
    assert _terms(stored) == [_term("a", "b", "full"), _term("a", "b")]
    stand.volumes[0] = replace(
        record, replicas=tuple(replace(each, state=ReplicaState.STALE) for each in record.replicas)
    )
    stored = stand.make_pod("lost", {"persistentVolumeClaim": {"claimName": "bound"}})
    assert _terms(stored) == [_term("a", "b", "full")]


def test_affinities_of_a_pod_are_kept(stand: Stand) -> None:
    _make_hyperconverged_pool(stand)
    _wait_for_pools(stand)
    theirs = {
        "weight": 7,
        "preference": {"matchExpressions": [{"key": "disk", "operator": "Exists"}]},
    }
    required = {"nodeSelectorTerms": [{"matchExpressions": [{"key": "gpu", "operator": "Exists"}]}]}
    affinity = {
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "x"}}}
            ]
        },
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": required,
            "preferredDuringSchedulingIgnoredDuringExecution": [theirs],
        },
    }
    stored = stand.make_pod("kept", _ephemeral("trilith-near"), affinity=affinity)["spec"]["affinity"]
    assert stored["podAntiAffinity"] == affinity["podAntiAffinity"]
    assert stored["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] == required
    assert stored["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"] == [
        theirs,
        _term("a", "b"),
    ]


def test_pods_of_other_drivers_and_pools_are_untouched(stand: Stand) -> None:
    _make_hyperconverged_pool(stand)
    stand.make_class("other", "csi.example.com", pool="near")
    stand.make_class("far", pool="near", hyperconverged="false")
    stand.make_claim("theirs", "other")
    stand.bind("theirs", "v-bound", "csi.example.com")
    _wait_for_pools(stand)
    volumes: tuple[Json, ...] = (
        {"persistentVolumeClaim": {"claimName": "theirs"}},
        {"persistentVolumeClaim": {"claimName": "still-to-come"}},
        _ephemeral("far"),
        {"emptyDir": {}},
    )
    assert "affinity" not in stand.make_pod("untouched", *volumes)["spec"]


def test_the_pool_says_so_or_the_class_does(stand: Stand) -> None:
    _make_hyperconverged_pool(stand, hyperconverged=False)
    stand.make_class("wants", pool="near", hyperconverged="true")
    _wait_for_pools(stand, "wants")
    assert _terms(stand.make_pod("wants", _ephemeral("wants"))) == [_term("a", "b")]
    assert "affinity" not in stand.make_pod("does-not", _ephemeral("trilith-near"))["spec"]


def test_without_controllers_pods_start_and_claims_are_made(plane: ControlPlane, bare: Stand) -> None:
    bare.make_class("trilith-nvme", pool="nvme", hyperconverged="true")
    with admitting(plane, bare.volumes) as serving:
        serving.end()
        bare.make_pod("starts", _ephemeral("trilith-nvme"))
        bare.make_claim("made", "trilith-nvme", **ACCEPTED)


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({}, "StorageClass wrong: parameter 'pool': missing; it names the pool that the volume is made from"),
        ({"pool": "p", "replicas": "2"}, "parameter 'replicas' ('2'): must be one of 1, 3, 5"),
        ({"pool": "p", "replica": "3"}, "parameter 'replica' ('3'): unknown; known are pool, replicas"),
        ({"pool": "p", "replicas": "1", "minInSyncReplicas": "2"}, "must be at most that"),
        ({"pool": "p", "csi.storage.k8s.io/fstype": "zfs"}, "'zfs': must be one of ext4, xfs"),
    ],
)
def test_a_class_of_which_no_volume_could_be_made_is_refused(
    stand: Stand, parameters: dict[str, str], sentence: str
) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(sentence)):
        stand.make_class("wrong", **parameters)


def test_classes_of_others_and_sound_ones_pass(stand: Stand) -> None:
    stand.make_class("theirs", "csi.example.com", replicas="2")
    stand.make_class("ours", pool="still-to-come", replicas="5", tier="premium", spread="rack")
    wanted = {"driverName": "csi.trilith.io", "parameters": {"tier": "fast"}}
    with pytest.raises(InvalidRequest, match="VolumeAttributesClass gold: parameter 'tier'"):
        stand.make(ATTRIBUTES, "VolumeAttributesClass", "gold", **wanted)
    stand.make(ATTRIBUTES, "VolumeAttributesClass", "gold", **{**wanted, "driverName": "csi.example.com"})
    stand.make(ATTRIBUTES, "VolumeAttributesClass", "good", **{**wanted, "parameters": {"tier": "premium"}})


@pytest.mark.parametrize(
    ("name", "spec", "sentence"),
    [
        ("p" * 64, {}, "a pool's name is at most 63 characters long"),
        ("fast.nvme", {}, "a pool's name has no '.'"),
        ("wrong", {"disks": {"include": ["nvme0n1"]}}, "name devices, as in /dev/disk/by-id/nvme-"),
        ("wrong", {"disks": {"include": ["/dev/a"], "exclude": ["/dev/a"]}}, "a disk is named twice"),
        ("wrong", {"nodeSelector": {"a b": "c"}}, "a key of nodeSelector is that of a label"),
        ("wrong", {"nodeSelector": {"a": "b c"}}, "a value of nodeSelector is that of a label"),
        ("wrong", {"replicas": 2}, 'supported values: "1", "3", "5"'),
    ],
)
def test_a_pool_that_could_never_be_ready_is_refused(
    stand: Stand, name: str, spec: Json, sentence: str
) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        stand.make_pool(name, **spec)


def test_pools_are_in_the_namespace_where_they_are_looked_for(stand: Stand) -> None:
    with pytest.raises(InvalidRequest, match="pools are kept in namespace trilith: in shop nobody would"):
        stand.make_pool("nvme", SHOP)
    disks = {"include": ["/dev/a"], "exclude": ["/dev/b"]}
    stand.make_pool("nvme", nodeSelector={"trilith.io/storage": "true", "empty": ""}, disks=disks)


def test_a_pool_with_volumes_in_it_is_not_deleted(stand: Stand) -> None:
    stand.make_pool("nvme")
    stand.volumes.append(volume(name="pvc-1"))
    with pytest.raises(InvalidRequest, match="pool nvme holds volumes: pvc-1; delete their claims first"):
        stand.admin.delete(f"{POOLS}/nvme")
    with pytest.raises(InvalidRequest, match="pool nvme holds volumes: pvc-1"):
        stand.admin.delete(POOLS)  # all that there are, as who deletes the namespace does
    stand.volumes.clear()
    stand.admin.delete(f"{POOLS}/nvme")


def _ephemeral(class_name: str) -> Json:
    resources = {"requests": {"storage": "1Gi"}}
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": class_name, "resources": resources}
    return {"ephemeral": {"volumeClaimTemplate": {"spec": spec}}}


def _terms(pod: Json) -> list[Json]:
    found: list[Json] = (
        pod["spec"]
        .get("affinity", {})
        .get("nodeAffinity", {})
        .get("preferredDuringSchedulingIgnoredDuringExecution", [])
    )
    return found


def _term(*nodes: str) -> Json:
    expression = {"key": NEAR, "operator": "In", "values": list(nodes)}
    return {"weight": 1, "preference": {"matchExpressions": [expression]}}


def _make_hyperconverged_pool(stand: Stand, *, hyperconverged: bool = True) -> None:
    """Room on a and b; full is full, and broken does not answer."""
    stand.make_pool("near", hyperconverged=hyperconverged)
    for node, available in (("a", 4 * GIB), ("b", GIB), ("full", 0)):
        stand.make_disk_pool("near", node, available)
    stand.make_disk_pool("near", "broken", 4 * GIB, status="False")
    stand.make_disk_pool("other", "elsewhere", 4 * GIB)
    stand.make_class("trilith-near", pool="near")


def _wait_for_pools(stand: Stand, class_name: str = "trilith-near") -> None:
    """Until admission has heard of all that was made."""

    def is_near() -> bool:
        pod = stand.make_pod("probe", _ephemeral(class_name))
        stand.admin.delete(f"{PODS}/probe")
        return _terms(pod) == [_term("a", "b")]

    wait_until(is_near, "pools are known", timeout=HEARD_SECONDS, clock=SystemClock())
