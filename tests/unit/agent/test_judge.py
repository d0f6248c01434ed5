from dataclasses import replace

import pytest

from replication.agent.judge import REFUSED_AFTER, SILENT_AFTER, UNCONNECTED_AFTER, Observation, judge
from replication.model import MemberHealth
from replication.tuning import WRITE_LATENCY_BOUND

HEALTHY = Observation(joined=False, faulty=False, in_sync=True, path_failed=False, released=False)


def test_a_healthy_member_is_good() -> None:
    assert judge(HEALTHY) == (MemberHealth.GOOD, "")


def test_a_member_that_joined_and_is_in_sync_has_recovered() -> None:
    assert judge(replace(HEALTHY, joined=True))[0] is MemberHealth.RECOVERED


def test_a_member_that_is_not_in_sync_is_recovering() -> None:
    assert judge(replace(HEALTHY, joined=True, in_sync=False))[0] is MemberHealth.RECOVERING


@pytest.mark.parametrize(
    "seen",
    [
        replace(HEALTHY, faulty=True),
        replace(HEALTHY, path_failed=True),
        replace(HEALTHY, in_sync=False, slotless=True),
        replace(HEALTHY, controller="gone"),
        replace(HEALTHY, controller="deleting"),
        replace(HEALTHY, silence=SILENT_AFTER),
        replace(HEALTHY, controller="connecting", unconnected=REFUSED_AFTER, refused=True),
        replace(HEALTHY, controller="connecting", unconnected=UNCONNECTED_AFTER),
        replace(HEALTHY, in_sync=False, path_failed=True),
        replace(HEALTHY, slow=WRITE_LATENCY_BOUND, bound=WRITE_LATENCY_BOUND),
        replace(HEALTHY, in_sync=False, slow=WRITE_LATENCY_BOUND, bound=WRITE_LATENCY_BOUND),
    ],
)
def test_each_sign_of_trouble_alone_makes_a_member_lost_and_says_why(seen: Observation) -> None:
    health, reason = judge(seen)
    assert health is MemberHealth.LOST
    assert reason


@pytest.mark.parametrize(
    "seen",
    [
        replace(HEALTHY, silence=SILENT_AFTER - 0.1),
        replace(HEALTHY, controller="connecting", unconnected=UNCONNECTED_AFTER - 0.1),
        replace(HEALTHY, controller="connecting", unconnected=REFUSED_AFTER - 0.1, refused=True),
        replace(HEALTHY, slow=WRITE_LATENCY_BOUND - 0.1, bound=WRITE_LATENCY_BOUND),
    ],
)
def test_a_blip_is_not_a_loss(seen: Observation) -> None:
    assert judge(seen)[0] is MemberHealth.GOOD


def test_a_slow_member_is_good_where_no_bound_is_set() -> None:
    assert judge(replace(HEALTHY, slow=60.0, bound=0.0)) == (MemberHealth.GOOD, "")


def test_a_released_member_is_dropped_whatever_else_it_shows() -> None:
    assert judge(replace(HEALTHY, released=True, faulty=True, path_failed=True))[0] is MemberHealth.DROPPED
