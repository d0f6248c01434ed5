"""The rules that keep udev off our devices: written where udev is, whole, and never in the way."""

import logging
import os
from fnmatch import fnmatch
from pathlib import Path

import pytest

from replication.agent.discovery import group_name
from replication.agent.names import ExportName, HoldName, logical_volume_name
from replication.agent.udev import BUSY_SECONDS, UNREAD_SECONDS, Patterns, format_rules, quieten_udev
from replication.clock import SystemClock
from replication.kernel import md_state
from replication.kernel.disks import FoundDisk
from tests.fakes.clock import HandClock

RULES = "rules.d/57-trilith.rules"


@pytest.fixture
def running(tmp_path: Path) -> Path:
    (tmp_path / "control").touch()
    return tmp_path


@pytest.fixture
def clock() -> HandClock:
    return HandClock(SystemClock().wall())


def test_rules_are_written_where_udev_is_and_waited_for_once(running: Path, clock: HandClock) -> None:
    started = clock.now()
    quieten_udev(clock, running)
    quieten_udev(clock, running)
    assert (running / RULES).read_text() == format_rules(Patterns())
    assert [each.name for each in (running / "rules.d").iterdir()] == ["57-trilith.rules"]
    assert clock.now() - started == pytest.approx(UNREAD_SECONDS, abs=1.0)


def test_rules_of_an_agent_that_was_killed_while_it_waited_are_waited_for(
    running: Path, clock: HandClock
) -> None:
    quieten_udev(HandClock(clock.now()), running)
    started = clock.now()
    quieten_udev(clock, running)
    assert clock.now() - started == pytest.approx(UNREAD_SECONDS, abs=1.0)


def test_rules_of_an_earlier_release_are_replaced_and_waited_for(running: Path, clock: HandClock) -> None:
    quieten_udev(HandClock(clock.now()), running, Patterns("md_old*"))
    os.utime(running / RULES, (0, 0))
    started = clock.now()
    quieten_udev(clock, running)
    assert (running / RULES).read_text() == format_rules(Patterns())
    assert clock.now() - started == pytest.approx(UNREAD_SECONDS, abs=1.0)


class Events(HandClock):
    """The file by which udev says that it is at events is there until then."""

    def __init__(self, queue: Path, until: float) -> None:
        super().__init__(SystemClock().wall())
        self.queue, self.until = queue, self.now() + until
        queue.touch()

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        if self.now() >= self.until:
            self.queue.unlink(missing_ok=True)


def test_events_of_before_the_rules_are_waited_for(running: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = Events(running / "queue", until=10)
    started = clock.now()
    quieten_udev(clock, running)
    assert clock.now() - started == pytest.approx(10, abs=1.0)
    assert caplog.text == ""


def test_a_udev_that_is_always_at_events_is_waited_for_so_long_and_told_of(
    running: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Events(running / "queue", until=1000)
    started = clock.now()
    quieten_udev(clock, running)
    assert clock.now() - started == pytest.approx(UNREAD_SECONDS + BUSY_SECONDS, abs=1.0)
    assert "udev may use what lies on volumes: the end of udev's events" in caplog.text


def test_events_that_are_begun_by_our_rules_are_nobodys_concern(running: Path) -> None:
    quieten_udev(HandClock(SystemClock().wall()), running)
    os.utime(running / RULES, (0, 0))
    clock = Events(running / "queue", until=1000)
    started = clock.now()
    quieten_udev(clock, running)
    assert clock.now() == started


@pytest.mark.parametrize("folder", ["", "udev"])
def test_nothing_is_made_where_there_is_no_udev(tmp_path: Path, folder: str) -> None:
    quieten_udev(HandClock(), tmp_path / folder)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_told(running: Path, caplog: pytest.LogCaptureFixture) -> None:
    (running / "rules.d").write_text("")
    with caplog.at_level(logging.WARNING):
        quieten_udev(HandClock(), running)
    assert "udev may use what lies on volumes" in caplog.text


def test_what_we_make_is_matched_by_its_name_and_what_others_make_is_not() -> None:
    ours = Patterns()
    disk = FoundDisk("/dev/nvme0n1", "nvme0n1", "s1", "m", 1, "nvme", False, True, "")
    assert fnmatch(md_state.device_of("v1f").removeprefix("/dev/"), ours.arrays)
    assert fnmatch(str(HoldName("v1f", "r0", 1)), ours.mapped)
    assert fnmatch(f"{group_name(disk)}-{logical_volume_name('v1f', 'r0')}", ours.mapped)
    assert fnmatch(str(ExportName("v1f", "r0", 1, 2, "b")), ours.subsystems)
    assert not any(fnmatch(name, ours.arrays) for name in ("md0", "md127", "md_data"))
    assert not any(fnmatch(name, ours.mapped) for name in ("vg-lv", "mpatha"))


def test_every_kind_of_device_is_named() -> None:
    rules = format_rules(Patterns("md_a*", "b*", "nqn.c:*"))
    assert 'KERNEL=="md_a*", GOTO="trilith_ours"' in rules
    assert 'ATTR{dm/name}=="b*", GOTO="trilith_ours"' in rules
    assert 'ATTRS{subsysnqn}=="nqn.c:*", GOTO="trilith_ours"' in rules
