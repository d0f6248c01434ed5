"""The Identity service, the same from controller and node."""

import grpc
import pytest

from csi.v1 import csi_pb2, csi_pb2_grpc
from tests.unit.csi.conftest import Cluster, refused

SERVICE = csi_pb2.PluginCapability.Service
ONLINE = csi_pb2.PluginCapability.VolumeExpansion.ONLINE


@pytest.fixture(params=["channel", "node_channel"])
def identity(request: pytest.FixtureRequest) -> csi_pb2_grpc.IdentityStub:
    return csi_pb2_grpc.IdentityStub(request.getfixturevalue(request.param))


def test_the_plugin_has_a_name_and_a_version(identity: csi_pb2_grpc.IdentityStub) -> None:
    info = identity.GetPluginInfo(csi_pb2.GetPluginInfoRequest())
    assert info.name == "csi.trilith.io"
    assert info.vendor_version


def test_every_instance_has_the_same_capabilities(identity: csi_pb2_grpc.IdentityStub) -> None:
    answer = identity.GetPluginCapabilities(csi_pb2.GetPluginCapabilitiesRequest())
    services = {each.service.type for each in answer.capabilities if each.HasField("service")}
    expansions = {each.volume_expansion.type for each in answer.capabilities} - {0}
    assert services == {SERVICE.CONTROLLER_SERVICE, SERVICE.VOLUME_ACCESSIBILITY_CONSTRAINTS}
    assert expansions == {ONLINE}


def test_a_plugin_that_can_work_is_ready(identity: csi_pb2_grpc.IdentityStub) -> None:
    assert identity.Probe(csi_pb2.ProbeRequest()).ready.value


def test_a_node_plugin_without_its_agent_is_ready_and_says_what_is_missing(
    node_channel: grpc.Channel, cluster: Cluster
) -> None:
    """The kubelet would restart it again and again, ever later, and it would not be there for the agent."""
    cluster.crash("m1")
    assert csi_pb2_grpc.IdentityStub(node_channel).Probe(csi_pb2.ProbeRequest()).ready.value
    stats = csi_pb2.NodeGetVolumeStatsRequest(volume_id="v1", volume_path="/target")
    said = refused(grpc.StatusCode.UNAVAILABLE, csi_pb2_grpc.NodeStub(node_channel).NodeGetVolumeStats, stats)
    assert "m1" in said
