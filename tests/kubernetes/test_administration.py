"""The administrator's command with nothing but the cluster, as `kubectl trilith` runs it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from csi.administration import open_control
from csi.certificates.authority import ensure_authority
from csi.certificates.places import Places
from hack.kubernetes.plane import ControlPlane
from hack.lab.paths import REPOSITORY
from replication.cli.main import main
from replication.cli.session import World
from replication.kernel.run import run
from replication.kubernetes.client import Client
from replication.model import Node
from replication.pki import Role
from replication.rpc.server import serve_node
from tests.contract.pretender import FACTS, Pretender
from tests.kubernetes.conftest import ACCOUNT, NAMESPACE, OpenStore
from tests.kubernetes.patience import CLOCK, patiently


@pytest.fixture
def in_a_pod(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(plane.kubeconfig(ACCOUNT)))
    monkeypatch.setenv("TRILITH_STORE", "kubernetes")


def trilith(folder: Path, *words: str) -> Result:
    world = World(open_control=open_control)
    return CliRunner().invoke(main, ["--state", str(folder), "-o", "json", *words], obj=world)


@pytest.mark.usefixtures("in_a_pod")
def test_it_finds_records_and_reaches_agents(admin: Client, open_store: OpenStore, tmp_path: Path) -> None:
    authority = patiently(lambda: ensure_authority(admin, Places(NAMESPACE), CLOCK))
    identity = authority.issue("m1", Role.NODE)
    server = serve_node(Pretender(), "127.0.0.1:0", lambda: identity)
    open_store(cluster=authority.cluster_id).add_node(Node("m1", f"127.0.0.1:{server.port}", "192.0.2.1"))
    result = trilith(tmp_path, "node", "list")
    server.stop(0)
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)
    assert (found["name"], found["kernel"]) == ("m1", FACTS.kernel)


@pytest.mark.usefixtures("in_a_pod", "admin")
def test_without_an_installation_it_says_so(tmp_path: Path) -> None:
    result = trilith(tmp_path, "status")
    assert result.exit_code != 0
    assert "Trilith is not installed in namespace trilith" in result.stderr


def test_the_plugin_runs_it_in_a_controllers_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kubectl = tmp_path / "kubectl"
    kubectl.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    kubectl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("TRILITH_NAMESPACE", "storage")
    words = run(
        (str(REPOSITORY / "deploy/kubectl-trilith"), "volume", "show", "a b"), timeout=20
    ).splitlines()
    assert words[:3] == ["--namespace", "storage", "exec"]
    assert words[-9:] == [
        "--stdin",
        "deployment/trilith-controller",
        "--container",
        "controller",
        "--",
        "trilith",
        "volume",
        "show",
        "a b",
    ]
