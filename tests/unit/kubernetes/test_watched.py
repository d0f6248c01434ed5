"""What is known of a resource follows the server, and never goes back."""

from collections.abc import Iterator

import pytest

from replication.clock import SystemClock, wait_until
from replication.errors import DataLoss, Unavailable
from replication.kubernetes.access import Json
from replication.kubernetes.client import Forgotten
from replication.kubernetes.watched import GIVE_UP_SECONDS, GONE_KEPT, STALE_SECONDS, Watched
from tests.fakes.clock import HandClock
from tests.unit.kubernetes.server import FakeServer, item


def parse(found: Json) -> str:
    if found["word"] == "damaged":
        raise DataLoss(f"{found['metadata']['name']} is damaged")
    return str(found["word"])


@pytest.fixture
def server() -> FakeServer:
    return FakeServer(item("a", 3, "one"), item("b", 5, "two"))


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def watched(server: FakeServer, clock: HandClock) -> Iterator[Watched[str]]:
    opened = Watched(server.as_client(), "/things", parse, clock)
    yield opened
    opened.close()


def words(watched: Watched[str]) -> list[str]:
    return [entry.get() for entry in watched.list()]


def wait_for(watched: Watched[str], wanted: list[str]) -> None:
    wait_until(lambda: words(watched) == wanted, str(wanted), timeout=30, clock=SystemClock())


def test_pages_and_events_become_one_list(server: FakeServer, watched: Watched[str]) -> None:
    assert words(watched) == ["one", "two"]
    assert watched.list() is watched.list()
    server.say("MODIFIED", item("a", 11, "changed"))
    server.say("ADDED", item("c", 12, "three"))
    server.say("DELETED", item("b", 13))
    wait_for(watched, ["changed", "three"])


def test_who_only_peeks_begins_it_and_does_not_wait(server: FakeServer, watched: Watched[str]) -> None:
    assert watched.peek("a") is None
    watched.begin()
    wait_until(lambda: watched.peek("a") is not None, "a", timeout=30, clock=SystemClock())
    server.say("MODIFIED", item("a", 11, "changed"))
    wait_until(lambda: peek(watched, "a") == "changed", "a changed", timeout=30, clock=SystemClock())
    assert server.lists == 1


def peek(watched: Watched[str], name: str) -> str | None:
    found = watched.peek(name)
    return None if found is None else found.get()


def test_the_next_watch_begins_where_the_last_one_ended(server: FakeServer, watched: Watched[str]) -> None:
    server.say("BOOKMARK", {"metadata": {"resourceVersion": "20"}})
    server.end_watch()
    server.say("ADDED", item("c", 21, "three"))
    wait_for(watched, ["one", "two", "three"])
    assert server.watched_from == ["10", "20"]


def test_what_the_server_has_forgotten_is_listed(server: FakeServer, watched: Watched[str]) -> None:
    assert words(watched) == ["one", "two"]
    server.items, server.version = [item("c", 30, "three")], 31
    server.say("ERROR", {"kind": "Status", "code": 410, "message": "too old"})
    wait_for(watched, ["three"])
    assert server.watched_from == ["10", "31"]


def test_a_list_is_not_taken_from_a_cache_which_may_be_older(
    server: FakeServer, watched: Watched[str]
) -> None:
    """It would be taken for a server that was restored, and all that is newer be dropped."""
    server.cached = [item("a", 2, "older")], 4
    assert words(watched) == ["one", "two"]
    server.items, server.version = [*server.items, item("c", 30, "three")], 31
    server.say("ERROR", {"kind": "Status", "code": 410, "message": "too old"})
    wait_for(watched, ["one", "two", "three"])
    assert server.watched_from == ["10", "31"]


def test_a_server_that_forgets_again_and_again_is_not_asked_all_the_time(
    server: FakeServer, watched: Watched[str]
) -> None:
    clock = SystemClock()
    began, server.trouble = clock.now(), Forgotten("too old")
    assert words(watched) == ["one", "two"]
    wait_until(lambda: server.lists >= 5, "listed five times", timeout=30, clock=clock)
    assert clock.now() - began >= 0.1 + 0.2 + 0.4 + 0.8


def test_what_a_server_refuses_to_go_on_from_is_listed_and_an_earlier_time_believed(
    server: FakeServer, watched: Watched[str], clock: HandClock
) -> None:
    """As after etcd was restored: until then no watch can go on, and every version is lower."""
    assert words(watched) == ["one", "two"]
    watched.put(item("c", 12, "of a time that never was"))
    server.say("MODIFIED", item("b", 14, "nor this"))
    wait_for(watched, ["one", "nor this", "of a time that never was"])
    server.items, server.version = [item("b", 2, "restored")], 4
    server.trouble = Unavailable("Too large resource version: 14, current: 4 (504)")
    server.end_watch()
    wait_until(lambda: watched._lost is not None, "it is noticed", timeout=30, clock=SystemClock())
    clock.sleep(GIVE_UP_SECONDS)
    wait_until(lambda: server.lists >= 2, "listed anew", timeout=30, clock=SystemClock())
    server.trouble = None
    wait_until(lambda: watched._lost is None, "it is watched", timeout=30, clock=SystemClock())
    wait_for(watched, ["restored"])


