"""The Controller service over a real server, with a control plane on behaving fakes."""

from collections.abc import Callable

import grpc
import pytest

from csi.v1 import csi_pb2, csi_pb2_grpc
from replication.control.lifecycle import begin_expand, show_growth
from replication.model import GIB, MIB, Phase
from tests.unit.csi.conftest import Cluster, refused
from tests.unit.csi.requests import MODE, attach, block, capacity, create, expand, mount, topology

Stub = csi_pb2_grpc.ControllerStub
FSTYPE = "csi.storage.k8s.io/fstype"
CODE = grpc.StatusCode


def delete(volume_id: str) -> csi_pb2.DeleteVolumeRequest:
    return csi_pb2.DeleteVolumeRequest(volume_id=volume_id)


def detach(volume_id: str, node: str = "") -> csi_pb2.ControllerUnpublishVolumeRequest:
    return csi_pb2.ControllerUnpublishVolumeRequest(volume_id=volume_id, node_id=node)


@pytest.fixture
def volume_id(controller: Stub) -> str:
    return str(controller.CreateVolume(create()).volume.volume_id)


def test_only_what_works_is_advertised(controller: Stub) -> None:
    answer = controller.ControllerGetCapabilities(csi_pb2.ControllerGetCapabilitiesRequest())
    rpc = csi_pb2.ControllerServiceCapability.RPC
    assert [each.rpc.type for each in answer.capabilities] == [
        rpc.CREATE_DELETE_VOLUME,
        rpc.PUBLISH_UNPUBLISH_VOLUME,
        rpc.LIST_VOLUMES,
        rpc.GET_CAPACITY,
        rpc.PUBLISH_READONLY,
        rpc.EXPAND_VOLUME,
        rpc.LIST_VOLUMES_PUBLISHED_NODES,
        rpc.GET_VOLUME,
        rpc.SINGLE_NODE_MULTI_WRITER,
        rpc.MODIFY_VOLUME,
        rpc.GET_VOLUME_HEALTH,
        rpc.LIST_VOLUME_HEALTH,
    ]


@pytest.mark.parametrize(
    ("call", "request_type"),
    [
        ("CreateSnapshot", csi_pb2.CreateSnapshotRequest),
        ("DeleteSnapshot", csi_pb2.DeleteSnapshotRequest),
        ("ListSnapshots", csi_pb2.ListSnapshotsRequest),
        ("GetSnapshot", csi_pb2.GetSnapshotRequest),
    ],
)
def test_what_is_not_advertised_is_unimplemented(
    controller: Stub, call: str, request_type: Callable[[], object]
) -> None:
    assert call in refused(CODE.UNIMPLEMENTED, getattr(controller, call), request_type())


def test_a_volume_is_made_with_its_replicas(controller: Stub, cluster: Cluster) -> None:
    volume = controller.CreateVolume(create()).volume
    made = cluster.control.volumes.get(volume.volume_id)
    assert (volume.capacity_bytes, made.name, len(made.replicas)) == (256 * MIB, "pvc-1", 3)
    assert list(volume.accessible_topology) == topology("", cluster=cluster.name)


def test_creating_again_gives_the_same_volume(controller: Stub, volume_id: str) -> None:
    assert controller.CreateVolume(create()).volume.volume_id == volume_id


