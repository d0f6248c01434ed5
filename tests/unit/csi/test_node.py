"""The Node service over a real server, in front of an agent that is a fake."""

from typing import cast

import grpc
import pytest

from csi.node import Node
from csi.v1 import csi_pb2, csi_pb2_grpc
from replication.control.lifecycle import VolumeRequest
from replication.errors import Unavailable
from replication.model import MIB, AccessType, Ailment, AilmentKind, MemberHealth, PublishSpec, StageSpec
from tests.fakes.clock import HandClock
from tests.unit.csi.conftest import Cluster, refused
from tests.unit.csi.requests import MODE, block, capacity, mount, publish, stage, topology

Stub = csi_pb2_grpc.NodeStub
CODE = grpc.StatusCode


@pytest.fixture
def attached(cluster: Cluster) -> str:
    """The id of a volume that is attached to m1."""
    volume = cluster.control.volumes.create(VolumeRequest("data", 256 * MIB, "nvme"))
    cluster.control.volumes.attach(volume.id, "m1")
    return volume.id


def unstage(volume_id: str, path: str = "/staging") -> csi_pb2.NodeUnstageVolumeRequest:
    return csi_pb2.NodeUnstageVolumeRequest(volume_id=volume_id, staging_target_path=path)


def unpublish(volume_id: str, path: str = "/target") -> csi_pb2.NodeUnpublishVolumeRequest:
    return csi_pb2.NodeUnpublishVolumeRequest(volume_id=volume_id, target_path=path)


def test_only_what_works_is_advertised(node: Stub) -> None:
    answer = node.NodeGetCapabilities(csi_pb2.NodeGetCapabilitiesRequest())
    rpc = csi_pb2.NodeServiceCapability.RPC
    assert [each.rpc.type for each in answer.capabilities] == [
        rpc.STAGE_UNSTAGE_VOLUME,
        rpc.GET_VOLUME_STATS,
        rpc.EXPAND_VOLUME,
        rpc.SINGLE_NODE_MULTI_WRITER,
        rpc.VOLUME_MOUNT_GROUP,
        rpc.GET_VOLUME_HEALTH,
        rpc.GET_STORAGE_HEALTH,
    ]


def test_a_node_says_who_and_where_it_is(node: Stub, cluster: Cluster) -> None:
    answer = node.NodeGetInfo(csi_pb2.NodeGetInfoRequest())
    assert (answer.node_id, answer.max_volumes_per_node) == ("m1", 0)
    assert [answer.accessible_topology] == topology("m1", cluster=cluster.name)


def test_a_node_plugin_in_front_of_another_nodes_agent_says_so(node: Stub, cluster: Cluster) -> None:
    cluster.fakes.node("m1").name = "m2"
    said = refused(CODE.FAILED_PRECONDITION, node.NodeGetInfo, csi_pb2.NodeGetInfoRequest())
    assert "'m1'" in said
    assert "'m2'" in said


@pytest.mark.parametrize(
    ("capability", "spec"),
    [
        (
            mount("xfs", mount_flags=["noatime"]),
            StageSpec("", "/staging", AccessType.MOUNT, "xfs", ("noatime",)),
        ),
        (block(), StageSpec("", "/staging", AccessType.BLOCK, "")),
    ],
    ids=["mount", "block"],
)
def test_a_volume_goes_all_the_way_and_back_twice(
    node: Stub, cluster: Cluster, attached: str, capability: csi_pb2.VolumeCapability, spec: StageSpec
) -> None:
    agent = cluster.fakes.node("m1")
    for _ in range(2):
        node.NodeStageVolume(stage(volume_id=attached, volume_capability=capability))
        node.NodePublishVolume(publish(volume_id=attached, volume_capability=capability))
    (staged,), (published,) = agent.staged.values(), agent.published.values()
    assert (staged.path, staged.access, staged.filesystem, staged.mount_flags) == (
        spec.path,
        spec.access,
        spec.filesystem,
        spec.mount_flags,
    )
    assert published == PublishSpec(
        attached, "/staging", "/target", spec.access, readonly=False, mount_flags=spec.mount_flags
    )
    for _ in range(2):
        node.NodeUnpublishVolume(unpublish(attached))
        node.NodeUnstageVolume(unstage(attached))
    assert (agent.staged, agent.published) == ({}, {})


def test_a_volume_that_is_not_attached_here_is_not_staged(node: Stub) -> None:
    assert "no array" in refused(CODE.NOT_FOUND, node.NodeStageVolume, stage(volume_id="v9"))


