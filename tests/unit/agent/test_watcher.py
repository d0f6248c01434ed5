import pytest

from replication.agent.assembled import Assembled
from replication.agent.members import Joint, Remote
from replication.agent.watcher import HURRIED_FOR, HURRY, INTERVAL, choose_pause, is_restless, latency_bound
from replication.model import ArrayReport, MemberHealth, MemberReport
from replication.tuning import Tuning

NOW = 1000.0


def array(unconnected_since: float | None) -> Assembled:
    remote = Remote("nqn", "nvme1", "10.0.0.2", 4420)
    joint = Joint("r1", "hold", "dm-1", "nvme1n1", remote, unconnected_since=unconnected_since)
    return Assembled("v1", 1, {"r1": joint})


def test_without_arrays_there_is_nothing_to_look_at() -> None:
    assert choose_pause((), NOW) is None


@pytest.mark.parametrize(
    ("since", "pause"),
    [(None, INTERVAL), (NOW, HURRY), (NOW - HURRIED_FOR / 2, HURRY), (NOW - HURRIED_FOR, INTERVAL)],
)
def test_a_connection_that_has_just_been_lost_is_looked_at_again_soon(
    since: float | None, pause: float
) -> None:
    assert choose_pause((array(None), array(since)), NOW) == pause


def test_a_member_that_was_dropped_is_not_waited_for() -> None:
    dropped = array(NOW)
    dropped.members["r1"].released = True
    assert choose_pause((dropped,), NOW) == INTERVAL


def report(health: MemberHealth = MemberHealth.GOOD, activity: str = "idle") -> ArrayReport:
    return ArrayReport("v1", 1, 1, (MemberReport("r1", health),), resync_done=True, activity=activity)


def test_an_array_of_which_nobody_knows_anything_yet_is_restless() -> None:
    assert array(None).restless


def test_an_array_at_rest_is_left_alone() -> None:
    assert not is_restless(array(None), report())


@pytest.mark.parametrize(
    "news", [report(MemberHealth.LOST), report(MemberHealth.RECOVERING), report(activity="check")]
)
def test_an_array_in_which_something_goes_on_is_looked_at_again(news: ArrayReport) -> None:
    assert is_restless(array(None), news)


def test_an_array_whose_member_has_no_connection_or_was_dropped_is_looked_at_again() -> None:
    dropped = array(None)
    dropped.members["r1"].released = True
    assert is_restless(dropped, report())
    assert is_restless(array(NOW), report())


def test_an_array_whose_writes_wait_since_an_agent_died_is_looked_at_again() -> None:
    kept = array(None)
    kept.writes_kept = True
    assert is_restless(kept, report())


def test_a_member_may_take_five_seconds_unless_somebody_says_otherwise() -> None:
    told = array(None)
    assert latency_bound(told) == 5.0
    for bound in (0.0, 2.0):
        told.tuning = Tuning(slots=3, write_latency_bound=bound)
        assert latency_bound(told) == bound