@pytest.mark.parametrize("range_", [capacity(100 * MIB), capacity(0, GIB), capacity(256 * MIB, 256 * MIB)])
def test_a_volume_within_the_range_will_do(
    controller: Stub, volume_id: str, range_: csi_pb2.CapacityRange
) -> None:
    assert controller.CreateVolume(create(capacity_range=range_)).volume.volume_id == volume_id


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"capacity_range": capacity(512 * MIB)}, "size"),
        ({"capacity_range": capacity(0, 128 * MIB)}, "size"),
        ({"parameters": {"pool": "nvme", "replicas": "1"}}, "replicas"),
        ({"parameters": {"pool": "nvme", "minInSyncReplicas": "2"}}, "minInSyncReplicas"),
        ({"volume_capabilities": [mount("xfs")]}, "filesystem"),
    ],
)
@pytest.mark.usefixtures("volume_id")
def test_the_same_name_for_something_else_is_refused(
    controller: Stub, changes: dict[str, object], word: str
) -> None:
    assert word in refused(CODE.ALREADY_EXISTS, controller.CreateVolume, create(**changes))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"name": ""}, CODE.INVALID_ARGUMENT),
        ({"volume_capabilities": []}, CODE.INVALID_ARGUMENT),
        ({"volume_capabilities": [mount(mode=MODE.MULTI_NODE_MULTI_WRITER)]}, CODE.INVALID_ARGUMENT),
        ({"parameters": {"pool": "nvme", "tier": "gold"}}, CODE.INVALID_ARGUMENT),
        ({"parameters": {"pool": "unknown"}}, CODE.INVALID_ARGUMENT),
        ({"parameters": {"pool": "nvme", "minInSyncReplicas": "4"}}, CODE.INVALID_ARGUMENT),
        ({"parameters": {"pool": "nvme", "spread": "rack"}}, CODE.RESOURCE_EXHAUSTED),
        ({"capacity_range": capacity(0, 8 * MIB)}, CODE.OUT_OF_RANGE),
        ({"mutable_parameters": {"foo": "bar"}}, CODE.INVALID_ARGUMENT),
        ({"parameters": {"pool": "nvme", "replicas": "5"}}, CODE.FAILED_PRECONDITION),
        ({"capacity_range": capacity(1 << 50)}, CODE.OUT_OF_RANGE),
        ({"capacity_range": capacity(5 * MIB, 5 * MIB)}, CODE.OUT_OF_RANGE),
    ],
)
def test_what_cannot_be_made_is_refused_and_leaves_nothing(
    controller: Stub, cluster: Cluster, changes: dict[str, object], code: grpc.StatusCode
) -> None:
    refused(code, controller.CreateVolume, create(**changes))
    assert cluster.control.volumes.list() == ()


def test_a_full_pool_is_resource_exhausted_and_says_what_is_free(controller: Stub, cluster: Cluster) -> None:
    free = cluster.control.pools.usage("nvme")[0].groups[0].free_bytes
    controller.CreateVolume(create(name="big", capacity_range=capacity(free - 64 * MIB)))
    said = refused(CODE.RESOURCE_EXHAUSTED, controller.CreateVolume, create())
    assert "m1" in said


def test_room_that_is_still_to_be_wiped_is_unavailable_and_no_capacity(
    controller: Stub, cluster: Cluster
) -> None:
    for node in cluster.fakes.nodes.values():
        node.reserved_bytes = node.disk_bytes
    assert "still to be wiped" in refused(CODE.UNAVAILABLE, controller.CreateVolume, create())
    request = csi_pb2.GetCapacityRequest(parameters={"pool": "nvme"})
    assert controller.GetCapacity(request).available_capacity == 0


def test_a_node_that_does_not_answer_is_unavailable_and_nothing_stays(
    controller: Stub, cluster: Cluster
) -> None:
    cluster.crash("m3")
    assert "m3" in refused(CODE.UNAVAILABLE, controller.CreateVolume, create())
    assert cluster.control.volumes.list() == ()


def test_the_file_system_is_kept_in_the_volume_context(controller: Stub) -> None:
    volume = controller.CreateVolume(create(parameters={"pool": "nvme", FSTYPE: "xfs"})).volume
    assert dict(volume.volume_context) == {"filesystem": "xfs"}


def test_one_replica_is_used_where_it_lies(controller: Stub, cluster: Cluster) -> None:
    wanted = csi_pb2.TopologyRequirement(
        requisite=topology("m1", "m2", "m3", cluster=cluster.name),
        preferred=topology("m2", cluster=cluster.name),
    )
    parameters = {"pool": "nvme", "replicas": "1"}
    volume = controller.CreateVolume(create(parameters=parameters, accessibility_requirements=wanted)).volume
    assert list(volume.accessible_topology) == topology("m2", cluster=cluster.name)


