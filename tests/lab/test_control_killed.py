"""A control plane killed anywhere in an operation: the operation ends, nothing leaks, nothing is lost.

tests/unit/control/test_crashes.py does the same with fakes, at every call; here are real stores and machines.
"""

import fcntl
import itertools
import subprocess  # noqa: TID251 - a control plane that kills itself
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from hack.lab.paths import REPOSITORY
from replication.clock import SystemClock
from replication.control.reconciler import Reconciler
from replication.control.volumes import VolumeRequest
from replication.model import MIB, Phase, ReplicaState, Volume
from tests.lab.stand import POOL, Checked, Stand, dump, wait_for
from tests.lab.stories.healing import counting, create_on
from tests.lab.stories.told import end, tell
from tests.lab.test_bad_days import answers

pytestmark = pytest.mark.lab
SIZE_BYTES = 16 * MIB
GROWTH_BYTES = 4 * MIB
MOST_CALLS = 80
UNKILLED = 1_000_000  # more calls than any operation takes
LONGER_THAN_KEEP_ALIVE = 15.0  # seconds: the connection breaks and its path fails


@pytest.fixture(params=["during", "before", "any"])
def when(request: pytest.FixtureRequest) -> str:
    """Killed during or before a call that changes something, or before any call: tests/lab/dying.py.

    `during` is the end of a short call, which is right before the next.
    """
    return str(request.param)


@pytest.mark.long
def test_create_and_delete_killed_anywhere(stand: Stand, when: str) -> None:
    stand.kill_control()
    request = VolumeRequest("made", SIZE_BYTES, POOL)
    create, delete = Sweep(stand, when), Sweep(stand, when)
    while create.goes_on or delete.goes_on:
        create.kill("create", request.name, str(SIZE_BYTES), POOL)
        volume = stand.control.volumes.create(request)
        stand.assert_sound()
        assert {replica.state for replica in volume.replicas} == {ReplicaState.IN_SYNC}
        delete.kill("delete", volume.id)
        stand.control.volumes.delete(volume.id)
        stand.assert_sound()
        assert stand.control.volumes.list() == ()
    print(f"killed {when}: create at {create.deaths} calls, delete at {delete.deaths}")
    assert min(create.deaths, delete.deaths) >= 5, "three nodes, and the record before and after"


@pytest.mark.long
def test_attach_and_detach_killed_anywhere(stand: Stand, when: str) -> None:
    stand.kill_control()
    volume = stand.create("attached", SIZE_BYTES)
    attach, detach = Sweep(stand, when), Sweep(stand, when)
    mark = ""
    while attach.goes_on or detach.goes_on:
        attach.kill("attach", volume.id, "m1")
        device = stand.control.volumes.attach(volume.id, "m1")
        stand.assert_sound()
        mark = check_and_write(stand, device, mark)
        detach.kill("detach", volume.id)
        stand.control.volumes.detach(volume.id, "m1")
        stand.assert_sound()
    print(f"killed {when}: attach at {attach.deaths} calls, detach at {detach.deaths}")
    assert min(attach.deaths, detach.deaths) >= 6
    stand.start_control()
    stand.control.volumes.attach(volume.id, "m1")
    stand.wait_until_redundant(volume)  # a node that took too long to answer once was left out
    stand.control.volumes.detach(volume.id)
    stand.assert_replicas_equal(volume)
    stand.remove(volume)


@pytest.mark.long
def test_a_rebuild_killed_anywhere(stand: Stand) -> None:
    """The next control plane brings the replica back; nothing fails meanwhile."""
    volume, deaths, killed = stand.create("rebuilt"), 0, True
    times: list[float] = []
    with stand.writing(volume, "m1") as checked:
        while killed:
            killed, redundant = kill_in_rebuild(stand, volume, checked, deaths)
            deaths += killed
            times.append(redundant)
        stall, verdict = checked.collector.stall(), checked.finish()
    print(f"killed at {deaths} calls")
    tell("control-killed-in-rebuild", verdict, stall, max(times))
    assert deaths >= 4, "the record, the export, the array, and the record again"
    end(stand, volume, verdict)


