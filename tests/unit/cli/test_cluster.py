"""A cluster's beginning: authority, certificates, nodes and their disks."""

import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from replication.cli.main import main
from replication.pki import Holder, Role, check_identity, cluster_of, holder_of, read_identity
from tests.unit.cli.conftest import Cluster

ADD = ("--address", "m1:7000", "--data-address", "10.0.0.1")


def trilith(state: Path, *words: str) -> Result:
    """With the real control plane."""
    return CliRunner().invoke(main, ["--state", str(state), *words], prog_name="trilith")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Of a new cluster."""
    state = tmp_path / "lab"
    assert trilith(state, "cluster", "init", "--name", "lab").exit_code == 0
    return state


def test_a_cluster_is_made_once(state: Path) -> None:
    result = trilith(state, "cluster", "init")
    assert result.exit_code == 4
    assert "there is a cluster here already" in result.stderr


def test_a_cluster_has_an_id_a_store_and_an_identity_that_only_its_owner_reads(state: Path) -> None:
    identity = read_identity(state / "pki")
    check_identity(identity)
    assert cluster_of(identity.certificate_pem).startswith("lab-")
    assert holder_of(identity.certificate_pem).role is Role.CONTROL
    assert (state / "state.db").exists()
    assert all(stat.S_IMODE((state / "pki" / key).stat().st_mode) == 0o600 for key in ("ca.key", "tls.key"))


def test_a_new_cluster_has_a_status(state: Path) -> None:
    result = trilith(state, "status")
    assert (result.exit_code, result.stdout.split(":")[0][:12]) == (0, "cluster lab-")


def test_what_a_crash_left_of_the_first_attempt_is_finished(state: Path) -> None:
    authority = (state / "pki" / "ca.crt").read_bytes()
    (state / "pki" / "tls.crt").unlink()
    assert trilith(state, "cluster", "init", "--name", "lab").exit_code == 0
    assert read_identity(state / "pki").ca_pem == authority


@pytest.mark.parametrize("name", ["", "Lab", "a b", "x" * 33, "-a"])
def test_a_cluster_name_that_makes_no_sense_is_refused(tmp_path: Path, name: str) -> None:
    assert trilith(tmp_path / "lab", "cluster", "init", "--name", name).exit_code == 2
    assert not (tmp_path / "lab").exists()


def test_a_certificate_is_issued_and_kept_unless_renewed(state: Path, tmp_path: Path) -> None:
    out = tmp_path / "m1"
    words = ("certificate", "issue", "m1", "--out", str(out))
    assert trilith(state, *words).exit_code == 0
    first = read_identity(out)
    assert trilith(state, *words).exit_code == 4
    assert read_identity(out) == first
    assert trilith(state, *words, "--renew").exit_code == 0
    assert read_identity(out) != first


def test_a_certificate_needs_a_cluster(tmp_path: Path) -> None:
    result = trilith(tmp_path, "certificate", "issue", "m1", "--out", str(tmp_path / "m1"))
    assert (result.exit_code, "there is no cluster here" in result.stderr) == (5, True)


def test_a_node_gets_its_certificate_before_it_answers(state: Path, tmp_path: Path) -> None:
    """The port is closed: nobody listens on port 1."""
    words = ("node", "add", "m1", "--address", "127.0.0.1:1", "--data-address", "10.0.0.1")
    for _ in range(2):
        result = trilith(state, *words, "--certs-out", str(tmp_path / "m1"))
        assert (result.exit_code, "node m1 is not added" in result.stderr) == (7, True), result.output
    assert holder_of(read_identity(tmp_path / "m1").certificate_pem) == Holder(Role.NODE, "m1")
    assert {path.name for path in (tmp_path / "m1").iterdir()} == {"ca.crt", "tls.crt", "tls.key"}


def test_a_folder_with_another_nodes_certificate_is_refused(state: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "certs")
    trilith(state, "certificate", "issue", "m2", "--out", out)
    result = trilith(state, "node", "add", "m1", *ADD, "--certs-out", out)
    assert result.exit_code == 4
    assert "of node:m2, not of node:m1" in result.stderr


def test_a_folder_with_another_clusters_certificate_is_refused(state: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "certs")
    trilith(tmp_path / "other", "cluster", "init")
    trilith(tmp_path / "other", "certificate", "issue", "m1", "--out", out)
    result = trilith(state, "node", "add", "m1", *ADD, "--certs-out", out)
    assert (result.exit_code, "of another cluster" in result.stderr) == (4, True)


def test_a_node_is_added_and_can_be_added_again(empty: Cluster) -> None:
    for _ in range(2):
        assert empty.say("node", "add", "m1", *ADD) == "node m1 added\n"
    assert [node.data_address for node in empty.control.nodes.list()] == ["10.0.0.1"]


def test_a_node_is_labelled(empty: Cluster) -> None:
    empty.say("node", "add", "m1", *ADD)
    assert empty.say("node", "label", "m1", "zone=z1", "rack=r1") == "node m1: rack=r1,zone=z1\n"
    assert "rack=r1,zone=z1" in empty.say("node", "list")
    assert empty.say("node", "label", "m1", "zone=", "rack=") == "node m1: no labels\n"
    for bad in ("zone", "=z1", "zone=a b"):
        assert "must be KEY=VALUE" in empty.fail(2, "node", "label", "m1", bad)


def test_a_node_with_another_address_is_refused(empty: Cluster) -> None:
    empty.say("node", "add", "m1", *ADD)
    said = empty.fail(4, "node", "add", "m1", "--address", "m1:7001", "--data-address", "10.0.0.1")
    assert said.startswith("error: ")


def test_a_node_of_another_cluster_is_refused(empty: Cluster) -> None:
    empty.fakes.name = "another"
    assert "another" in empty.fail(5, "node", "add", "m1", *ADD)


def test_a_node_that_does_not_answer_is_not_added(empty: Cluster) -> None:
    empty.crash("m1")
    assert "node m1 is not added: node m1 does not answer" in empty.fail(7, "node", "add", "m1", *ADD)
    assert empty.control.nodes.list() == ()


def test_a_node_is_waited_for(empty: Cluster) -> None:
    empty.crash("m1")
    empty.clock.scripts = [lambda: None, lambda: setattr(empty.fakes.node("m1"), "silent", False)]
    empty.say("node", "add", "m1", *ADD, "--wait", "60")


def test_nodes_that_do_not_answer_are_listed_as_down(bare: Cluster) -> None:
    bare.crash("m2")
    rows = [line.split()[:2] for line in bare.say("node", "list").splitlines()]
    assert rows == [["NAME", "AGENT"], ["m1", "up"], ["m2", "down"], ["m3", "up"]]
    second = bare.read("node", "list")[1]
    assert (second["name"], second["up"]) == ("m2", False)
    assert "does not answer" in second["problem"]


def test_an_unused_node_is_removed(bare: Cluster) -> None:
    assert bare.read("node", "remove", "m3") == {"removed": "m3"}
    assert "m3" in bare.fail(3, "node", "remove", "m3")


def test_a_node_in_use_stays(cluster: Cluster) -> None:
    assert "pool nvme" in cluster.fail(5, "node", "remove", "m3")


def test_disks_are_listed_with_their_pool_or_why_they_cannot_be_used(bare: Cluster) -> None:
    assert [disk["usable"] for disk in bare.read("disk", "list")] == [True] * 3
    bare.control.pools.create("nvme", ("m1", "m2", "m3"), 3)
    (disk,) = bare.read("disk", "list", "--node", "m2")
    assert (disk["node"], disk["path"], disk["pool"]) == ("m2", "/dev/nvme0n1", "nvme")
    assert (disk["usable"], disk["why_not"]) == (False, "belongs to a pool")
    table = bare.say("disk", "list")
    assert "belongs to a pool" in table
    assert "100 GiB" in table


def test_disks_of_nodes_that_do_not_answer_are_a_warning_or_an_error_if_asked_for(bare: Cluster) -> None:
    bare.crash("m2")
    result = bare.run("disk", "list")
    assert (result.exit_code, "m2" in result.stdout, "warning: node m2" in result.stderr) == (0, False, True)
    bare.fail(7, "disk", "list", "--node", "m2")
    bare.fail(3, "disk", "list", "--node", "m9")