def test_a_volume_that_could_not_be_used_where_it_must_is_taken_away_again(
    controller: Stub, cluster: Cluster
) -> None:
    wanted = csi_pb2.TopologyRequirement(requisite=topology("elsewhere", cluster=cluster.name))
    request = create(parameters={"pool": "nvme", "replicas": "1"}, accessibility_requirements=wanted)
    assert "elsewhere" in refused(CODE.RESOURCE_EXHAUSTED, controller.CreateVolume, request)
    assert cluster.control.volumes.list() == ()


@pytest.mark.usefixtures("volume_id")
def test_another_cluster_is_out_of_reach(controller: Stub) -> None:
    wanted = csi_pb2.TopologyRequirement(requisite=topology("m1", cluster="foreign"))
    request = create(accessibility_requirements=wanted)
    assert "foreign" in refused(CODE.ALREADY_EXISTS, controller.CreateVolume, request)
    request.name = "pvc-2"
    assert "foreign" in refused(CODE.RESOURCE_EXHAUSTED, controller.CreateVolume, request)


def test_one_replica_that_lies_elsewhere_already_is_said_so(controller: Stub, cluster: Cluster) -> None:
    parameters = {"pool": "nvme", "replicas": "1"}
    for node, code in (("m1", None), ("m1", None), ("m2", CODE.ALREADY_EXISTS)):
        wanted = csi_pb2.TopologyRequirement(requisite=topology(node, cluster=cluster.name))
        request = create(parameters=parameters, accessibility_requirements=wanted)
        if code is None:
            controller.CreateVolume(request)
        else:
            assert "usable on node m1 only" in refused(code, controller.CreateVolume, request)


def test_one_that_is_still_being_deleted_is_made_anew_only_where_it_must_be(
    controller: Stub, cluster: Cluster
) -> None:
    """Else it would lie where nobody can use it, and be in the way of itself for ever."""
    wanted = csi_pb2.TopologyRequirement(requisite=topology("m3", cluster=cluster.name))
    request = create(parameters={"pool": "nvme", "replicas": "1"}, accessibility_requirements=wanted)
    volume = controller.CreateVolume(request).volume
    cluster.crash("m3")
    refused(CODE.UNAVAILABLE, controller.DeleteVolume, delete(volume.volume_id))
    cluster.fakes.node("m3").silent = False
    cluster.control.emptying.cordon("m3")
    assert "cordoned: m3" in refused(CODE.RESOURCE_EXHAUSTED, controller.CreateVolume, request)
    assert cluster.control.volumes.list() == ()


def test_zones_say_which_nodes_are_meant(controller: Stub, cluster: Cluster) -> None:
    cluster.control.nodes.label("m3", {"topology.kubernetes.io/zone": "z3"})
    zone = csi_pb2.Topology(segments={"topology.kubernetes.io/zone": "z3"})
    wanted = csi_pb2.TopologyRequirement(requisite=[zone])
    parameters = {"pool": "nvme", "replicas": "1"}
    volume = controller.CreateVolume(create(parameters=parameters, accessibility_requirements=wanted)).volume
    assert list(volume.accessible_topology) == topology("m3", cluster=cluster.name)


def test_deleting_can_be_repeated(controller: Stub, cluster: Cluster, volume_id: str) -> None:
    for _ in range(2):
        controller.DeleteVolume(delete(volume_id))
    assert cluster.control.volumes.list() == ()


@pytest.mark.parametrize("unknown", ["v0123456789abcdef", "..", "a/b", "ä" * 60])
def test_deleting_what_was_never_there_is_fine(controller: Stub, unknown: str) -> None:
    controller.DeleteVolume(delete(unknown))
    controller.ControllerUnpublishVolume(detach(unknown, "m1"))


def test_deleting_nothing_in_particular_is_refused(controller: Stub) -> None:
    refused(CODE.INVALID_ARGUMENT, controller.DeleteVolume, delete(""))
    refused(CODE.INVALID_ARGUMENT, controller.ControllerUnpublishVolume, detach(""))


def test_a_volume_in_use_is_not_deleted(controller: Stub, volume_id: str) -> None:
    controller.ControllerPublishVolume(attach(volume_id=volume_id))
    assert "m1" in refused(CODE.FAILED_PRECONDITION, controller.DeleteVolume, delete(volume_id))


