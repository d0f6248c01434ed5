"""Sockets, certificates, logs, and how the servers end."""

import logging
import stat
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import grpc
import pytest

from csi.calls import Calls
from csi.controller import register_controller
from csi.endpoint import TlsEndpoint, UnixEndpoint
from csi.identity import Identity as IdentityService
from csi.node import register_node
from csi.server import CALLS, Server, serve
from csi.v1 import csi_pb2, csi_pb2_grpc
from replication.errors import FailedPrecondition, Unauthenticated
from replication.pki import CertificateAuthority, Holder, Identity, Role
from replication.rpc.tls import secure_channel
from tests.unit.csi.conftest import Cluster, no_identity, refused, serving
from tests.unit.csi.requests import create, mount, stage

CODE = grpc.StatusCode
PROBE = csi_pb2.ProbeRequest()


@pytest.fixture
def authority(tmp_path: Path) -> CertificateAuthority:
    return CertificateAuthority.create(tmp_path / "pki", "cluster")


@pytest.fixture
def server(cluster: Cluster, authority: CertificateAuthority) -> Iterator[Server]:
    identity = authority.issue("control", Role.CONTROL)
    register = partial(register_controller, cluster.control)
    server = serve(register, TlsEndpoint("127.0.0.1:0"), lambda: identity)
    yield server
    server.stop(0)


def probe(server: Server, identity: Identity) -> csi_pb2_grpc.IdentityStub:
    peer = Holder(Role.CONTROL, "control")
    return csi_pb2_grpc.IdentityStub(secure_channel(f"127.0.0.1:{server.port}", peer, identity))


def test_a_socket_is_for_its_owner_only_and_goes_with_the_server(cluster: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "csi.sock"
    with serving(partial(register_controller, cluster.control), path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


def test_a_second_server_on_a_socket_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    register = partial(register_controller, cluster.control)
    with serving(register, tmp_path / "csi.sock") as channel:
        with pytest.raises(FailedPrecondition, match="another process is listening"):
            serve(register, UnixEndpoint(tmp_path / "csi.sock"), no_identity)
        assert csi_pb2_grpc.IdentityStub(channel).Probe(PROBE).ready.value


def test_a_socket_in_no_folder_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    register = partial(register_controller, cluster.control)
    with pytest.raises(FailedPrecondition, match="cannot listen"):
        serve(register, UnixEndpoint(tmp_path / "missing" / "csi.sock"), no_identity)


class Stuck(csi_pb2_grpc.ControllerServicer):
    """Makes no volume before it is told to."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.go_on = threading.Event()

    def CreateVolume(  # noqa: N802 (as the .proto has it)
        self, request: csi_pb2.CreateVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.CreateVolumeResponse:
        self.entered.release()
        self.go_on.wait()
        return csi_pb2.CreateVolumeResponse()

    def register(self, server: grpc.Server) -> None:
        csi_pb2_grpc.add_ControllerServicer_to_server(self, server)
        csi_pb2_grpc.add_IdentityServicer_to_server(IdentityService(lambda: True), server)


def test_volumes_that_are_not_made_keep_nobody_waiting(tmp_path: Path) -> None:
    """As many as the sidecars of the chart ask for at once: a probe is answered all the same."""
    stuck = Stuck()
    with serving(stuck.register, tmp_path / "csi.sock") as channel:
        controller = csi_pb2_grpc.ControllerStub(channel)
        calls = [controller.CreateVolume.future(create(name=f"v{number}")) for number in range(CALLS - 8)]
        assert all(stuck.entered.acquire(timeout=30) for _ in calls)
        assert csi_pb2_grpc.IdentityStub(channel).Probe(PROBE, timeout=10).ready.value
        stuck.go_on.set()
        assert all(call.result(timeout=30) is not None for call in calls)


def test_the_control_plane_may_call_over_tls(server: Server, authority: CertificateAuthority) -> None:
    assert probe(server, authority.issue("somebody", Role.CONTROL)).Probe(PROBE).ready.value


def test_a_node_may_not_call_the_controller(server: Server, authority: CertificateAuthority) -> None:
    call = probe(server, authority.issue("m1", Role.NODE)).Probe
    assert "node:m1 may not call" in refused(CODE.UNAUTHENTICATED, call, PROBE)


def test_another_cluster_may_not_call(server: Server, tmp_path: Path) -> None:
    foreign = CertificateAuthority.create(tmp_path / "foreign", "foreign")
    refused(CODE.UNAVAILABLE, probe(server, foreign.issue("control", Role.CONTROL)).Probe, PROBE)


def test_an_expired_certificate_is_refused_at_start(
    cluster: Cluster, authority: CertificateAuthority
) -> None:
    expired = authority.issue("control", Role.CONTROL, days=0)
    with pytest.raises(Unauthenticated, match="expired"):
        serve(partial(register_controller, cluster.control), TlsEndpoint("127.0.0.1:0"), lambda: expired)


def test_each_call_leaves_a_line_without_anything_sensitive(
    controller: csi_pb2_grpc.ControllerStub, node: csi_pb2_grpc.NodeStub, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = {"key": "hunter2"}
    controller.CreateVolume(create(secrets=secret))
    flagged = mount(mount_flags=["password=hunter2"])
    refused(CODE.NOT_FOUND, node.NodeStageVolume, stage(volume_capability=flagged, secrets=secret))
    assert "CreateVolume pvc-1" in caplog.text
    assert "NodeStageVolume v1" in caplog.text
    assert "NOT_FOUND" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_mistake_of_ours_is_internal_and_the_log_has_the_details(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(csi_pb2_grpc.IdentityServicer):
        def Probe(self, request: object, context: object) -> object:  # noqa: N802 (the specification's)
            raise KeyError("oops")

    register = partial(csi_pb2_grpc.add_IdentityServicer_to_server, Broken())
    with serving(register, tmp_path / "csi.sock") as channel:
        refused(CODE.INTERNAL, csi_pb2_grpc.IdentityStub(channel).Probe, PROBE)
    assert "KeyError" in caplog.text


def test_a_method_that_nobody_knows_stays_unknown() -> None:
    assert Calls().intercept_service(lambda _: None, None) is None


def test_a_node_plugin_is_called_by_the_control_plane_over_tls(
    cluster: Cluster, authority: CertificateAuthority
) -> None:
    identity, control = authority.issue("m1", Role.NODE), authority.issue("control", Role.CONTROL)
    register = partial(register_node, cluster.fakes.node("m1"), "m1")
    server = serve(register, TlsEndpoint("127.0.0.1:0"), lambda: identity)
    try:
        with secure_channel(f"127.0.0.1:{server.port}", Holder(Role.NODE, "m1"), control) as channel:
            info = csi_pb2_grpc.NodeStub(channel).NodeGetInfo(csi_pb2.NodeGetInfoRequest())
    finally:
        server.stop(0)
    assert info.node_id == "m1"