def test_a_publish_needs_a_staging_path(node: Stub, attached: str) -> None:
    request = publish(volume_id=attached, staging_target_path="")
    refused(CODE.FAILED_PRECONDITION, node.NodePublishVolume, request)


@pytest.mark.parametrize(
    "changes", [{"volume_id": ""}, {"staging_target_path": ""}, {"volume_capability": None}]
)
def test_a_stage_that_lacks_something_is_refused(node: Stub, changes: dict[str, object]) -> None:
    refused(CODE.INVALID_ARGUMENT, node.NodeStageVolume, stage(**changes))


@pytest.mark.parametrize("changes", [{"volume_id": ""}, {"target_path": ""}, {"volume_capability": None}])
def test_a_publish_that_lacks_something_is_refused(node: Stub, changes: dict[str, object]) -> None:
    refused(CODE.INVALID_ARGUMENT, node.NodePublishVolume, publish(**changes))


def test_undoing_needs_to_know_what(node: Stub) -> None:
    refused(CODE.INVALID_ARGUMENT, node.NodeUnstageVolume, unstage(""))
    refused(CODE.INVALID_ARGUMENT, node.NodeUnstageVolume, unstage("v1", ""))
    refused(CODE.INVALID_ARGUMENT, node.NodeUnpublishVolume, unpublish(""))
    refused(CODE.INVALID_ARGUMENT, node.NodeUnpublishVolume, unpublish("v1", ""))


def test_an_agent_that_does_not_answer_is_unavailable(node: Stub, cluster: Cluster) -> None:
    cluster.crash("m1")
    refused(CODE.UNAVAILABLE, node.NodeStageVolume, stage())


def test_a_kubelet_that_registers_the_plugin_waits_for_its_agent(node: Stub, cluster: Cluster) -> None:
    cluster.crash("m1")
    asked = node.NodeGetInfo.future(csi_pb2.NodeGetInfoRequest())
    with pytest.raises(grpc.FutureTimeoutError):
        asked.result(timeout=0.2)
    cluster.fakes.node("m1").boot()
    assert asked.result(timeout=10).node_id == "m1"


def test_an_agent_that_never_comes_is_unavailable_after_a_minute(cluster: Cluster) -> None:
    cluster.crash("m1")
    clock = HandClock()
    plugin = Node(cluster.fakes.node("m1"), "m1", clock)
    begun = clock.now()
    with pytest.raises(Unavailable):
        plugin.NodeGetInfo(csi_pb2.NodeGetInfoRequest(), cast("grpc.ServicerContext", None))
    assert clock.now() - begun == 60


@pytest.fixture
def published(node: Stub, attached: str) -> str:
    """Mounted at /target."""
    node.NodeStageVolume(stage(volume_id=attached))
    node.NodePublishVolume(publish(volume_id=attached))
    return attached


def stats(volume_id: str, path: str = "/target") -> csi_pb2.NodeGetVolumeStatsRequest:
    return csi_pb2.NodeGetVolumeStatsRequest(volume_id=volume_id, volume_path=path)


def grow(volume_id: str, path: str = "/target", required: int = 0) -> csi_pb2.NodeExpandVolumeRequest:
    return csi_pb2.NodeExpandVolumeRequest(
        volume_id=volume_id, volume_path=path, capacity_range=capacity(required)
    )


@pytest.mark.parametrize("path", ["/target", "/staging", "/target/"])
def test_a_mounted_volume_is_measured_in_bytes_and_inodes(node: Stub, published: str, path: str) -> None:
    usage = node.NodeGetVolumeStats(stats(published, path)).usage
    assert [each.unit for each in usage] == [csi_pb2.VolumeUsage.BYTES, csi_pb2.VolumeUsage.INODES]
    assert (usage[0].total, usage[1].total, usage[1].used) == (256 * MIB, 100, 11)


def test_of_a_block_volume_the_size_is_known(node: Stub, attached: str) -> None:
    node.NodeStageVolume(stage(volume_id=attached, volume_capability=block()))
    node.NodePublishVolume(publish(volume_id=attached, volume_capability=block()))
    (usage,) = node.NodeGetVolumeStats(stats(attached)).usage
    assert (usage.unit, usage.total, usage.used) == (csi_pb2.VolumeUsage.BYTES, 256 * MIB, 0)


