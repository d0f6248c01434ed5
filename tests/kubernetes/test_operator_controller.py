"""What a controller pod runs, over a real API server: CSI and failures in every replica, one leader."""

import ssl
from http.client import HTTPConnection
from pathlib import Path

import grpc
import pytest
import urllib3

from csi.certificates.authority import ensure_authority
from csi.certificates.places import Places
from csi.claims import Policy
from csi.v1 import csi_pb2, csi_pb2_grpc
from hack.kubernetes.pki import Pair, make_kubeconfig
from hack.kubernetes.plane import ControlPlane
from hack.kubernetes.ports import free_ports
from replication.clock import wait_until
from replication.control.volumes import VolumeRequest
from replication.kubernetes.access import Json
from replication.kubernetes.client import Client
from replication.model import GIB, MemberHealth, Node, ReplicaState
from tests.fakes.node import FakeCluster
from tests.kubernetes.conftest import ACCOUNT, NAMESPACE, OpenStore
from tests.kubernetes.controllers import Replica, running
from tests.kubernetes.patience import CLOCK, patiently, wait_for
from tests.kubernetes.test_operator_leadership import Candidate, wait_for_leader
from tests.unit.cli.process import Process
from tests.unit.csi.admission.test_reading import asked

CLAIMS = "/api/v1/namespaces/default/persistentvolumeclaims"


def ask(port: int, path: str) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def in_sync(replica: Replica, volume_id: str) -> list[str]:
    found = replica.control.volumes.get(volume_id)
    return [r.node for r in found.replicas if r.state is ReplicaState.IN_SYNC]


@pytest.mark.usefixtures("admin")
def test_a_failure_is_recorded_by_a_replica_that_does_not_lead(plane: ControlPlane, tmp_path: Path) -> None:
    fakes = FakeCluster(["a", "b", "c"])
    with running(plane, fakes, tmp_path / "1.sock") as first:
        wait_until(lambda: first.controller.leads, "a leader", timeout=60, clock=CLOCK)
        fakes.add_to(first.control)
        volume = first.control.volumes.create(VolumeRequest("data", GIB, "nvme"))
        first.control.volumes.attach(volume.id, "a")
        with running(plane, fakes, tmp_path / "2.sock") as second:
            wait_until(lambda: len(fakes.node("a")._listeners) == 2, "both hear", timeout=60, clock=CLOCK)
            first.controller.reconciler._inbox.close()
            replica = next(r for r in volume.replicas if r.node == "b")
            fakes.node("b").silent = True
            fakes.node("a").set_health(volume.id, replica.id, MemberHealth.LOST)
            wait_for(lambda: in_sync(second, volume.id), ["a", "c"])
            assert (first.controller.leads, second.controller.leads) == (True, False)
            array = fakes.node("a").arrays[volume.id]
            wait_for(lambda: array.members[replica.id].health, MemberHealth.DROPPED)


@pytest.mark.usefixtures("admin")
def test_repairs_are_the_leaders_and_go_on_with_the_next_one(plane: ControlPlane, tmp_path: Path) -> None:
    fakes = FakeCluster(["a", "b", "c"])
    with running(plane, fakes, tmp_path / "2.sock") as second:
        wait_until(lambda: second.controller.leads, "a leader", timeout=60, clock=CLOCK)
        fakes.add_to(second.control)
        volume = second.control.volumes.create(VolumeRequest("data", GIB, "nvme"))
        second.control.volumes.attach(volume.id, "a")
        waiting = running(plane, fakes, tmp_path / "1.sock")
        first = waiting.__enter__()
        wait_until(lambda: len(fakes.node("a")._listeners) == 2, "both hear", timeout=60, clock=CLOCK)
        replica = next(r for r in volume.replicas if r.node == "b")
        assert "trilith_volumes" not in ask(first.controller.web.port, "/metrics")[1]
    try:
        fakes.node("a").set_health(volume.id, replica.id, MemberHealth.LOST)
        wait_until(lambda: bool(fakes.node("a").rejoined), "brought back", timeout=60, clock=CLOCK)
        assert first.controller.leads
        wait_until(
            lambda: (
                'trilith_volumes{health="rebuilding"} 1.0' in ask(first.controller.web.port, "/metrics")[1]
            ),
            "it is told",
            timeout=60,
            clock=CLOCK,
        )
    finally:
        waiting.__exit__(None, None, None)


