"""The link to a replica is bad rather than gone."""

import pytest

from replication.clock import SystemClock
from tests.lab.stand import Stand
from tests.lab.stories.acts import flap
from tests.lab.stories.told import end, tell

pytestmark = [pytest.mark.lab, pytest.mark.cluster(nodes=3), pytest.mark.more]
LOSS_STALL = 25.0  # seconds: five times the goal of 5 when a replica falls silent
BAD_FOR = 20.0  # seconds


@pytest.mark.parametrize("times", [5, pytest.param(20, marks=pytest.mark.long)])
def test_a_link_that_flaps(stand: Stand, times: int) -> None:
    volume = stand.create("flaps")
    m3 = stand.machine("m3")
    with stand.writing(volume, "m1") as checked:
        checked.collector.restart_stall_watch()
        flap(m3, times)
        checked.wait_for_writes(100)
        stall = checked.collector.stall()
        redundant = stand.wait_until_redundant(volume)
        checked.wait_for_writes(100)
        verdict = checked.finish()
    tell(f"link-flaps-{times}", verdict, stall, redundant)
    assert stall < LOSS_STALL
    end(stand, volume, verdict)


def test_a_link_that_is_slow_and_loses_packets(stand: Stand) -> None:
    """200 ms and 5 %: writes are slow, or go on without that replica; they do not fail."""
    volume = stand.create("lossy")
    m3 = stand.machine("m3")
    with stand.writing(volume, "m1") as checked:
        checked.collector.restart_stall_watch()
        m3.degrade(200, 5)
        SystemClock().sleep(BAD_FOR)
        checked.wait_for_writes(100)
        stall, state = checked.collector.stall(), stand.state(volume, "m3")
        m3.delay(0)
        redundant = stand.wait_until_redundant(volume)
        checked.wait_for_writes(100)
        verdict = checked.finish()
    print(f"after {BAD_FOR:g} s of 200 ms and 5 % the replica was {state}")
    tell("link-lossy", verdict, stall, redundant)
    assert stall < LOSS_STALL
    end(stand, volume, verdict)