def kill_in_rebuild(stand: Stand, volume: Volume, checked: Checked, calls: int) -> tuple[bool, float]:
    """Whether it was, and the time to redundancy; m3's replica was stale before."""
    m3 = stand.machine("m3")
    m3.cut()
    stand.wait_for_state(volume, "m3", ReplicaState.STALE)
    checked.wait_for_writes(100)
    stand.kill_control()
    m3.heal()
    wait_for(partial(answers, stand, "m3"), "m3 to answer")
    killed = die(stand, "during", calls, "repair")
    assert locks_are_free(stand)
    stand.start_control()
    return killed, stand.wait_until_redundant(volume)


@pytest.mark.long
@pytest.mark.cluster(nodes=4)
def test_a_replacement_killed_anywhere(stand: Stand) -> None:
    """Of a replica whose node is drained: the next one ends it, and no fewer are in sync meanwhile."""
    volume = create_on(stand, "replaced", ("m1", "m2", "m3"), SIZE_BYTES)
    stand.kill_control()
    deaths, killed, times, places = 0, True, [], itertools.cycle(("m3", "m4"))
    with stand.writing(volume, "m1") as checked, counting(stand, volume) as counts:
        while killed:
            killed, took = kill_in_replacement(stand, volume, next(places), deaths)
            deaths += killed
            times.append(took)
            checked.wait_for_writes(20)
        stall, verdict = checked.collector.stall(), checked.finish()
    print(f"killed at {deaths} calls; replicas in sync: {min(counts)} to {max(counts)}")
    tell("control-killed-in-replacement", verdict, stall, max(times))
    assert deaths >= 6, "the record, the new replica, its return, and the old one retired and forgotten"
    assert min(counts) == 3
    stand.start_control()
    stand.wait_until_sound()
    end(stand, stand.control.volumes.get(volume.id), verdict)


def kill_in_replacement(stand: Stand, volume: Volume, node: str, calls: int) -> tuple[bool, float]:
    """Whether it was, and how long the next one took; afterwards the replica of `node` is elsewhere."""
    stand.control.emptying.cordon(node, draining=True)
    killed = die(stand, "during", calls, "replace", volume.id)
    assert locks_are_free(stand)
    begun = SystemClock().now()
    assert not die(stand, "during", UNKILLED, "replace", volume.id)
    took = SystemClock().now() - begun
    stand.control.emptying.uncordon(node)
    replicas = stand.control.volumes.get(volume.id).replicas
    assert [replica.state for replica in replicas] == [ReplicaState.IN_SYNC] * 3
    assert node not in {replica.node for replica in replicas}
    return killed, took


@pytest.mark.long
def test_a_fence_killed_anywhere(stand: Stand) -> None:
    """Of a consumer that does not answer: a repeat ends it, and the volume is used elsewhere."""
    volume, deaths = stand.create("fenced"), 0
    while fence_killed(stand, volume, deaths):
        deaths += 1
    print(f"killed at {deaths} calls")
    assert deaths >= 3, "the record, the fences, and the record again"
    end(stand, volume)


def fence_killed(stand: Stand, volume: Volume, calls: int) -> bool:
    """Whether it was; the volume was in use on m1 before, and is detached and redundant again."""
    m1 = stand.machine("m1")
    with stand.writing(volume, "m1") as lost:
        lost.wait_for_writes(200)
        stand.kill_control()
        m1.freeze()
        killed = die(stand, "during", calls, "detach", volume.id)
        assert locks_are_free(stand)
        stand.start_control()
        stand.control.volumes.detach(volume.id, "m1")
        device = stand.control.volumes.attach(volume.id, "m2")
        verdict = lost.collector.judge(dump(stand.machine("m2"), device))
        m1.thaw()
        redundant = stand.wait_until_redundant(volume)
        tell(f"control-killed-in-fence-{calls}", verdict, lost.collector.stall(), redundant)
        assert (verdict.lost, lost.collector.errors()) == ((), [])
    m1.wait_until_succeeds(f"! test -e /sys/block/md_{volume.id}")
    stand.control.volumes.detach(volume.id)
    return killed


@pytest.mark.long
def test_expand_killed_anywhere(stand: Stand, when: str) -> None:
    """A repeat ends it, under writes that do not notice."""
    stand.kill_control()
    volume = stand.create("grown")
    expand, size = Sweep(stand, when), volume.size_bytes
    with stand.writing(volume, "m1") as checked:
        while expand.goes_on:
            size += GROWTH_BYTES
            expand.kill("expand", volume.id, str(size))
            grown = stand.control.volumes.expand(volume.id, size)
            assert (grown.phase, grown.size_bytes, grown.target_size_bytes) == (Phase.READY, size, 0)
            assert int(checked.machine.succeed(["blockdev", "--getsize64", checked.device])) == size
            checked.wait_for_writes(20)
        stall = checked.collector.stall()
        stand.start_control()
        redundant = stand.wait_until_redundant(volume)
        verdict = checked.finish()
    print(f"killed {when}: expand at {expand.deaths} calls")
    assert expand.deaths >= 5, "three replicas, the array, and the record before and after"
    tell(f"expand-killed-{when}", verdict, stall, redundant)
    end(stand, volume, verdict)


