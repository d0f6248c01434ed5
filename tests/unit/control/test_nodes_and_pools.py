"""Nodes and pools: what is checked before they are taken in, and what keeps them."""

from pathlib import Path

import pytest

from replication.clock import SystemClock
from replication.control.control import Control, build_control, open_control
from replication.control.keys import new_consumer, new_key
from replication.control.store.memory import MemoryStore
from replication.control.volumes import VolumeRequest
from replication.errors import AlreadyExists, FailedPrecondition, InvalidRequest, NotFound, Unavailable
from replication.model import GIB, Node
from replication.pki import CertificateAuthority, Role, write_identity
from tests.fakes.node import FakeCluster


def make() -> tuple[FakeCluster, Control]:
    cluster = FakeCluster(["a", "b", "c"])
    control = build_control(MemoryStore(cluster.name), cluster.connect, SystemClock())
    for name in cluster.nodes:
        control.nodes.add(Node(name, f"{name}:7000", f"data-{name}"))
    return cluster, control


def test_a_node_must_answer_by_its_name_and_be_of_our_cluster() -> None:
    cluster, control = make()
    control.nodes.add(control.nodes.get("a"))
    with pytest.raises(AlreadyExists):
        control.nodes.add(Node("a", "elsewhere:7000", "data-a"))
    cluster.node("b").name = "x"
    with pytest.raises(FailedPrecondition, match="answers node x, not b"):
        control.nodes.add(Node("b", "b:7000", "data-b"))
    cluster.name = "another"
    with pytest.raises(FailedPrecondition, match="of cluster another"):
        control.nodes.add(Node("c", "c:7000", "data-c"))
    cluster.node("c").silent = True
    with pytest.raises(Unavailable):
        control.nodes.add(Node("c", "c:7000", "data-c"))


def test_a_node_in_use_stays() -> None:
    _, control = make()
    control.pools.create("nvme", ("a",), 1)
    volume = control.volumes.create(VolumeRequest("data", GIB, "nvme"))
    control.volumes.attach(volume.id, "b")
    with pytest.raises(FailedPrecondition, match="pool nvme, volume data"):
        control.nodes.remove("a")
    with pytest.raises(FailedPrecondition, match="used by volume data"):
        control.nodes.remove("b")
    control.nodes.remove("c")
    control.nodes.remove("c")
    with pytest.raises(NotFound):
        control.nodes.facts("c")
    assert [node.name for node in control.nodes.list()] == ["a", "b"]


def test_a_pool_takes_usable_disks_and_can_be_repeated() -> None:
    _, control = make()
    pool = control.pools.create("nvme", ("a", "b", "c"), 3)
    assert control.pools.create("nvme", ("a", "b", "c"), 3) == pool == control.pools.get("nvme")
    assert [usage.groups[0].name for usage in control.pools.usage("nvme")] == ["vg-a", "vg-b", "vg-c"]
    with pytest.raises(AlreadyExists):
        control.pools.create("nvme", ("a",), 1)
    with pytest.raises(FailedPrecondition, match="no usable disk for pool other"):
        control.pools.create("other", ("a",), 1)


def test_a_pool_that_a_node_refuses_is_not_made() -> None:
    cluster, control = make()
    with pytest.raises(FailedPrecondition, match=r"pool nvme was not made: c: .* no such disk"):
        control.pools.create("nvme", ("a", "b", "c"), 3, (("c", "/dev/sdz"),))
    assert control.pools.list() == ()
    assert [node.pools for node in cluster.nodes.values()] == [{}, {}, {}]


def test_a_pool_that_a_node_is_silent_about_can_be_repeated() -> None:
    cluster, control = make()
    dying = cluster.node("c")

    def silenced(call: str) -> None:
        dying.silent = call.endswith("disk_pool")
        type(dying)._called(dying, call)

    dying.__dict__["_called"] = silenced
    with pytest.raises(FailedPrecondition, match="pool nvme is not complete, repeat it or delete it: c"):
        control.pools.create("nvme", ("a", "b", "c"), 3)
    del dying.__dict__["_called"]
    dying.silent = False
    pool = control.pools.create("nvme", ("a", "b", "c"), 3)
    assert control.pools.list() == (pool,)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("", ("a",), 1), InvalidRequest),
        (("p", ("a", "b"), 2), InvalidRequest),
        (("p", ("a", "b"), 3), FailedPrecondition),
        (("p", ("a", "z"), 1), NotFound),
        (("p", ("a",), 1, (("b", "/dev/nvme0n1"),)), InvalidRequest),
    ],
)
def test_a_pool_that_makes_no_sense_is_refused(arguments: tuple[object, ...], error: type[Exception]) -> None:
    _, control = make()
    with pytest.raises(error):
        control.pools.create(*arguments)  # type: ignore[arg-type]
    assert control.pools.list() == ()


def test_a_pool_that_could_not_be_made_whole_can_be_deleted() -> None:
    _, control = make()
    with pytest.raises(FailedPrecondition, match="no such disk"):
        control.pools.create("nvme", ("a", "b"), 1, (("b", "/dev/sdx"),))
    control.pools.delete("nvme")
    control.pools.delete("nvme")
    assert control.pools.list() == ()


def test_a_pool_in_use_names_its_volumes_and_a_silent_node_its_problem() -> None:
    cluster, control = make()
    control.pools.create("nvme", ("a",), 1)
    volume = control.volumes.create(VolumeRequest("data", GIB, "nvme"))
    with pytest.raises(FailedPrecondition, match="holds volumes: data"):
        control.pools.delete("nvme")
    cluster.node("a").silent = True
    assert "does not answer" in control.pools.usage("nvme")[0].problem
    with pytest.raises(Unavailable):
        control.pools.create("nvme", ("a",), 1)
    cluster.node("a").silent = False
    control.volumes.delete(volume.id)
    cluster.node("a").silent = True
    with pytest.raises(Unavailable):
        control.pools.delete("nvme")


def test_keys_are_never_the_same() -> None:
    assert new_key() != new_key()
    assert len(new_key()) == len("DHHC-1:00:") + 48 + 1
    assert new_consumer("v0", 3, "r1", authentication=False).host_key == ""
    assert new_consumer("v0", 3, "r1", authentication=True).host_nqn.endswith("host:v0:3:r1")


def test_a_control_plane_is_opened_from_its_state_directory(tmp_path: Path) -> None:
    authority = CertificateAuthority.create(tmp_path / "ca", "0f0f")
    write_identity(tmp_path / "pki", authority.issue("main", Role.CONTROL))
    control = open_control(tmp_path)
    assert control.store.cluster() == "0f0f"
    with pytest.raises(Unavailable):
        control.nodes.add(Node("a", "127.0.0.1:1", "127.0.0.1"))
    control.events.write("v0", "kind", "words")
    assert control.events.list("v0")[0].message == "words"
    control.store.close()


def test_a_node_is_labelled_and_keeps_that_when_it_is_added_again() -> None:
    _, control = make()
    control.nodes.label("a", {"zone": "z1", "rack": "r1"})
    assert control.nodes.label("a", {"zone": "z2", "rack": ""}).labels == (("zone", "z2"),)
    control.nodes.add(Node("a", "a:7000", "data-a"))
    assert control.nodes.get("a").labels == (("zone", "z2"),)
    with pytest.raises(AlreadyExists):
        control.nodes.add(Node("a", "elsewhere:7000", "data-a"))
    with pytest.raises(NotFound):
        control.nodes.label("z", {})