def test_deletions_of_ours_are_not_remembered_for_ever(server: FakeServer, watched: Watched[str]) -> None:
    assert words(watched) == ["one", "two"]
    for number in range(GONE_KEPT + 5):
        watched.drop(f"n{number}", f"uid-{number}")
    assert len(watched._gone) == GONE_KEPT
    server.say("ADDED", item("n9", 30, "late", uid=f"uid-{GONE_KEPT + 4}"))
    server.say("ADDED", item("c", 31, "three"))
    wait_for(watched, ["one", "two", "three"])


def test_our_own_change_is_known_at_once_and_not_undone_by_older_news(
    server: FakeServer, watched: Watched[str]
) -> None:
    assert words(watched) == ["one", "two"]
    watched.put(item("a", 15, "ours"))
    assert words(watched) == ["ours", "two"]
    server.say("MODIFIED", item("a", 12, "older"))
    server.say("ADDED", item("c", 16, "later"))
    wait_for(watched, ["ours", "two", "later"])


def test_what_we_deleted_does_not_come_back(server: FakeServer, watched: Watched[str]) -> None:
    assert words(watched) == ["one", "two"]
    watched.drop("a", "uid-a")
    assert words(watched) == ["two"]
    server.say("MODIFIED", item("a", 12, "older"))
    server.say("DELETED", item("a", 13))
    server.say("ADDED", item("a", 14, "another", uid="new"))
    wait_for(watched, ["another", "two"])


def test_a_list_that_is_older_than_our_own_change_does_not_undo_it(
    server: FakeServer, watched: Watched[str]
) -> None:
    assert words(watched) == ["one", "two"]
    watched.put(item("d", 40, "ours"))
    server.items, server.version = [item("a", 3, "one"), item("e", 35, "new")], 36
    server.say("ERROR", {"kind": "Status", "code": 410, "message": "too old"})
    wait_for(watched, ["one", "ours", "new"])


def test_a_damaged_object_spoils_no_other(server: FakeServer, watched: Watched[str]) -> None:
    server.say("MODIFIED", item("b", 11, "damaged"))
    wait_until(lambda: is_damaged(watched, "b"), "b is damaged", timeout=30, clock=SystemClock())
    found = watched.find("a")
    assert found is not None
    assert found.get() == "one"


def is_damaged(watched: Watched[str], name: str) -> bool:
    found = watched.find(name)
    return found is not None and isinstance(found.value, DataLoss)


def test_a_server_that_is_away_for_long_is_not_spoken_for(
    server: FakeServer, watched: Watched[str], clock: HandClock
) -> None:
    assert words(watched) == ["one", "two"]
    server.trouble = Unavailable("no answer")
    server.end_watch()
    wait_until(lambda: watched._lost is not None, "it is noticed", timeout=30, clock=SystemClock())
    assert words(watched) == ["one", "two"]
    clock.sleep(STALE_SECONDS)
    with pytest.raises(Unavailable, match="/things: not watched: no answer"):
        watched.list()
    server.trouble = None
    wait_until(lambda: watched._lost is None, "it is back", timeout=30, clock=SystemClock())
    assert words(watched) == ["one", "two"]


def test_nobody_is_told_of_what_changes_no_value(server: FakeServer) -> None:
    told: list[None] = []
    watched = Watched(server.as_client(), "/things", parse, HandClock(), tell=lambda: told.append(None))
    assert words(watched) == ["one", "two"]
    server.say("MODIFIED", item("a", 11, "one"))
    server.say("MODIFIED", item("a", 12, "changed"))
    server.say("DELETED", item("b", 13))
    wait_for(watched, ["changed"])
    watched.close()
    assert len(told) == 3  # the list, the change, the end


def test_values_of_specs_are_parsed_once_for_each_generation(server: FakeServer) -> None:
    parsed: list[int] = []

    def count(found: Json) -> str:
        parsed.append(int(found["metadata"]["resourceVersion"]))
        return parse(found)

    watched = Watched(server.as_client(), "/things", count, HandClock(), of_spec=True)
    assert words(watched) == ["one", "two"]
    for version, generation, word in ((11, 1, "one"), (12, 2, "changed"), (13, 2, "changed")):
        changed = item("a", version, word)
        changed["metadata"]["generation"] = generation
        server.say("MODIFIED", changed)
    again = item("a", 14, "another")
    again["metadata"].update(uid="made anew", generation=2)
    server.say("MODIFIED", again)
    wait_for(watched, ["another", "two"])
    watched.close()
    assert parsed == [3, 5, 11, 12, 14]
