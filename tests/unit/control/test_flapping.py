"""Who comes and goes waits longer each time; who has been quiet for a while does not."""

from replication.agent.judge import Observation, judge
from replication.control.control import build_control
from replication.control.flapping import LONGEST, SLOW_WINDOW, WINDOW, find_wait, find_wait_of_slow
from replication.control.reconciler import Reconciler
from replication.control.store.memory import MemoryStore
from replication.control.volumes import VolumeRequest
from replication.model import GIB, MemberHealth, MemberReport, ReplicaState
from tests.fakes.clock import HandClock
from tests.fakes.node import FakeCluster
from tests.unit.control.test_reconciler import Lab, eventually, running

HOUR = 3600
STALL = 6  # seconds that writes wait until a member is found to be slow
LATE = Observation(
    joined=True, faulty=False, in_sync=True, path_failed=False, released=False, slow=STALL, bound=5.0
)
SLOW = judge(LATE)[1]


def test_returns_are_free_then_cost_more_each_time_up_to_a_bound() -> None:
    waits = [find_wait([100.0 + n for n in range(count)], 100.0 + max(count - 1, 0)) for count in range(9)]
    assert waits == [0.0, 0.0, 5.0, 10.0, 20.0, 40.0, LONGEST, LONGEST, LONGEST]


def test_waiting_is_counted_from_the_last_return_and_forgotten_after_a_while() -> None:
    assert find_wait([0.0, 1.0, 2.0], 5.0) == 7.0
    assert find_wait([0.0, 1.0, 2.0], 12.0) == 0.0
    assert find_wait([0.0, 1.0, 2.0], WINDOW + 2.0) == 0.0


def test_one_that_was_slow_waits_from_the_first_time() -> None:
    assert find_wait_of_slow((), 5.0) == 0.0
    assert find_wait_of_slow((0.0,), 5.0) == 25.0
    assert find_wait_of_slow((0.0, 100.0), 100.0) == 60.0
    assert find_wait_of_slow((0.0,), SLOW_WINDOW) == 0.0


class Flapper:
    """A volume on a, b and c, attached to a; its replica on b is lost and taken back."""

    def __init__(self) -> None:
        self.clock, self.cluster = HandClock(0.0), FakeCluster(["a", "b", "c"])
        self.control = build_control(MemoryStore(self.cluster.name), self.cluster.connect, self.clock)
        self.cluster.add_to(self.control)
        self.id = self.control.volumes.create(VolumeRequest("data", GIB, "nvme")).id
        self.control.volumes.attach(self.id, "a")
        self.replica = self.on("b")
        self.reconciler = Reconciler(self.control, self.clock)

    def on(self, node: str) -> str:
        return next(r.id for r in self.control.volumes.get(self.id).replicas if r.node == node)

    @property
    def is_member(self) -> bool:
        return self.cluster.node("a").arrays[self.id].has_member(self.replica)

    def lose(self, reason: str, replica: str = "") -> None:
        array, lost = self.cluster.node("a").arrays[self.id], replica or self.replica
        array.members[lost] = MemberReport(lost, MemberHealth.LOST, reason, True)
        self.reconciler._hear("a", array.report())
        self.reconciler.handle("a", array.report())

    def wait_until_back(self) -> int:
        """Passes of a second each."""
        for second in range(HOUR):
            self.reconciler.run_once()
            if self.is_member:
                return second
            self.clock.time += 1.0
        raise AssertionError("it never came back")

    def flap(self, reason: str, stall: int) -> int:
        """It is lost after so many seconds, which writes wait for it. How long it is away then."""
        self.clock.time += stall
        self.lose(reason)
        return self.wait_until_back()


def test_a_replica_that_comes_and_goes_is_taken_back_later_each_time() -> None:
    flapper = Flapper()
    assert [flapper.flap("its connection is gone", 0) for _ in range(7)] == [0, 0, 5, 10, 20, 40, 60]


def test_a_replica_that_is_slow_all_the_time_makes_writes_wait_a_few_times_an_hour() -> None:
    flapper = Flapper()
    away: list[int] = []
    while flapper.clock.time < HOUR:
        away.append(flapper.flap(SLOW, STALL))
    assert away[:6] == [30, 60, 120, 240, 480, 600]
    assert len(away) == 10


def test_one_that_has_to_wait_keeps_no_other_waiting() -> None:
    flapper = Flapper()
    flapper.lose(SLOW)
    flapper.lose("its connection is gone", flapper.on("c"))
    flapper.reconciler.run_once()
    states = {r.node: r.state for r in flapper.control.volumes.get(flapper.id).replicas}
    assert states == {"a": ReplicaState.IN_SYNC, "b": ReplicaState.STALE, "c": ReplicaState.REBUILDING}


def test_one_that_is_reported_slow_again_and_again_was_lost_once() -> None:
    flapper = Flapper()
    for _ in range(3):
        flapper.lose(SLOW)
    assert flapper.wait_until_back() == 30


def test_one_that_was_slow_once_is_as_welcome_as_ever_an_hour_later() -> None:
    flapper = Flapper()
    assert [flapper.flap(SLOW, STALL), flapper.flap(SLOW, HOUR)] == [30, 30]


def test_a_replica_that_was_slow_is_not_taken_back_at_once() -> None:
    lab = Lab()
    array, replica = lab.cluster.node("a").arrays[lab.id], lab.replica_on("b")
    with running(lab.reconciler):
        eventually(lambda: lab.reconciler._repairing, "it repairs")
        eventually(lambda: "watch" in lab.cluster.node("a").calls, "a is watched")
        array.members[replica] = MemberReport(replica, MemberHealth.LOST, SLOW, True)
        lab.cluster.node("a")._publish_report(array)
        eventually(lambda: lab.health("b") is MemberHealth.DROPPED, "b is dropped")
    lab.reconciler.run_once()
    assert (lab.state("b"), lab.health("b")) == (ReplicaState.STALE, MemberHealth.DROPPED)