@pytest.mark.parametrize("capability", [mount(), block(), mount("ext4", MODE.SINGLE_NODE_READER_ONLY)])
def test_publishing_tells_the_device_and_nothing_else(
    controller: Stub, volume_id: str, capability: csi_pb2.VolumeCapability
) -> None:
    request = attach(volume_id=volume_id, volume_capability=capability)
    first = dict(controller.ControllerPublishVolume(request).publish_context)
    readonly = capability.access_mode.mode == MODE.SINGLE_NODE_READER_ONLY
    assert set(first) == {"device", *(["readonly"] if readonly else [])}
    assert first["device"].startswith("/dev/")
    assert dict(controller.ControllerPublishVolume(request).publish_context) == first


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"volume_id": ""}, CODE.INVALID_ARGUMENT),
        ({"node_id": ""}, CODE.INVALID_ARGUMENT),
        ({"volume_capability": None}, CODE.INVALID_ARGUMENT),
        ({"volume_capability": mount(mode=MODE.MULTI_NODE_READER_ONLY)}, CODE.INVALID_ARGUMENT),
        ({"volume_id": "v0123456789abcdef"}, CODE.NOT_FOUND),
        ({"node_id": "m9"}, CODE.NOT_FOUND),
    ],
)
def test_what_cannot_be_published_is_refused(
    controller: Stub, volume_id: str, changes: dict[str, object], code: grpc.StatusCode
) -> None:
    refused(code, controller.ControllerPublishVolume, attach(**({"volume_id": volume_id} | changes)))


def test_a_volume_is_published_to_one_node_at_a_time(controller: Stub, volume_id: str) -> None:
    controller.ControllerPublishVolume(attach(volume_id=volume_id))
    request = attach(volume_id=volume_id, node_id="m2")
    assert "m1" in refused(CODE.FAILED_PRECONDITION, controller.ControllerPublishVolume, request)


@pytest.mark.parametrize("first", [False, True])
def test_read_only_and_writable_exclude_each_other(controller: Stub, volume_id: str, first: bool) -> None:
    published = controller.ControllerPublishVolume(attach(volume_id=volume_id, readonly=first))
    assert published.publish_context.get("readonly", "false") == str(first).lower()
    request = attach(volume_id=volume_id, readonly=not first)
    assert "already" in refused(CODE.ALREADY_EXISTS, controller.ControllerPublishVolume, request)
    controller.ControllerUnpublishVolume(detach(volume_id, "m1"))
    controller.ControllerPublishVolume(request)


def test_a_volume_moves(controller: Stub, volume_id: str) -> None:
    controller.ControllerPublishVolume(attach(volume_id=volume_id))
    controller.ControllerUnpublishVolume(detach(volume_id, "m1"))
    controller.ControllerPublishVolume(attach(volume_id=volume_id, node_id="m2"))


def test_publishing_on_a_silent_node_is_unavailable_and_undone(
    controller: Stub, cluster: Cluster, volume_id: str
) -> None:
    cluster.crash("m3")
    refused(CODE.UNAVAILABLE, controller.ControllerPublishVolume, attach(volume_id=volume_id, node_id="m3"))
    controller.ControllerPublishVolume(attach(volume_id=volume_id, node_id="m1"))


@pytest.mark.parametrize("node", ["m1", ""])
def test_unpublishing_can_be_repeated(controller: Stub, volume_id: str, node: str) -> None:
    controller.ControllerPublishVolume(attach(volume_id=volume_id))
    for _ in range(2):
        controller.ControllerUnpublishVolume(detach(volume_id, node))


@pytest.mark.parametrize("node", ["m2", "m9"])
def test_unpublishing_from_where_it_is_not_changes_nothing(
    controller: Stub, cluster: Cluster, volume_id: str, node: str
) -> None:
    controller.ControllerPublishVolume(attach(volume_id=volume_id))
    controller.ControllerUnpublishVolume(detach(volume_id, node))
    assert cluster.control.volumes.get(volume_id).consumer == "m1"


def validate(volume_id: str, *capabilities: csi_pb2.VolumeCapability) -> object:
    return csi_pb2.ValidateVolumeCapabilitiesRequest(
        volume_id=volume_id, volume_capabilities=capabilities, parameters={"pool": "nvme"}
    )


