"""Control planes and agents of different versions work together: an upgrade replaces one after another."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from csi.failover.lookout import Lookout
from replication.clock import SystemClock, wait_until
from replication.control.control import Control, build_control
from replication.control.insync import in_sync
from replication.control.reconciler import Reconciler
from replication.control.store.memory import MemoryStore
from replication.control.volumes import VolumeRequest
from replication.errors import FailedPrecondition, Unsupported
from replication.model import GIB, AccessType, MemberHealth, Node, PublishSpec, StageSpec, Volume
from replication.pki import CertificateAuthority, Identity, Role
from replication.rpc.client import NodeClient
from replication.rpc.contract import NodeApi
from replication.rpc.server import Server, serve_node
from replication.rpc.v1 import node_pb2 as pb
from tests.contract.earlier import FIRST, Contract, EarlierWire, serve_earlier
from tests.fakes.node import FakeCluster, FakeNode

CLOCK = SystemClock()
NAMES = ("a", "b", "c")
Connect = Callable[[Node], NodeClient]


@dataclass
class Site:
    """A control plane, and nodes behind real connections."""

    cluster: FakeCluster
    control: Control

    def create(self) -> Volume:
        return self.control.volumes.create(VolumeRequest("data", GIB, "nvme"))

    def in_sync(self, volume: Volume) -> set[str]:
        return {r.node for r in in_sync(self.control.volumes.get(volume.id))}


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Contract:
    return Contract(FIRST, tmp_path_factory.mktemp("contract"))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def open_site(stack: ExitStack, contract: Contract, tmp_path: Path) -> Callable[..., Site]:
    authority = CertificateAuthority.create(tmp_path / "ca", "cluster")
    identity = authority.issue("main", Role.CONTROL)

    def open_one(earlier_agents: tuple[str, ...] = (), *, earlier_control: bool = False) -> Site:
        cluster, ports = FakeCluster(list(NAMES)), {}
        for name in NAMES:
            api, theirs = cluster.node(name), authority.issue(name, Role.NODE)
            earlier = name in earlier_agents
            server = serve_earlier(contract, api, theirs) if earlier else serve_today(api, theirs)
            stack.callback(server.stop, 0)
            ports[name] = server.port

        def connect(node: Node) -> NodeClient:
            there = Node(node.name, f"127.0.0.1:{ports[node.name]}", node.data_address)
            wire = EarlierWire(contract, there, identity) if earlier_control else None
            return stack.enter_context(NodeClient(there, lambda: identity, wire=wire))

        control = build_control(MemoryStore(cluster.name), connect, CLOCK)
        cluster.add_to(control)
        return Site(cluster, control)

    return open_one


@pytest.mark.parametrize(
    "versions",
    [{"earlier_agents": NAMES}, {"earlier_agents": ("b",)}, {"earlier_control": True}],
    ids=["earlier agents", "one earlier agent", "earlier control plane"],
)
def test_a_volume_lives_its_life_between_versions(
    open_site: Callable[..., Site], stack: ExitStack, versions: dict[str, object]
) -> None:
    site = open_site(**versions)
    volume = site.create()
    device = site.control.volumes.attach(volume.id, "a")
    assert device == f"/dev/md_{volume.id}"
    use(site.control.nodes.to("a"), volume)
    reconcile(site.control, stack)
    lose_and_bring_back(site, volume)
    site.control.volumes.expand(volume.id, 2 * GIB)
    assert site.cluster.node("a").arrays[volume.id].size_bytes == 2 * GIB
    leave(site.control.nodes.to("a"), volume)
    site.control.volumes.detach(volume.id)
    site.control.volumes.attach(volume.id, "c")
    assert site.in_sync(volume) == set(NAMES)
    site.control.volumes.detach(volume.id)
    site.control.volumes.delete(volume.id)
    assert all(not node.replicas for node in site.cluster.nodes.values())


def serve_today(api: NodeApi, identity: Identity) -> Server:
    return serve_node(api, "127.0.0.1:0", lambda: identity)


def use(node: object, volume: Volume) -> None:
    assert isinstance(node, NodeClient)
    node.stage(StageSpec(volume.id, "/staging", AccessType.MOUNT, "ext4"))
    node.publish(PublishSpec(volume.id, "/staging", "/target", AccessType.MOUNT))
    assert node.measure(volume.id, "/target").total_bytes == GIB


def leave(node: object, volume: Volume) -> None:
    assert isinstance(node, NodeClient)
    node.unpublish(volume.id, "/target")
    node.unstage(volume.id, "/staging")


def reconcile(control: Control, stack: ExitStack) -> None:
    """Until the test ends."""
    reconciler, stop = Reconciler(control, CLOCK), threading.Event()
    thread = threading.Thread(target=reconciler.run, args=(stop,))
    stack.callback(thread.join)
    stack.callback(reconciler.wake)
    stack.callback(stop.set)
    thread.start()


def lose_and_bring_back(site: Site, volume: Volume) -> None:
    """A member is lost on the consumer; it is recorded, dropped, and comes back by a copy."""
    consumer: FakeNode = site.cluster.node("a")
    (replica,) = (r.id for r in volume.replicas if r.node == "b")
    wait_until(lambda: bool(consumer._listeners), "it is heard", timeout=30, clock=CLOCK)
    consumer.set_health(volume.id, replica, MemberHealth.LOST)
    wait_until(lambda: bool(consumer.rejoined), "it joins again", timeout=60, clock=CLOCK)
    consumer.set_health(volume.id, replica, MemberHealth.RECOVERED)
    wait_until(lambda: site.in_sync(volume) == set(NAMES), "in sync", timeout=60, clock=CLOCK)


def test_an_earlier_agent_says_that_it_does_not_know_a_call(open_site: Callable[..., Site]) -> None:
    site = open_site(("b",))
    with pytest.raises(Unsupported, match=r"node b at .* does not know this call, its agent is older"):
        site.control.nodes.to("b").list_traces()
    diagnosis = site.control.doctor.examine()
    assert [node for node, _ in diagnosis.silent] == ["b"]
    assert "its agent is older: upgrade it" in diagnosis.silent[0][1]


def test_an_earlier_agent_keeps_a_disk_that_it_cannot_take_out_alone(open_site: Callable[..., Site]) -> None:
    """It knows how to give all disks of a pool back; it is drained all the same, and uncordoned."""
    site, disk = open_site(("b",)), "/dev/nvme0n1"
    with pytest.raises(Unsupported, match="its agent is older"):
        site.control.emptying.remove_disk("b", disk)
    assert site.cluster.node("b").pools == {"nvme": (disk,)}
    site.control.emptying.uncordon_disk("b", disk)
    assert site.control.store.list_cordons() == ()


def test_an_earlier_agent_is_not_taken_for_a_dead_one(open_site: Callable[..., Site]) -> None:
    """It cannot be asked about others; that it answers is known all the same."""
    site = open_site(("b",))
    seen = Lookout(site.control.nodes, CLOCK).look()
    assert {name: sight.answers_us for name, sight in seen.items()} == dict.fromkeys(NAMES, True)
    assert all("b" not in sight.missed_by for sight in seen.values())


def test_a_removal_is_checked_where_the_agent_knows_how(open_site: Callable[..., Site]) -> None:
    """An earlier one removes what it is told to, as it always has."""
    site = open_site(("b",))
    volume = site.create()
    site.control.volumes.attach(volume.id, "a")
    site.control.volumes.detach(volume.id)
    held = {r.node: r.id for r in volume.replicas}
    with pytest.raises(Exception, match="has seen version") as refused:
        site.control.executor.remove_replica("c", volume.id, held["c"], 0)
    assert not isinstance(refused.value, FailedPrecondition)
    site.control.executor.remove_replica("b", volume.id, held["b"], 0)
    assert [bool(site.cluster.node(node).replicas) for node in NAMES] == [True, False, True]


def test_no_field_of_an_earlier_contract_has_another_meaning(contract: Contract) -> None:
    """Numbers and types stay; what is new has a number of its own."""
    today = pb.DESCRIPTOR.services_by_name["Node"]
    assert today.full_name == contract.service.full_name
    for method in contract.service.methods:
        now = today.methods_by_name[method.name]
        assert compare(method.input_type, now.input_type) == []
        assert compare(method.output_type, now.output_type) == []


def compare(then: Descriptor | None, now: Descriptor | None) -> list[str]:
    """What somebody of then would misread."""
    assert then is not None
    assert now is not None
    found = []
    for field in then.fields:
        same = now.fields_by_number.get(field.number)
        if same is None or shape(same) != shape(field):
            found.append(f"{then.name}.{field.name}")
        elif field.message_type is not None:
            found += compare(field.message_type, same.message_type)
    return found


def shape(field: FieldDescriptor) -> tuple[object, ...]:
    return field.name, field.type, field.is_repeated, field.has_presence
