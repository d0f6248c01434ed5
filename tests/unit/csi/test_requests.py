"""What is refused at the border, and what the rest is turned into."""

from typing import Any

import pytest

from csi import node_requests, requests
from csi.capabilities import MODE, parse_capability
from csi.identifiers import parse_volume_path
from csi.v1 import csi_pb2
from replication.errors import FailedPrecondition, InvalidRequest, NotFound
from replication.model import AccessType, PublishSpec, StageSpec
from tests.unit.csi.requests import (
    attach,
    block,
    capacity,
    create,
    expand,
    mount,
    publish,
    stage,
)

FSTYPE = "csi.storage.k8s.io/fstype"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "name: missing"),
        ({"name": "x" * 129}, "at most 128"),
        ({"name": "ä" * 65}, "130 bytes: at most 128"),
        ({"name": "a\x07"}, "control character"),
        ({"volume_capabilities": []}, "volume_capabilities: missing"),
        ({"volume_capabilities": [csi_pb2.VolumeCapability()]}, "neither block nor mount"),
        ({"volume_capabilities": [mount("ext4"), mount("xfs")]}, "ext4 and xfs"),
        ({"capacity_range": capacity(2, 1)}, "less than required_bytes"),
        ({"mutable_parameters": {"pool": "p"}}, "mutable parameter 'pool'"),
        ({"volume_content_source": csi_pb2.VolumeContentSource()}, "snapshots and clones"),
        ({"parameters": {"pool": "p", FSTYPE: "xfs"}, "volume_capabilities": [mount("ext4")]}, "'ext4'"),
        (
            {
                "accessibility_requirements": csi_pb2.TopologyRequirement(
                    requisite=[csi_pb2.Topology(segments={"zone": "1"})]
                )
            },
            "unknown topology key 'zone'",
        ),
    ],
)
def test_a_bad_create_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        requests.parse_create(create(**changes))


def test_names_of_128_bytes_and_any_script_are_taken() -> None:
    assert requests.parse_create(create(name="ä" * 64)).name == "ä" * 64


def test_the_file_system_comes_from_parameter_or_capability() -> None:
    assert requests.parse_create(create(volume_capabilities=[mount("xfs")])).filesystem == "xfs"
    assert requests.parse_create(create(parameters={"pool": "p", FSTYPE: "xfs"})).filesystem == "xfs"
    assert requests.parse_create(create()).filesystem == ""


@pytest.mark.parametrize(
    "mode",
    [
        MODE.MULTI_NODE_READER_ONLY,
        MODE.MULTI_NODE_SINGLE_WRITER,
        MODE.MULTI_NODE_MULTI_WRITER,
        42,
    ],
)
def test_a_mode_that_is_not_kept_is_refused(mode: int) -> None:
    with pytest.raises(InvalidRequest, match="must be one of SINGLE_NODE_WRITER"):
        parse_capability(mount(mode=mode))


@pytest.mark.parametrize(
    "capability",
    [
        mount(mode=MODE.UNKNOWN),
        csi_pb2.VolumeCapability(mount=csi_pb2.VolumeCapability.MountVolume()),
        mount("zfs"),
        mount(volume_mount_group="staff"),
        mount(volume_mount_group="-1"),
        mount(volume_mount_group="4294967295"),
        mount(volume_mount_group="²"),
        mount(mount_flags=[""]),
        mount(mount_flags=["noatime\0"]),
        mount(mount_flags=["noatime, bind"]),
        mount(mount_flags=["loop=/dev/loop0"]),
        mount(mount_flags=["x" * 5000]),
    ],
)
def test_a_malformed_capability_is_refused(capability: csi_pb2.VolumeCapability) -> None:
    with pytest.raises(InvalidRequest, match="volume_capability"):
        parse_capability(capability)


def test_reader_only_means_readonly() -> None:
    assert parse_capability(mount(mode=MODE.SINGLE_NODE_READER_ONLY)).readonly
    assert not parse_capability(mount(mode=MODE.SINGLE_NODE_MULTI_WRITER)).readonly


def test_a_single_writer_is_alone() -> None:
    assert parse_capability(block(MODE.SINGLE_NODE_SINGLE_WRITER)).exclusive
    assert parse_capability(mount(mode=MODE.SINGLE_NODE_SINGLE_WRITER)).exclusive
    assert not parse_capability(mount(mode=MODE.SINGLE_NODE_WRITER)).exclusive


