import threading
from dataclasses import replace

from replication.agent.reports import Listener, Reports
from replication.model import ArrayReport, MemberHealth, MemberReport

GOOD = ArrayReport("v1", 1, 1, (MemberReport("r0", MemberHealth.GOOD),), resync_done=True)
LOST = replace(GOOD, members=(MemberReport("r0", MemberHealth.LOST, "silent"),))


def test_a_new_listener_hears_of_every_array_at_once() -> None:
    reports = Reports()
    reports.publish(GOOD)
    reports.publish(replace(GOOD, volume_id="v2"))
    listener = reports.listen()
    assert {next(listener).volume_id, next(listener).volume_id} == {"v1", "v2"}


def test_what_only_counts_on_is_no_news() -> None:
    reports = Reports()
    reports.publish(GOOD)
    listener = reports.listen()
    next(listener)
    reports.publish(replace(GOOD, sequence=2, held_seconds=1.0))
    lost = replace(LOST, sequence=3)
    reports.publish(lost)
    assert next(listener) == lost


def test_an_array_in_trouble_is_told_of_again_and_again() -> None:
    reports = Reports()
    reports.publish(LOST)
    listener = reports.listen()
    assert [next(listener), next(listener)] == [LOST, LOST]


def test_a_look_that_began_earlier_and_ends_later_is_no_news() -> None:
    reports = Reports()
    assert reports.publish(replace(LOST, sequence=2))
    assert not reports.publish(replace(GOOD, sequence=1))
    assert reports.list_all() == (replace(LOST, sequence=2),)


def test_a_forgotten_array_is_not_told_of() -> None:
    reports = Reports()
    reports.publish(GOOD)
    reports.forget("v1")
    assert reports.list_all() == ()


def test_closing_ends_a_listener_that_waits_in_another_thread() -> None:
    listener = Reports().listen()
    heard: list[ArrayReport] = []
    thread = threading.Thread(target=lambda: heard.extend(take_all(listener)))
    thread.start()
    listener.close()
    thread.join(5)
    assert not thread.is_alive()
    assert heard == []


def take_all(listener: Listener) -> list[ArrayReport]:
    return list(listener)
