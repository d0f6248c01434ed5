import pytest

from hack.bench.copies import count_chunks, parse_dd
from hack.bench.idle import (
    Used,
    choose_seconds,
    parse_busy_ticks,
    parse_locked_share,
    parse_mib,
    parse_own_mib,
    parse_ticks,
)
from hack.bench.observe import Losses
from hack.bench.orders import median_figure
from replication.model import ArrayReport, MemberHealth, MemberReport

STATUS = "Name:\ttrilith-agent\nVmLck:\t   65820 kB\nVmRSS:\t   66560 kB\n"


def test_memory_is_read_in_mib() -> None:
    assert parse_mib(STATUS, "VmRSS") == 65.0


def test_memory_that_is_not_told_is_an_error() -> None:
    with pytest.raises(ValueError, match="no VmHWM"):
        parse_mib(STATUS, "VmHWM")


def test_a_childs_own_memory_is_what_its_parent_has_not() -> None:
    rollup = "Rss:   9216 kB\nPrivate_Clean:   1024 kB\nPrivate_Dirty:   2048 kB\nShared_Dirty: 6144 kB\n"
    assert parse_own_mib(rollup) == 3.0


def test_processor_time_includes_children_and_survives_odd_names() -> None:
    stat = "77 (a) 1 2 (b)) S 1 77 77 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 9 0 500 1 2"
    assert parse_ticks(stat) == 127


def test_a_machine_is_busy_with_all_but_idling_and_waiting() -> None:
    assert parse_busy_ticks("cpu  10 1 20 4000 300 2 3 4 0 0\ncpu0 10 1 20\n") == 40


@pytest.mark.parametrize(("given", "seconds"), [(10.0, 2.0), (5.0, 1.0), (20.0, 2.0)])
def test_time_in_which_the_host_ran_something_else_is_not_the_agents(given: float, seconds: float) -> None:
    before, after = Used(agent=1, machine=100, host=50), Used(agent=3, machine=110, host=50 + given)
    assert choose_seconds(before, after) == seconds


def test_memory_counts_as_locked_where_it_is_locked_on_fault() -> None:
    smaps = "Rss: 90 kB\nVmFlags: rd lo lf sd\nRss: 6 kB\nVmFlags: rd lo\nRss: 4 kB\nVmFlags: rd ex\n"
    assert parse_locked_share(smaps.replace("Rss: ", "Rss:     ")) == 90


def test_a_figure_of_several_times_is_their_median() -> None:
    figure = median_figure("x", [9.0, 1.0, 2.0], 2.0)
    assert (figure.value, figure.met, figure.samples) == (2.0, True, (9.0, 1.0, 2.0))


def report(*healths: MemberHealth) -> ArrayReport:
    members = tuple(MemberReport(f"r{number}", health, "silent") for number, health in enumerate(healths))
    return ArrayReport("v1", 1, 1, members, resync_done=True)


def test_a_member_that_stays_lost_is_lost_once() -> None:
    losses = Losses()
    for _ in range(3):
        losses.take("m1", report(MemberHealth.GOOD, MemberHealth.LOST))
    assert losses.reasons() == ("node m1, volume v1, replica r1: silent",)


def test_a_member_that_is_lost_again_counts_again() -> None:
    losses = Losses()
    for health in (MemberHealth.LOST, MemberHealth.GOOD, MemberHealth.LOST, MemberHealth.DROPPED):
        losses.take("m1", report(health))
    assert len(losses.reasons()) == 2


def test_chunks_that_two_writes_touch_count_once() -> None:
    assert count_chunks([(0, 4096), (8192, 4096), (65536 - 512, 1024)], 65536) == 2


def test_the_rate_of_dd_is_what_it_says() -> None:
    said = "512+0 records in\n512+0 records out\n536870912 bytes (537 MB, 512 MiB) copied, 8.0 s, 67 MB/s\n"
    assert parse_dd(said) == 64 << 20


def test_a_dd_that_failed_has_no_rate() -> None:
    with pytest.raises(ValueError, match="cannot open"):
        parse_dd("dd: cannot open")
