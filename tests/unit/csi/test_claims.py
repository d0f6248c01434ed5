"""Which claims are met, and how Kubernetes is asked about them: over a real HTTP server."""

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import pytest

from csi.claims import ANNOTATIONS, Claim, KubernetesClaims, Policy, judge, make_check
from csi.controller import register_controller
from csi.v1 import csi_pb2_grpc
from replication.errors import InvalidRequest, NotFound, Unavailable
from replication.kubernetes.access import Access
from replication.kubernetes.client import Client
from tests.unit.csi.conftest import Cluster, refused, serving
from tests.unit.csi.requests import create

POD = {"apiVersion": "v1", "kind": "Pod", "controller": True}
STRANGERS = (
    {**POD, "controller": False},
    {"apiVersion": "v1", "kind": "Pod"},
    {"apiVersion": "example.com/v1", "kind": "Pod", "controller": True},
    {"apiVersion": "batch/v1", "kind": "Job", "controller": True},
)
PATH = "/api/v1/namespaces/shop/persistentvolumeclaims/data"
OF_CLAIM = {"csi.storage.k8s.io/pvc/namespace": "shop", "csi.storage.k8s.io/pvc/name": "data"}


class Api(ThreadingHTTPServer):
    """Knows the claims in `found`, by path; anything else is not found."""

    def __init__(self) -> None:
        self.found: dict[str, object] = {}
        self.status = 200
        self.tokens: list[str | None] = []
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    server: Api

    def do_GET(self) -> None:
        self.server.tokens.append(self.headers["Authorization"])
        known = self.path in self.server.found
        self.send_response(self.server.status if known else 404)
        self.end_headers()
        self.wfile.write(json.dumps({"metadata": self.server.found.get(self.path)}).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Not on the tests' standard error."""


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def claims(api: Api) -> KubernetesClaims:
    access = Access(f"http://127.0.0.1:{api.server_port}", read_token=lambda: "t0ken")
    return KubernetesClaims(Client(access))


@pytest.mark.parametrize(
    ("metadata", "claim"),
    [
        ({}, Claim(ephemeral=False, accepted=False)),
        ({"ownerReferences": [POD]}, Claim(ephemeral=True, accepted=False)),
        *(({"ownerReferences": [owner]}, Claim(ephemeral=False, accepted=False)) for owner in STRANGERS),
        *(({"annotations": {key: "true"}}, Claim(ephemeral=False, accepted=True)) for key in ANNOTATIONS),
        ({"annotations": {ANNOTATIONS[0]: "yes"}}, Claim(ephemeral=False, accepted=False)),
    ],
)
def test_a_claim_is_read(
    api: Api, claims: KubernetesClaims, metadata: dict[str, object], claim: Claim
) -> None:
    api.found[PATH] = metadata
    assert claims.get("shop", "data") == claim
    assert api.tokens == ["Bearer t0ken"]


def test_names_cannot_lead_elsewhere(claims: KubernetesClaims) -> None:
    with pytest.raises(NotFound, match="no such claim"):
        claims.get("shop/../../..", "data")


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_refusal_says_whose_it_is(api: Api, claims: KubernetesClaims, status: int) -> None:
    api.found[PATH], api.status = {}, status
    with pytest.raises(Unavailable, match=f"claim shop/data: Kubernetes: .*{status}"):
        claims.get("shop", "data")


@pytest.mark.parametrize(
    ("policy", "claim", "word"),
    [
        (Policy.ALWAYS, Claim(ephemeral=False, accepted=False), ""),
        (Policy.WITH_ANNOTATION, Claim(ephemeral=False, accepted=False), "add the annotation trilith.io/acc"),
        (Policy.WITH_ANNOTATION, Claim(ephemeral=False, accepted=True), ""),
        (Policy.WITH_ANNOTATION, Claim(ephemeral=True, accepted=False), ""),
        (Policy.NEVER, Claim(ephemeral=False, accepted=True), "generic ephemeral volume"),
        (Policy.NEVER, Claim(ephemeral=True, accepted=False), ""),
    ],
)
def test_what_each_policy_admits(policy: Policy, claim: Claim, word: str) -> None:
    if not word:
        judge(policy, claim, "claim shop/data")
        return
    with pytest.raises(InvalidRequest, match=f"claim shop/data: .*{word}"):
        judge(policy, claim, "claim shop/data")


def test_a_claim_is_checked_before_anything_is_made(
    cluster: Cluster, api: Api, claims: KubernetesClaims, tmp_path: Path
) -> None:
    check = make_check(Policy.WITH_ANNOTATION, claims)
    register = partial(register_controller, cluster.control, check_claim=check)
    with serving(register, tmp_path / "checked.sock") as channel:
        controller = csi_pb2_grpc.ControllerStub(channel)
        invalid = grpc.StatusCode.INVALID_ARGUMENT
        assert "--extra-create-metadata" in refused(invalid, controller.CreateVolume, create())
        request = create(parameters={"pool": "nvme", **OF_CLAIM})
        assert "no such claim" in refused(invalid, controller.CreateVolume, request)
        api.found[PATH] = {}
        assert "add the annotation" in refused(invalid, controller.CreateVolume, request)
        assert cluster.control.volumes.list() == ()
        api.found[PATH] = {"annotations": {ANNOTATIONS[0]: "true"}}
        made = controller.CreateVolume(request).volume.volume_id
        api.found.clear()  # csi-provisioner, which had no answer in time, asks on for a claim that is gone
        assert controller.CreateVolume(request).volume.volume_id == made