def test_what_is_supported_is_confirmed(controller: Stub, volume_id: str) -> None:
    answer = controller.ValidateVolumeCapabilities(validate(volume_id, mount("ext4"), block()))
    assert list(answer.confirmed.volume_capabilities) == [mount("ext4"), block()]
    assert dict(answer.confirmed.parameters) == {"pool": "nvme"}


@pytest.mark.parametrize(
    ("capability", "word"),
    [(mount(mode=MODE.MULTI_NODE_MULTI_WRITER), "MULTI_NODE_MULTI_WRITER"), (mount("zfs"), "zfs")],
)
def test_what_is_not_supported_is_not_confirmed(
    controller: Stub, volume_id: str, capability: csi_pb2.VolumeCapability, word: str
) -> None:
    answer = controller.ValidateVolumeCapabilities(validate(volume_id, block(), capability))
    assert not answer.HasField("confirmed")
    assert word in answer.message


def test_another_file_system_than_the_volumes_is_not_confirmed(controller: Stub) -> None:
    made = controller.CreateVolume(create(volume_capabilities=[mount("xfs")])).volume.volume_id
    answer = controller.ValidateVolumeCapabilities(validate(made, mount("ext4")))
    assert "made for 'xfs'" in answer.message


def test_validation_needs_a_volume_and_capabilities(controller: Stub, volume_id: str) -> None:
    check = controller.ValidateVolumeCapabilities
    refused(CODE.INVALID_ARGUMENT, check, validate("", mount()))
    refused(CODE.INVALID_ARGUMENT, check, validate(volume_id))
    refused(CODE.NOT_FOUND, check, validate("v0123456789abcdef", mount()))


@pytest.mark.parametrize("attached", [False, True])
def test_expanding_is_done_when_it_returns(
    controller: Stub, cluster: Cluster, volume_id: str, attached: bool
) -> None:
    if attached:
        controller.ControllerPublishVolume(attach(volume_id=volume_id))
    answer = controller.ControllerExpandVolume(expand(volume_id=volume_id))
    assert (answer.capacity_bytes, answer.node_expansion_required) == (512 * MIB, False)
    assert cluster.control.volumes.get(volume_id).size_bytes == 512 * MIB


def test_expanding_to_what_it_has_changes_nothing(controller: Stub, volume_id: str) -> None:
    request = expand(volume_id=volume_id, capacity_range=capacity(100 * MIB))
    assert controller.ControllerExpandVolume(request).capacity_bytes == 256 * MIB


def test_an_expansion_that_was_cut_short_when_only_the_record_had_it_is_ended(
    controller: Stub, cluster: Cluster, volume_id: str
) -> None:
    """The record has the new size before the array does."""
    controller.ControllerPublishVolume(attach(volume_id=volume_id))
    records = cluster.control.records
    records.change(volume_id, lambda v: begin_expand(v, 512 * MIB))
    records.change(volume_id, lambda v: show_growth(v, 512 * MIB))
    controller.ControllerExpandVolume(expand(volume_id=volume_id))
    assert cluster.control.volumes.get(volume_id).phase is Phase.READY
    assert cluster.fakes.node("m1").arrays[volume_id].size_bytes == 512 * MIB


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"volume_id": ""}, CODE.INVALID_ARGUMENT),
        ({"capacity_range": None}, CODE.INVALID_ARGUMENT),
        ({"volume_capability": mount(mode=MODE.MULTI_NODE_MULTI_WRITER)}, CODE.INVALID_ARGUMENT),
        ({"volume_id": "v0123456789abcdef"}, CODE.NOT_FOUND),
        ({"capacity_range": capacity(1 * MIB, 128 * MIB)}, CODE.OUT_OF_RANGE),
        ({"capacity_range": capacity(1 << 50)}, CODE.OUT_OF_RANGE),
    ],
)
def test_what_cannot_be_expanded_is_refused(
    controller: Stub, cluster: Cluster, volume_id: str, changes: dict[str, object], code: grpc.StatusCode
) -> None:
    refused(code, controller.ControllerExpandVolume, expand(**({"volume_id": volume_id} | changes)))
    assert cluster.control.volumes.get(volume_id).size_bytes == 256 * MIB
