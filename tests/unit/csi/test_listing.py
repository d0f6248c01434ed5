"""Lists, capacity, health and limits of volumes, over a real server with a control plane on fakes."""

from dataclasses import replace

import grpc
import pytest

from csi.pages import BATCH, choose_batch, iterate
from csi.v1 import csi_pb2, csi_pb2_grpc
from replication.control import rooms
from replication.model import GIB, MIB, Limits, MemberHealth, Phase
from tests.unit.csi.conftest import Cluster, refused
from tests.unit.csi.requests import (
    MODE,
    attach,
    block,
    capacity,
    create,
    list_volumes,
    modify,
    mount,
    topology,
)

Stub = csi_pb2_grpc.ControllerStub
CODE = grpc.StatusCode


@pytest.fixture
def ids(controller: Stub) -> list[str]:
    """Of five volumes, in the order of lists."""
    made = (controller.CreateVolume(create(name=f"pvc-{number}")) for number in range(5))
    return sorted(answer.volume.volume_id for answer in made)


def listed(answer: csi_pb2.ListVolumesResponse) -> list[str]:
    return [entry.volume.volume_id for entry in answer.entries]


def test_a_list_is_whole_without_a_bound(controller: Stub, ids: list[str]) -> None:
    answer = controller.ListVolumes(list_volumes())
    assert (listed(answer), answer.next_token) == (ids, "")
    assert answer.entries[0].volume.capacity_bytes == 256 * MIB


@pytest.mark.parametrize("count", [1, 2, 4, 5, 6])
def test_pages_make_up_the_list(controller: Stub, ids: list[str], count: int) -> None:
    found, token = [], ""
    while True:
        page = controller.ListVolumes(list_volumes(count, token))
        assert 0 < len(page.entries) <= count
        found += listed(page)
        token = page.next_token
        if not token:
            break
    assert found == ids


def test_a_token_survives_what_is_made_and_deleted_meanwhile(controller: Stub, ids: list[str]) -> None:
    first = controller.ListVolumes(list_volumes(2))
    controller.DeleteVolume(csi_pb2.DeleteVolumeRequest(volume_id=ids[1]))
    controller.CreateVolume(create(name="late"))
    rest = listed(controller.ListVolumes(list_volumes(0, first.next_token)))
    assert set(ids[2:]) <= set(rest)
    assert not set(rest) & set(ids[:2])


@pytest.mark.parametrize("call", ["ListVolumes", "ControllerListVolumeHealth"])
def test_a_list_that_cannot_be_is_refused(controller: Stub, call: str) -> None:
    request = {
        "ListVolumes": csi_pb2.ListVolumesRequest,
        "ControllerListVolumeHealth": csi_pb2.ControllerListVolumeHealthRequest,
    }[call]
    foreign = "invalid-token"
    bad = request(starting_token=foreign)
    assert "starting_token" in refused(CODE.ABORTED, getattr(controller, call), bad)
    assert "max_entries" in refused(CODE.INVALID_ARGUMENT, getattr(controller, call), request(max_entries=-1))


def test_it_is_told_where_a_volume_is_published(controller: Stub, ids: list[str]) -> None:
    controller.ControllerPublishVolume(attach(volume_id=ids[0]))
    entries = controller.ListVolumes(list_volumes()).entries
    assert [list(entry.status.published_node_ids) for entry in entries] == [["m1"], [], [], [], []]
    one = controller.ControllerGetVolume(csi_pb2.ControllerGetVolumeRequest(volume_id=ids[0]))
    assert (one.volume.volume_id, list(one.status.published_node_ids)) == (ids[0], ["m1"])


def test_what_is_not_whole_yet_is_not_told(controller: Stub, cluster: Cluster, ids: list[str]) -> None:
    cluster.control.records.change(ids[0], lambda volume: replace(volume, phase=Phase.DELETING))
    assert listed(controller.ListVolumes(list_volumes())) == ids[1:]
    for call, request in (
        (controller.ControllerGetVolume, csi_pb2.ControllerGetVolumeRequest),
        (controller.ControllerGetVolumeHealth, csi_pb2.ControllerGetVolumeHealthRequest),
    ):
        assert "deleting" in refused(CODE.NOT_FOUND, call, request(volume_id=ids[0]))


