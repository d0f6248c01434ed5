"""Ways to the records: a pod's service account, a kubeconfig, and the command that is given one."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from hack.kubernetes.plane import ControlPlane
from replication.cli.main import main
from replication.control.store.resources import CLUSTER_NAME, CLUSTERS, SETTINGS
from replication.errors import Unavailable
from replication.kubernetes.access import find_access, find_namespace, read_kubeconfig
from replication.kubernetes.client import Client
from tests.kubernetes.conftest import ACCOUNT, NAMESPACE

TOKEN = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/trilith-control/token"


@pytest.fixture
def account(plane: ControlPlane, admin: Client, tmp_path: Path) -> Path:
    """What Kubernetes mounts into a pod of this account."""
    wanted = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    (tmp_path / "token").write_text(admin.create(TOKEN, wanted)["status"]["token"])
    (tmp_path / "ca.crt").write_bytes(plane.ca_file.read_bytes())
    (tmp_path / "namespace").write_text(NAMESPACE)
    return tmp_path


def test_a_pod_comes_in_by_its_service_account(plane: ControlPlane, account: Path) -> None:
    host, port = plane.address
    environment = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": str(port)}
    client = Client(find_access(environment, account, Path("/nowhere")))
    assert client.get(SETTINGS.path)["items"] == []
    assert find_namespace(account) == NAMESPACE
    (account / "token").write_text("expired")
    with pytest.raises(Unavailable, match="Unauthorized"):
        client.get(SETTINGS.path)
    client.close()


def test_what_the_account_may_not_do_is_refused_by_name(plane: ControlPlane) -> None:
    client = Client(read_kubeconfig(plane.kubeconfig(ACCOUNT)))
    with pytest.raises(Unavailable, match='cannot list resource "secrets"'):
        client.get("/api/v1/secrets")
    client.close()


def test_the_command_keeps_its_records_in_kubernetes(
    plane: ControlPlane, admin: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(plane.kubeconfig(ACCOUNT)))
    words = ["--state", str(tmp_path), "--store", "kubernetes"]

    def run(*more: str) -> str:
        done = CliRunner().invoke(main, [*words, *more], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    run("cluster", "init")
    run("settings", "set", "--replacement-delay", "300")
    assert "300" in run("--output", "json", "settings", "show")
    assert admin.get(f"{SETTINGS.path}/cluster")["spec"] == {"name": "", "replacementDelay": 300.0}
    assert admin.get(f"{CLUSTERS}/{CLUSTER_NAME}")["spec"]["lockNamespace"] == NAMESPACE
    assert not (tmp_path / "state.db").exists()