def test_writes_wait_for_a_control_plane_that_is_dead(stand: Stand) -> None:
    volume = stand.create("waiting")
    with stand.writing(volume, "m1") as checked:
        stand.kill_control()
        checked.wait_for_writes(200)
        stand.machine("m3").crash()
        checked.wait_until_waiting()
        checked.assert_waiting(8.0)
        assert stand.state(volume, "m3") is ReplicaState.IN_SYNC
        stand.start_control()
        checked.wait_for_writes(200)
        assert stand.state(volume, "m3") is ReplicaState.STALE
        stand.revive(stand.machine("m3"))
        redundant = stand.wait_until_redundant(volume)
        stall, verdict = checked.collector.stall(), checked.finish()
    tell("control-killed-while-held", verdict, stall, redundant)
    end(stand, volume, verdict)


@pytest.mark.more
def test_writes_go_on_without_a_control_plane_when_the_link_is_back(stand: Stand) -> None:
    """They wait while a replica cannot be reached; nothing has to be decided once it can be."""
    volume = stand.create("patient")
    with stand.writing(volume, "m1") as checked:
        stand.kill_control()
        stand.machine("m3").cut()
        checked.wait_until_waiting()
        SystemClock().sleep(LONGER_THAN_KEEP_ALIVE)
        checked.assert_waiting(2.0)
        stand.machine("m3").heal()
        checked.wait_for_writes(200)
        assert stand.state(volume, "m3") is ReplicaState.IN_SYNC
        stand.start_control()
        redundant = stand.wait_until_redundant(volume)
        checked.wait_for_writes(200)
        stall, verdict = checked.collector.stall(), checked.finish()
    tell("link-back-without-control", verdict, stall, redundant)
    end(stand, volume, verdict)


class Sweep:
    """One operation, killed at the next call every time it is tried, until it takes no more calls."""

    def __init__(self, stand: Stand, when: str) -> None:
        self._stand = stand
        self._when = when
        self.deaths = 0
        self.goes_on = True

    def kill(self, *operation: str) -> None:
        """Afterwards a control plane has looked after what was left, and everything is sound."""
        if not self.goes_on:
            return
        assert self.deaths < MOST_CALLS
        self.goes_on = die(self._stand, self._when, self.deaths, *operation)
        self.deaths += self.goes_on
        where = f"{operation[0]} killed {self._when} call {self.deaths}"
        assert locks_are_free(self._stand), where
        recover(self._stand, where)


def die(stand: Stand, when: str, calls: int, *operation: str) -> bool:
    """Whether it was killed."""
    argv = [sys.executable, "-m", "tests.lab.dying", str(stand.site.state), when, str(calls), *operation]
    done = subprocess.run(argv, cwd=REPOSITORY, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode in (0, -9), done.stderr
    return done.returncode != 0


def recover(stand: Stand, where: str) -> None:
    """What `trilith control run` does, until nothing is left to do."""
    for _ in range(5):
        Reconciler(stand.control, SystemClock()).run_once()
        if _holds(stand.assert_sound):
            return
        SystemClock().sleep(1.0)
    print(where)
    stand.assert_sound()


def _holds(check: Callable[[], None]) -> bool:
    try:
        check()
    except AssertionError:
        return False
    return True


def locks_are_free(stand: Stand) -> bool:
    return all(_is_free(path) for path in (stand.site.state / "locks").iterdir())


def _is_free(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def check_and_write(stand: Stand, device: str, mark: str) -> str:
    """What was written at the last attachment is there; returns what is written now."""
    m1 = stand.machine("m1")
    read = m1.succeed(f"dd if={device} bs=4096 count=1 iflag=direct status=none | tr -d '\\0'")
    assert read == mark
    new = f"mark {SystemClock().now()}"
    m1.succeed(f"printf '{new}' | dd of={device} bs=4096 count=1 conv=sync oflag=direct status=none")
    return new
