"""Who is asked about whom, and what is made of the answers."""

import threading

import pytest

from csi.failover.deciding import Sighting
from csi.failover.lookout import PEERS_ASKED, REMEMBERED_SECONDS, Lookout, choose_watch, judge
from replication.control.control import build_control
from replication.control.store.memory import MemoryStore
from replication.errors import TrilithError, Unauthenticated, Unavailable, Unsupported
from replication.model import Node
from replication.peer import PeerState, PeerVerdict
from tests.fakes.clock import HandClock
from tests.fakes.node import FakeCluster

NAMES = ["a", "b", "c"]


class Stand:
    """Nodes that behave, and a look-out over them."""

    def __init__(self, names: list[str] = NAMES) -> None:
        self.fakes, self.clock = FakeCluster(names), HandClock()
        control = build_control(MemoryStore(self.fakes.name), self.fakes.connect, self.clock)
        self.fakes.add_to(control)
        self.lookout = Lookout(control.nodes, self.clock)


@pytest.fixture
def stand() -> Stand:
    return Stand()


def test_machines_that_are_well_hear_each_other(stand: Stand) -> None:
    others = {name: frozenset(NAMES) - {name} for name in NAMES}
    assert stand.lookout.look() == {
        name: Sighting(name, answers_us=True, heard_by=others[name]) for name in NAMES
    }


def test_a_silent_machine_is_missed_by_the_others_and_since_when(stand: Stand) -> None:
    stand.lookout.look()
    stand.fakes.node("a").silent = True
    assert stand.lookout.look()["a"] == Sighting("a", answers_us=False, missed_by=frozenset("bc"))
    stand.clock.sleep(7.0)
    assert stand.lookout.look()["a"].silent_seconds == 7.0
    stand.fakes.node("a").silent = False
    assert stand.lookout.look()["a"].silent_seconds == 0.0
    stand.fakes.node("a").silent = True
    assert stand.lookout.look()["a"].silent_seconds == 0.0


def test_nobody_knows_who_was_heard_while_nobody_looked(stand: Stand) -> None:
    stand.fakes.node("a").silent = True
    stand.lookout.look()
    stand.clock.sleep(REMEMBERED_SECONDS)
    assert stand.lookout.look()["a"].silent_seconds == REMEMBERED_SECONDS
    stand.clock.sleep(REMEMBERED_SECONDS + 1)
    assert stand.lookout.look()["a"].silent_seconds == 0.0


def test_who_may_lead_soon_has_counted_the_silence_when_it_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    """And whoever is in no such place asks nobody."""
    monkeypatch.setattr("csi.failover.lookout.PERIOD_SECONDS", 0.01)
    stand, stop = Stand(), threading.Event()
    stand.fakes.node("a").silent = True
    matters = iter([False, False, True])

    def find_whether() -> bool:
        found = next(matters)
        if found:
            stop.set()
        else:
            stand.fakes.node("b").calls.clear()
        return found

    stand.lookout.stand_by(stop, find_whether)
    assert stand.fakes.node("b").calls == ["probe"]
    stand.clock.sleep(6.0)
    assert stand.lookout.look()["a"].silent_seconds == 6.0


def test_peers_that_have_never_heard_it_have_no_say(stand: Stand) -> None:
    stand.fakes.node("b").deaf = True
    stand.lookout.look()
    stand.fakes.node("a").silent = True
    assert stand.lookout.look()["a"].missed_by == frozenset("c")


def test_in_a_small_cluster_an_agent_that_is_started_anew_misses_whom_it_had_heard(
    stand: Stand,
) -> None:
    """As in an upgrade: there is nobody else whose word would suffice."""
    stand.lookout.look()
    stand.fakes.node("a").silent = True
    stand.fakes.node("b").heard.clear()
    assert stand.lookout.look()["a"].missed_by == frozenset("bc")
    stand.fakes.node("a").silent = False
    assert stand.lookout.look()["a"].heard_by == frozenset("bc")


def test_neighbours_that_die_together_are_missed_by_machines_that_had_heard_each() -> None:
    """As when a zone is lost, after which machines are called. Who was never heard cannot be missed."""
    stand = Stand([f"z{number // 4}-{number % 4}" for number in range(12)])
    for _ in range(12):
        stand.lookout.look()
    for number in range(4):
        stand.fakes.node(f"z1-{number}").silent = True
    for _ in range(3):
        stand.lookout.look()
        seen = stand.lookout.look()
        for number in range(4):
            assert len(seen[f"z1-{number}"].missed_by) == PEERS_ASKED


@pytest.mark.parametrize("turn", [0, 1, 7])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 20])
def test_each_machine_is_looked_at_by_a_few_others_and_the_work_is_spread(count: int, turn: int) -> None:
    nodes = [Node(f"n{number:02}", f"n{number:02}:1", f"10.0.0.{number}") for number in range(count)]
    watch = choose_watch(nodes, frozenset(node.name for node in nodes), turn).peers
    wanted = min(PEERS_ASKED, count - 1)
    looked_at = [peer.name for peers in watch.values() for peer in peers]
    assert all(looked_at.count(node.name) == wanted for node in nodes)
    assert all(len(peers) == wanted for peers in watch.values())
    assert all(name not in {peer.name for peer in peers} for name, peers in watch.items())


def test_who_did_not_answer_is_not_relied_on_but_is_asked() -> None:
    nodes = [Node(name, f"{name}:1", name) for name in "abcdef"]
    watch = choose_watch(nodes, frozenset("bcdf")).peers
    assert set(watch) == set("abcdef")
    assert watch["a"] == watch["e"] == ()
    looked_at = [peer.name for peers in watch.values() for peer in peers]
    assert all(looked_at.count(name) == PEERS_ASKED for name in "abcdef")


@pytest.mark.parametrize(
    ("answer", "answers_us"),
    [
        ((), True),
        (Unsupported("does not know this call"), True),  # an agent that does not know the question
        (Unauthenticated("expired"), True),
        (Unavailable("silence"), False),
    ],
)
def test_an_agent_that_says_anything_is_alive(
    answer: tuple[PeerVerdict, ...] | TrilithError, answers_us: bool
) -> None:
    others = {"b": (PeerVerdict("a", PeerState.SILENT), PeerVerdict("c", PeerState.ANSWERS)), "c": ()}
    found = judge("a", {"a": answer, **others})
    assert found == Sighting("a", answers_us, missed_by=frozenset("b"))