@pytest.mark.parametrize("path", ["/elsewhere", "some/path", "/a/../target"])
def test_what_is_not_there_is_not_found(node: Stub, published: str, path: str) -> None:
    refused(CODE.NOT_FOUND, node.NodeGetVolumeStats, stats(published, path))
    refused(CODE.NOT_FOUND, node.NodeGetVolumeStats, stats("v9"))
    refused(CODE.NOT_FOUND, node.NodeExpandVolume, grow(published, path))
    refused(CODE.NOT_FOUND, node.NodeExpandVolume, grow("v9"))


def test_measuring_and_growing_need_to_know_what(node: Stub, published: str) -> None:
    for call, make in ((node.NodeGetVolumeStats, stats), (node.NodeExpandVolume, grow)):
        refused(CODE.INVALID_ARGUMENT, call, make(""))
        refused(CODE.INVALID_ARGUMENT, call, make(published, ""))
    refused(CODE.INVALID_ARGUMENT, node.NodeExpandVolume, grow(published, required=-1))


def test_growing_fills_the_device_and_no_more(node: Stub, cluster: Cluster, published: str) -> None:
    assert node.NodeExpandVolume(grow(published)).capacity_bytes == 256 * MIB
    said = refused(CODE.OUT_OF_RANGE, node.NodeExpandVolume, grow(published, required=512 * MIB))
    assert str(256 * MIB) in said
    cluster.control.volumes.expand(published, 512 * MIB)
    assert node.NodeExpandVolume(grow(published, required=512 * MIB)).capacity_bytes == 512 * MIB


def test_a_single_writer_has_one_path(node: Stub, attached: str) -> None:
    alone = mount(mode=MODE.SINGLE_NODE_SINGLE_WRITER)
    node.NodeStageVolume(stage(volume_id=attached, volume_capability=alone))
    for _ in range(2):
        node.NodePublishVolume(publish(volume_id=attached, volume_capability=alone))
    second = publish(volume_id=attached, volume_capability=alone, target_path="/other")
    refused(CODE.FAILED_PRECONDITION, node.NodePublishVolume, second)


@pytest.mark.parametrize("mode", [MODE.SINGLE_NODE_MULTI_WRITER, MODE.SINGLE_NODE_WRITER])
def test_several_writers_have_several(node: Stub, attached: str, mode: int) -> None:
    node.NodeStageVolume(stage(volume_id=attached, volume_capability=mount(mode=mode)))
    for path in ("/target", "/other"):
        request = publish(volume_id=attached, volume_capability=mount(mode=mode), target_path=path)
        node.NodePublishVolume(request)


def test_a_path_that_is_taken_differently_is_said_so(node: Stub, published: str) -> None:
    refused(CODE.ALREADY_EXISTS, node.NodePublishVolume, publish(volume_id=published, readonly=True))
    other = stage(volume_id=published, volume_capability=mount(mount_flags=["noatime"]))
    refused(CODE.ALREADY_EXISTS, node.NodeStageVolume, other)


def test_the_health_of_a_volume_as_its_node_sees_it(node: Stub, cluster: Cluster, published: str) -> None:
    request = csi_pb2.NodeGetVolumeHealthRequest(
        volume_id=published, staging_target_path="/staging", volume_publish_path="/target"
    )
    assert list(node.NodeGetVolumeHealth(request).volume_health.health_statuses) == []
    for replica in ("r1", "r2"):
        cluster.fakes.node("m1").set_health(published, replica, MemberHealth.LOST)
    (found,) = node.NodeGetVolumeHealth(request).volume_health.health_statuses
    assert (found.status, found.reason, found.message) == (
        csi_pb2.DEGRADED,
        "ReplicaLost",
        "replica r1; replica r2",
    )
    refused(CODE.NOT_FOUND, node.NodeGetVolumeHealth, csi_pb2.NodeGetVolumeHealthRequest(volume_id="v9"))
    refused(CODE.INVALID_ARGUMENT, node.NodeGetVolumeHealth, csi_pb2.NodeGetVolumeHealthRequest())
    nowhere = csi_pb2.NodeGetVolumeHealthRequest(volume_id=published, volume_publish_path="some/path")
    refused(CODE.NOT_FOUND, node.NodeGetVolumeHealth, nowhere)


def test_the_health_of_a_nodes_storage(node: Stub, cluster: Cluster) -> None:
    request = csi_pb2.NodeGetStorageHealthRequest()
    assert list(node.NodeGetStorageHealth(request).backend_health) == []
    cluster.fakes.node("m1").ailments = (Ailment(AilmentKind.INACCESSIBLE, "DiskFailed", "1 of 1"),)
    (found,) = node.NodeGetStorageHealth(request).backend_health
    assert (found.status, found.reason) == (csi_pb2.STORAGE_UNREACHABLE, "DiskFailed")
