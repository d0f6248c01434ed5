"""Who cannot be brought back, for whatever reason, counts as away, and is replaced like the silent."""

from replication.control.control import build_control
from replication.control.insync import in_sync
from replication.control.lifecycle import VolumeRequest
from replication.control.reconciler import Reconciler
from replication.control.settings import Settings
from replication.control.store.memory import MemoryStore
from replication.errors import FailedPrecondition
from replication.model import GIB, MemberHealth, RejoinSpec
from tests.fakes.clock import HandClock
from tests.fakes.node import FakeCluster

DELAY = 600
AFTER_ATTEMPTS = 120  # seconds, by when a replica has been tried often enough


class Lab:
    """A volume on a, b and c, attached to a, that could be on others too; time passes by hand."""

    def __init__(self, nodes: str = "abcde") -> None:
        self.clock, self.cluster = HandClock(0.0), FakeCluster(list(nodes))
        self.control = build_control(MemoryStore(), self.cluster.connect, self.clock)
        self.cluster.add_to(self.control)
        self.control.store.put_settings(Settings(replacement_delay=float(DELAY)))
        request = VolumeRequest("data", GIB, "nvme", preferred_nodes=("a", "b", "c"))
        self.id = self.control.volumes.create(request).id
        self.control.volumes.attach(self.id, "a")
        self.reconciler = Reconciler(self.control, self.clock)
        self.unreached = set[str]()
        self._rejoin = self.cluster.node("a").rejoin
        self.cluster.node("a").rejoin = self._try_to_rejoin  # type: ignore[method-assign]

    def _try_to_rejoin(self, spec: RejoinSpec) -> None:
        replicas = {r.id: r.node for r in self.control.volumes.get(self.id).replicas}
        if replicas[spec.member.replica_id] in self.unreached:
            raise FailedPrecondition("no connection")
        self._rejoin(spec)

    def states(self) -> dict[str, str]:
        return {r.node: r.state.value for r in self.control.volumes.get(self.id).replicas}

    def lose(self, node: str) -> None:
        """Its own node answers all the time, and its array's node does not reach it any more."""
        self.unreached.add(node)
        self._report(node, MemberHealth.LOST)

    def finish(self, node: str) -> None:
        self._report(node, MemberHealth.RECOVERED)

    def _report(self, node: str, health: MemberHealth) -> None:
        ids = {r.node: r.id for r in self.control.volumes.get(self.id).replicas}
        self.cluster.node("a").set_health(self.id, ids[node], health, covers=True)
        self.reconciler.handle("a", self.cluster.node("a").arrays[self.id].report())

    def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.reconciler.run_once()
            self.clock.time += 1.0


def test_a_replica_that_its_consumer_does_not_reach_is_replaced_elsewhere() -> None:
    lab = Lab()
    lab.lose("c")
    lab.wait(DELAY)
    assert lab.states() == {"a": "in_sync", "b": "in_sync", "c": "stale"}
    lab.wait(AFTER_ATTEMPTS)
    assert lab.states() == {"a": "in_sync", "b": "in_sync", "c": "stale", "d": "rebuilding"}
    lab.finish("d")
    lab.wait(3)
    assert lab.states() == {"a": "in_sync", "b": "in_sync", "d": "in_sync"}
    told = [event.message for event in lab.control.events.list(lab.id) if event.kind == "replaced"]
    assert "in vain" in told[0]


def test_one_without_room_for_what_the_volume_has_grown_by_is_replaced_elsewhere() -> None:
    lab = Lab()
    node = lab.cluster.node("c")
    lab.lose("c")
    node.silent = True
    lab.control.volumes.expand(lab.id, 2 * GIB)
    node.silent = False
    node.disk_bytes = node._used("vg-c")
    lab.wait(DELAY + AFTER_ATTEMPTS)
    assert lab.states() == {"a": "in_sync", "b": "in_sync", "c": "stale", "d": "rebuilding"}


def test_one_that_comes_back_after_all_is_as_good_as_ever() -> None:
    lab = Lab()
    lab.lose("c")
    lab.wait(DELAY // 2)
    lab.unreached.clear()
    lab.wait(AFTER_ATTEMPTS)
    lab.finish("c")
    lab.wait(1)
    lab.lose("c")
    lab.wait(DELAY)
    assert lab.states() == {"a": "in_sync", "b": "in_sync", "c": "stale"}


def test_what_nobody_can_be_copied_from_does_not_make_new_replicas_for_ever() -> None:
    lab = Lab()
    lab.unreached |= {"d", "e"}
    lab.lose("c")
    lab.wait(5 * DELAY)
    assert lab.states() == {"a": "in_sync", "b": "in_sync", "c": "stale", "d": "stale"}
    lab.unreached.discard("c")
    lab.wait(AFTER_ATTEMPTS)
    lab.finish("c")
    lab.wait(3)
    assert lab.states() == {"a": "in_sync", "b": "in_sync", "c": "in_sync"}
    assert len(in_sync(lab.control.volumes.get(lab.id))) == 3
