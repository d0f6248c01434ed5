"""The store does not answer, just when a replica is lost."""

import pytest

from hack.lab.locking import locked
from replication.model import ReplicaState
from tests.lab.stand import Stand
from tests.lab.stories.told import end, tell

pytestmark = [pytest.mark.lab, pytest.mark.cluster(nodes=3)]
RELEASED_AFTER = 26.0  # seconds: five times the 5.2 s after which what could not be done is tried again


@pytest.mark.parametrize(
    "seconds",
    [pytest.param(20.0, marks=pytest.mark.more), pytest.param(60.0, marks=pytest.mark.long)],
)
def test_writes_wait_for_a_store_that_is_locked(stand: Stand, seconds: float) -> None:
    """By another process, for longer than SQLite waits: nothing fails, nothing has to be started again."""
    volume = stand.create("locked")
    m3 = stand.machine("m3")
    with stand.writing(volume, "m1") as checked:
        with locked(stand.site.state / "state.db"):
            checked.wait_for_writes(200)
            m3.crash()
            checked.wait_until_waiting()
            checked.assert_waiting(seconds)
            assert stand.state(volume, "m3") is ReplicaState.IN_SYNC, "nothing can be recorded"
        checked.wait_for_writes(1, RELEASED_AFTER)
        checked.wait_for_writes(200)
        assert stand.state(volume, "m3") is ReplicaState.STALE
        assert stand.daemon.poll() is None, "the control plane has lived through it"
        stall = checked.collector.stall()
        stand.revive(m3)
        redundant = stand.wait_until_redundant(volume)
        verdict = checked.finish()
    tell(f"store-locked-{seconds:g}", verdict, stall, redundant)
    end(stand, volume, verdict)