def test_a_volume_that_is_attached_read_only_is_staged_and_published_so() -> None:
    context = {"readonly": "true"}
    for capability in (mount(), block()):
        staged = stage(volume_capability=capability, publish_context=context)
        published = publish(volume_capability=capability, publish_context=context)
        assert node_requests.parse_stage(staged).readonly
        assert node_requests.parse_publish(published).readonly
    assert requests.parse_attach(attach(volume_capability=block(), readonly=True)).readonly
    assert requests.parse_attach(attach(volume_capability=block(MODE.SINGLE_NODE_READER_ONLY))).readonly
    assert not requests.parse_attach(attach()).readonly


def test_a_group_is_passed_on() -> None:
    capability = mount(volume_mount_group="1000")
    assert node_requests.parse_stage(stage(volume_capability=capability)).mount_group == "1000"
    assert node_requests.parse_publish(publish(volume_capability=capability)).mount_group == "1000"


@pytest.mark.parametrize("path", ["relative", "/a/../b", "/a\0b", "/" + "x" * 5000])
def test_nothing_is_found_where_nothing_can_be(path: str) -> None:
    with pytest.raises(NotFound, match="volume_path"):
        parse_volume_path(path)
    with pytest.raises(InvalidRequest, match="volume_path: missing"):
        parse_volume_path("")


def test_paths_are_told_without_what_means_nothing() -> None:
    assert parse_volume_path("/pods//a/./b/") == "/pods/a/b"


def test_mount_flags_do_not_show() -> None:
    assert "hunter2" not in repr(parse_capability(mount(mount_flags=["password=hunter2"])))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"volume_id": ""}, "volume_id: missing"),
        ({"volume_id": "v" * 129}, "longer than 128"),
        ({"node_id": ""}, "node_id: missing"),
        ({"node_id": "n" * 257}, "longer than 256"),
        ({"volume_capability": None}, "volume_capability: missing"),
    ],
)
def test_a_bad_attach_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        requests.parse_attach(attach(**changes))


def test_a_detach_without_a_node_is_from_wherever_it_is() -> None:
    message = csi_pb2.ControllerUnpublishVolumeRequest(volume_id="v1")
    assert requests.parse_detach(message) == requests.Detach("v1", None)


@pytest.mark.parametrize(
    "changes",
    [{"volume_id": ""}, {"capacity_range": None}, {"volume_capability": mount(mode=MODE.UNKNOWN)}],
)
def test_a_bad_expand_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        requests.parse_expand(expand(**changes))


def test_a_stage_for_a_mount() -> None:
    message = stage(volume_capability=mount("xfs", mount_flags=["noatime"]))
    expected = StageSpec("v1", "/staging", AccessType.MOUNT, "xfs", ("noatime",), readonly=False)
    assert node_requests.parse_stage(message) == expected


def test_a_stage_falls_back_to_the_volume_context_and_then_to_ext4() -> None:
    assert node_requests.parse_stage(stage(volume_context={"filesystem": "xfs"})).filesystem == "xfs"
    assert node_requests.parse_stage(stage()).filesystem == "ext4"


def test_a_stage_as_block_names_no_file_system() -> None:
    spec = node_requests.parse_stage(stage(volume_capability=block(), volume_context={"filesystem": "xfs"}))
    assert (spec.access, spec.filesystem) == (AccessType.BLOCK, "")


def test_a_stage_with_another_file_system_than_the_volumes_is_refused() -> None:
    message = stage(volume_capability=mount("ext4"), volume_context={"filesystem": "xfs"})
    with pytest.raises(FailedPrecondition, match="made for 'xfs'"):
        node_requests.parse_stage(message)


@pytest.mark.parametrize(
    "changes",
    [
        {"volume_id": ""},
        {"staging_target_path": ""},
        {"staging_target_path": "relative"},
        {"staging_target_path": "/a/../etc"},
        {"staging_target_path": "/a\0b"},
        {"volume_capability": None},
    ],
)
def test_a_bad_stage_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        node_requests.parse_stage(stage(**changes))


@pytest.mark.parametrize(
    "changes",
    [{"volume_id": ""}, {"target_path": ""}, {"target_path": "x"}, {"volume_capability": None}],
)
def test_a_bad_publish_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        node_requests.parse_publish(publish(**changes))


def test_a_publish_before_the_stage_is_refused() -> None:
    with pytest.raises(FailedPrecondition, match="NodeStageVolume comes first"):
        node_requests.parse_publish(publish(staging_target_path=""))


def test_a_publish() -> None:
    expected = PublishSpec("v1", "/staging", "/target", AccessType.MOUNT, readonly=True, mount_flags=())
    assert node_requests.parse_publish(publish(readonly=True)) == expected
    assert node_requests.parse_publish(
        publish(volume_capability=mount(mode=MODE.SINGLE_NODE_READER_ONLY))
    ).readonly
