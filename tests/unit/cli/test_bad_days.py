"""Real stores, certificates and connections: a cluster from its beginning, and how it goes wrong."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from replication.cli.main import main
from replication.pki import CertificateAuthority, Role, read_identity, write_identity
from replication.rpc.server import serve_node
from tests.fakes.node import FakeCluster, FakeNode
from tests.unit.cli.process import run_python

NAMES = ("m1", "m2", "m3")


def trilith(state: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["--state", str(state), *words], prog_name="trilith")


def succeed(state: Path, *words: str) -> str:
    result = trilith(state, *words)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Of a new cluster."""
    succeed(tmp_path / "state", "cluster", "init")
    return tmp_path / "state"


@contextmanager
def serving(node: FakeNode, certs: Path) -> Iterator[str]:
    """An agent's address; its kernel is a fake, its connection is not."""
    server = serve_node(node, "127.0.0.1:0", read_identity(certs))
    try:
        yield f"127.0.0.1:{server.port}"
    finally:
        server.stop(0)


def add(state: Path, name: str, address: str) -> Result:
    return trilith(state, "node", "add", name, "--address", address, "--data-address", "10.0.0.1")


@pytest.fixture
def agents(state: Path, tmp_path: Path) -> Iterator[FakeCluster]:
    """Three agents with certificates, added to the cluster."""
    cluster = json.loads(succeed(state, "--output", "json", "status"))["cluster"]
    fakes = FakeCluster(list(NAMES), name=cluster)
    for name in NAMES:
        succeed(state, "certificate", "issue", name, "--out", str(tmp_path / name))
    m1, m2, m3 = (serving(fakes.node(name), tmp_path / name) for name in NAMES)
    with m1 as first, m2 as second, m3 as third:
        for name, address in zip(NAMES, (first, second, third), strict=True):
            assert add(state, name, address).exit_code == 0
        yield fakes


@pytest.mark.usefixtures("agents")
def test_from_nothing_to_a_volume_and_back(state: Path) -> None:
    succeed(state, "pool", "create", "nvme", *(word for name in NAMES for word in ("--node", name)))
    succeed(state, "volume", "create", "data", "--pool", "nvme", "--size", "1GiB")
    assert succeed(state, "volume", "attach", "data", "m2").startswith("/dev/")
    assert "healthy" in succeed(state, "status").splitlines()[0]
    succeed(state, "volume", "expand", "data", "2GiB")
    succeed(state, "volume", "detach", "data")
    succeed(state, "volume", "delete", "data")
    succeed(state, "pool", "delete", "nvme")
    assert [json.loads(succeed(state, "-o", "json", what, "list")) for what in ("volume", "pool")] == [[], []]


def test_an_agent_of_another_cluster_is_not_authenticated(state: Path, tmp_path: Path) -> None:
    foreign = CertificateAuthority.create(tmp_path / "foreign", "foreign")
    write_identity(tmp_path / "m1", foreign.issue("m1", Role.NODE))
    with serving(FakeCluster(["m1"]).node("m1"), tmp_path / "m1") as address:
        result = add(state, "m1", address)
    assert result.exit_code == 10, result.output
    assert "foreign" in result.stderr


def test_an_agent_with_another_nodes_certificate_is_not_taken_for_the_one_asked(
    state: Path, tmp_path: Path
) -> None:
    succeed(state, "certificate", "issue", "m2", "--out", str(tmp_path / "m2"))
    with serving(FakeCluster(["m1"]).node("m1"), tmp_path / "m2") as address:
        result = add(state, "m1", address)
    assert (result.exit_code, "another machine of this cluster is there" in result.stderr) == (7, True)


def test_a_control_plane_whose_certificate_has_expired_says_so(state: Path) -> None:
    authority = CertificateAuthority.open(state / "pki")
    write_identity(state / "pki", authority.issue("control", Role.CONTROL, days=0), overwrite=True)
    result = trilith(state, "status")
    assert (result.exit_code, "expired" in result.stderr) == (10, True)


def test_a_damaged_store_is_data_loss(state: Path) -> None:
    for path in state.glob("state.db*"):
        path.unlink()
    (state / "state.db").write_bytes(b"not a database at all" * 100)
    result = trilith(state, "status")
    assert (result.exit_code, "state.db is not a database" in result.stderr) == (9, True)


def test_a_store_that_someone_holds_is_unavailable(state: Path) -> None:
    holder = sqlite3.connect(state / "state.db")
    try:
        holder.execute("BEGIN EXCLUSIVE")
        result = trilith(state, "status")
    finally:
        holder.close()
    assert (result.exit_code, "locked" in result.stderr) == (7, True), result.output


def test_help_waits_for_nothing_that_is_slow_to_load() -> None:
    assert run_python("import sys, replication.cli.main; sys.exit('grpc' in sys.modules)") == 0