@pytest.mark.parametrize("call", ["ControllerGetVolume", "ControllerGetVolumeHealth"])
def test_a_volume_that_is_asked_for_is_named_and_exists(controller: Stub, call: str) -> None:
    request = {
        "ControllerGetVolume": csi_pb2.ControllerGetVolumeRequest,
        "ControllerGetVolumeHealth": csi_pb2.ControllerGetVolumeHealthRequest,
    }[call]
    refused(CODE.INVALID_ARGUMENT, getattr(controller, call), request())
    refused(CODE.NOT_FOUND, getattr(controller, call), request(volume_id="v0123456789abcdef"))


# Capacity


def get_capacity(**changes: object) -> csi_pb2.GetCapacityRequest:
    return csi_pb2.GetCapacityRequest(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("parameters", [{}, {"pool": "nvme"}, {"pool": "nvme", "replicas": "1"}])
def test_the_capacity_can_be_had_as_one_volume_and_no_more(
    controller: Stub, parameters: dict[str, str]
) -> None:
    answer = controller.GetCapacity(get_capacity(parameters=parameters))
    largest = answer.available_capacity
    assert largest == answer.maximum_volume_size.value
    assert answer.minimum_volume_size.value == 16 * MIB
    wanted = {"pool": "nvme"} | parameters
    more = create(capacity_range=capacity(largest + 1), parameters=wanted)
    refused(CODE.OUT_OF_RANGE, controller.CreateVolume, more)
    controller.CreateVolume(create(capacity_range=capacity(largest, largest), parameters=wanted))


@pytest.mark.usefixtures("ids")
def test_the_capacity_of_a_topology(
    controller: Stub, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "LATELY", 0.0)
    single = {"pool": "nvme", "replicas": "1"}
    here = topology("m2", cluster=cluster.name)[0]
    cluster.fakes.node("m2").disk_bytes = 10 * GIB
    small = controller.GetCapacity(get_capacity(parameters=single, accessible_topology=here))
    large = controller.GetCapacity(get_capacity(parameters=single))
    shared = controller.GetCapacity(get_capacity(parameters={"pool": "nvme"}, accessible_topology=here))
    assert small.available_capacity < 10 * GIB < large.available_capacity
    assert shared.available_capacity == small.available_capacity
    for nowhere in (topology("m9"), topology("m2", cluster="foreign")):
        empty = controller.GetCapacity(get_capacity(accessible_topology=nowhere[0]))
        assert (empty.available_capacity, empty.maximum_volume_size.value) == (0, 0)


def test_the_capacity_of_what_cannot_be_is_refused(controller: Stub) -> None:
    for changes in (
        {"parameters": {"pool": "unknown"}},
        {"parameters": {"foo": "bar"}},
        {"volume_capabilities": [mount(mode=MODE.MULTI_NODE_MULTI_WRITER)]},
        {"accessible_topology": csi_pb2.Topology(segments={"rack": "1"})},
    ):
        refused(CODE.INVALID_ARGUMENT, controller.GetCapacity, get_capacity(**changes))


@pytest.mark.parametrize(("capability", "least"), [(block(), 4 * MIB), (mount("xfs"), 300 * MIB)])
def test_the_least_that_can_be_had(
    controller: Stub, capability: csi_pb2.VolumeCapability, least: int
) -> None:
    answer = controller.GetCapacity(get_capacity(volume_capabilities=[capability]))
    assert answer.minimum_volume_size.value == least
    request = create(capacity_range=capacity(1), volume_capabilities=[capability])
    assert controller.CreateVolume(request).volume.capacity_bytes == least


# Health


def health(controller: Stub, volume_id: str) -> list[tuple[int, str]]:
    request = csi_pb2.ControllerGetVolumeHealthRequest(volume_id=volume_id)
    found = controller.ControllerGetVolumeHealth(request).volume_health
    assert found.volume_id == volume_id
    return [(each.status, each.reason) for each in found.health_statuses]


def test_a_volume_that_is_well_has_nothing_and_is_not_listed(controller: Stub, ids: list[str]) -> None:
    assert health(controller, ids[0]) == []
    empty = controller.ControllerListVolumeHealth(csi_pb2.ControllerListVolumeHealthRequest())
    assert list(empty.entries) == []


def test_a_volume_that_ails_says_which_replica_and_is_listed(
    controller: Stub, cluster: Cluster, ids: list[str]
) -> None:
    cluster.crash("m3")
    assert health(controller, ids[0]) == [(csi_pb2.DEGRADED, "NodeUnreachable")]
    found, token = [], ""
    while True:
        request = csi_pb2.ControllerListVolumeHealthRequest(max_entries=2, starting_token=token)
        page = controller.ControllerListVolumeHealth(request)
        found += [entry.volume_id for entry in page.entries]
        token = page.next_token
        if not token:
            break
    assert found == ids
    assert "node m3" in page.entries[0].health_statuses[0].message


def test_reasons_are_told_once(controller: Stub, cluster: Cluster, ids: list[str]) -> None:
    for node in ("m1", "m2", "m3"):
        cluster.crash(node)
    assert health(controller, ids[0]) == [(csi_pb2.INACCESSIBLE, "NodeUnreachable")]


def test_a_replica_that_is_lost_in_use_is_told_before_the_record_knows(
    controller: Stub, cluster: Cluster, ids: list[str]
) -> None:
    controller.ControllerPublishVolume(attach(volume_id=ids[0]))
    cluster.fakes.node("m1").set_health(ids[0], "r2", MemberHealth.LOST)
    assert (csi_pb2.DEGRADED, "ReplicaLost") in health(controller, ids[0])


# Limits


def test_limits_are_asked_for_and_changed(controller: Stub, cluster: Cluster) -> None:
    request = create(parameters={"pool": "nvme", "tier": "basic"}, mutable_parameters={"writeIOPS": "1000"})
    volume_id = controller.CreateVolume(request).volume.volume_id
    assert cluster.control.volumes.get(volume_id).limits == Limits("basic", 0, 1000)
    for _ in range(2):
        controller.ControllerModifyVolume(modify(volume_id, tier="premium", readBandwidth="64Mi"))
    assert cluster.control.volumes.get(volume_id).limits == Limits("premium", 0, 1000, 64 << 20)
    assert controller.CreateVolume(request).volume.volume_id == volume_id


@pytest.mark.parametrize("given", ["parameters", "mutable_parameters"])
def test_a_volume_whose_class_was_changed_before_its_maker_had_an_answer_is_given_to_him(
    controller: Stub, cluster: Cluster, given: str
) -> None:
    """Who is refused here waits for ever, and deletes nothing when he gives up."""
    said = {"pool": "nvme"} if given == "parameters" else {}
    volume_id = controller.CreateVolume(create(**{given: {**said, "tier": "basic"}})).volume.volume_id
    repeat = create(**{given: {**said, "tier": "premium"}})
    assert controller.CreateVolume(repeat).volume.volume_id == volume_id
    assert cluster.control.volumes.get(volume_id).limits == Limits("premium")
    hyperconverged = create(parameters={"pool": "nvme", "tier": "basic", "hyperconverged": "true"})
    assert controller.CreateVolume(hyperconverged).volume.volume_id == volume_id


def test_a_change_that_cannot_be_is_refused_and_changes_nothing(
    controller: Stub, cluster: Cluster, ids: list[str]
) -> None:
    before = cluster.control.volumes.get(ids[0])
    for parameters in ({"foo": "bar"}, {"tier": "gold"}, {"tier": "basic", "readIOPS": "many"}):
        refused(CODE.INVALID_ARGUMENT, controller.ControllerModifyVolume, modify(ids[0], **parameters))
    refused(CODE.INVALID_ARGUMENT, controller.ControllerModifyVolume, modify("", tier="basic"))
    refused(CODE.NOT_FOUND, controller.ControllerModifyVolume, modify("v0123456789abcdef", tier="basic"))
    assert cluster.control.volumes.get(ids[0]) == before


@pytest.mark.parametrize(
    ("count", "batch"), [(0, BATCH), (1, 2), (100, 101), (BATCH - 1, BATCH), (BATCH, BATCH)]
)
def test_no_more_is_read_than_a_page_and_what_comes_after_it(count: int, batch: int) -> None:
    assert choose_batch(count) == batch


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_all_are_told_however_many_are_read_at_once(cluster: Cluster, ids: list[str], batch: int) -> None:
    assert [volume.id for volume in iterate(cluster.control.volumes.list_page, "", batch)] == ids