def test_a_claim_is_looked_up_and_refused_in_words(
    plane: ControlPlane, admin: Client, tmp_path: Path
) -> None:
    fakes = FakeCluster(["a", "b", "c"])
    with running(plane, fakes, tmp_path / "1.sock", Policy.WITH_ANNOTATION) as replica:
        fakes.add_to(replica.control)
        with grpc.insecure_channel(f"unix:{replica.socket}") as channel:
            stub = csi_pb2_grpc.ControllerStub(channel)
            access = csi_pb2.VolumeCapability(
                mount=csi_pb2.VolumeCapability.MountVolume(),
                access_mode=csi_pb2.VolumeCapability.AccessMode(
                    mode=csi_pb2.VolumeCapability.AccessMode.SINGLE_NODE_WRITER
                ),
            )
            parameters = {
                "pool": "nvme",
                "csi.storage.k8s.io/pvc/name": "data",
                "csi.storage.k8s.io/pvc/namespace": "default",
            }
            request = csi_pb2.CreateVolumeRequest(
                name="pvc-1", volume_capabilities=[access], parameters=parameters
            )
            with pytest.raises(grpc.RpcError, match="claim default/data: there is no such claim"):
                stub.CreateVolume(request)
            admin.create(CLAIMS, claim("data", {}))
            with pytest.raises(grpc.RpcError, match=r'trilith\.io/accept-ephemeral-storage: "true"'):
                stub.CreateVolume(request)
            accepted = {"trilith.io/accept-ephemeral-storage": "true"}
            admin.patch(f"{CLAIMS}/data", [{"op": "add", "path": "/metadata/annotations", "value": accepted}])
            assert stub.CreateVolume(request).volume.volume_id
    admin.delete(f"{CLAIMS}/data")


def claim(name: str, annotations: dict[str, str]) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }


@pytest.mark.usefixtures("admin")
def test_it_runs_as_a_process_and_ends_when_it_is_told(
    plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket = tmp_path / "csi.sock"
    monkeypatch.setenv("KUBECONFIG", str(plane.kubeconfig(ACCOUNT)))
    words = ("--endpoint", f"unix://{socket}", "--web", "127.0.0.1:0", "--webhook-port", "0")
    process = Process(tmp_path / "log", "csi.cluster.main", "run", *words)
    try:
        wait_until(lambda: "leading" in process.said, "a leader", timeout=90, clock=CLOCK)
        port = int(process.said.partition("web at port ")[2].split()[0])
        assert [ask(port, path)[0] for path in ("/healthz", "/readyz", "/nothing")] == [200, 200, 404]
        with grpc.insecure_channel(f"unix:{socket}") as channel:
            assert csi_pb2_grpc.IdentityStub(channel).Probe(csi_pb2.ProbeRequest()).ready.value
    finally:
        assert process.end() == 0
    assert "leading no more" in process.said


def test_admission_is_answered_by_a_replica_that_does_not_lead(
    plane: ControlPlane, admin: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted = patiently(lambda: ensure_authority(admin, Places(NAMESPACE), CLOCK)).ca_pem
    monkeypatch.setenv("KUBECONFIG", str(plane.kubeconfig(ACCOUNT)))
    (port,) = free_ports(1)
    words = ("--endpoint", f"unix://{tmp_path / 'csi.sock'}", "--web", "127.0.0.1:0")
    leader = Candidate(plane)
    wait_for_leader(leader, "another leads")
    process = Process(tmp_path / "log", "csi.cluster.main", "run", *words, "--webhook-port", str(port))
    try:
        wait_until(lambda: "serving, web at port" in process.said, "it runs", timeout=90, clock=CLOCK)
        wrong = {"parameters": {"speed": "high"}}
        answer = review(port, trusted, asked(uid="u", operation="CREATE", name="fast", object=wrong))
        assert (answer["uid"], answer["allowed"]) == ("u", False)
        assert leader.working
    finally:
        leader.end()
        assert process.end() == 0


def review(port: int, trusted: bytes, question: bytes) -> Json:
    """Put as the API server does, by the Service's name."""
    context, name = ssl.create_default_context(cadata=trusted.decode()), Places(NAMESPACE).webhook
    where = f"https://127.0.0.1:{port}/volumeattributesclasses"
    with urllib3.PoolManager(ssl_context=context, server_hostname=name, assert_hostname=name) as pool:
        answer: Json = pool.request("POST", where, body=question, timeout=30, retries=False).json()
    return dict(answer["response"])


def test_it_is_told_how_long_a_node_may_be_away(
    plane: ControlPlane, admin: Client, open_store: OpenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = patiently(lambda: ensure_authority(admin, Places(NAMESPACE), CLOCK))
    store = open_store(cluster=authority.cluster_id)
    labels = (("kubernetes.io/hostname", "gone"),)  # Kubernetes had it, and has no such Node any more
    store.add_node(Node("gone", "127.0.0.1:1", "192.0.2.1", labels))
    monkeypatch.setenv("KUBECONFIG", str(plane.kubeconfig(ACCOUNT)))
    words = ("--endpoint", f"unix://{tmp_path / 'csi.sock'}", "--web", "127.0.0.1:0", "--webhook-port", "0")
    process = Process(tmp_path / "log", "csi.cluster.main", "run", *words, "--node-grace", "2")
    try:
        wait_until(lambda: not store.list_nodes(), "it has left for good", timeout=90, clock=CLOCK)
    finally:
        assert process.end() == 0


def test_it_waits_for_an_api_server_that_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And ends when it is told so while it waits."""
    config = make_kubeconfig("http://127.0.0.1:1", b"", Pair(b"", b""))
    (tmp_path / "config").write_text(config)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    words = ("--endpoint", f"unix://{tmp_path / 'csi.sock'}", "--web", "127.0.0.1:0", "--webhook-port", "0")
    process = Process(tmp_path / "log", "csi.cluster.main", "run", *words)
    said = "waiting for the cluster's authority"
    try:
        wait_until(lambda: said in process.said, said, timeout=90, clock=CLOCK)
    finally:
        assert process.end() == 0
