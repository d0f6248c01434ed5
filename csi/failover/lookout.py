"""Rounds of questions: who answers us, and whom the peers hear."""

import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from csi.failover.deciding import Sighting
from replication.clock import Clock
from replication.control.nodes import Nodes
from replication.control.parallel import ask_most
from replication.errors import TrilithError, Unavailable
from replication.model import Node
from replication.peer import Peer, PeerState, PeerVerdict

PERIOD_SECONDS = 1.5  # between two rounds
ROUND_SECONDS, REST_SECONDS = 4.0, 2.5  # that a round may take, and when most have answered
"""Longer than an agent waits for its peers. Who answers later is not silent as long as a peer hears it."""
REMEMBERED_SECONDS = 10.0  # without a round; then nobody knows who was heard meanwhile
PEERS_ASKED = 3  # about each node

Answers = Mapping[str, tuple[PeerVerdict, ...] | TrilithError]


@dataclass(frozen=True, slots=True)
class Watch:
    """Who is to be asked about whom: by asker."""

    peers: Mapping[str, tuple[Peer, ...]]


class Lookout:
    """Knows since when each node is silent, as long as it runs."""

    def __init__(self, nodes: Nodes, clock: Clock) -> None:
        self._nodes = nodes
        self._clock = clock
        self._answering: frozenset[str] | None = None  # in the last round; None: there was none
        self._silent_since: dict[str, float] = {}
        self._looked = clock.now()
        self._turn = 0
        self._heard: set[tuple[str, Peer]] = set()  # asker and peer
        self._looking = threading.Lock()

    def stand_by(self, stop: threading.Event, matters: Callable[[], bool]) -> None:
        """Look round while it `matters` to whoever may lead soon: silence counts from before he leads."""
        while not stop.wait(PERIOD_SECONDS):
            if matters():
                with suppress(TrilithError):
                    self.look()

    def look(self) -> dict[str, Sighting]:
        """One round, by node."""
        with self._looking:
            if self._clock.now() - self._looked > REMEMBERED_SECONDS:
                self._silent_since.clear()
            try:
                return self._look()
            finally:
                self._looked = self._clock.now()

    def _look(self) -> dict[str, Sighting]:
        nodes = self._nodes.list()
        names = frozenset(node.name for node in nodes)
        watch = choose_watch(nodes, names if self._answering is None else self._answering, self._turn)
        self._turn += 1
        calls = {name: partial(self._probe, name, peers) for name, peers in watch.peers.items()}
        now = self._clock.now()
        answers = self._recall(watch, ask_most(calls, ROUND_SECONDS, REST_SECONDS))
        self._answering = frozenset(name for name in names if is_answer(answers[name]))
        return {name: self._sight(name, answers, now) for name in names}

    def _probe(self, name: str, peers: tuple[Peer, ...]) -> tuple[PeerVerdict, ...]:
        return self._nodes.to(name).probe(peers)

    def _recall(self, watch: Watch, answers: Answers) -> Answers:
        """With whom agents had heard before they were started anew, where there are no others to be asked."""
        if len(answers) > PEERS_ASKED + 1:
            return answers
        return {asker: self._recall_of(asker, watch.peers[asker], said) for asker, said in answers.items()}

    def _recall_of(
        self, asker: str, peers: tuple[Peer, ...], said: tuple[PeerVerdict, ...] | TrilithError
    ) -> tuple[PeerVerdict, ...] | TrilithError:
        if isinstance(said, TrilithError):
            return said
        states = {verdict.name: verdict.state for verdict in said}
        self._heard |= {(asker, peer) for peer in peers if states.get(peer.name) is PeerState.ANSWERS}
        missed = {peer.name for peer in peers if (asker, peer) in self._heard}
        return tuple(
            PeerVerdict(name, PeerState.SILENT if state is PeerState.UNKNOWN and name in missed else state)
            for name, state in states.items()
        )

    def _sight(self, name: str, answers: Answers, began: float) -> Sighting:
        seen = judge(name, answers)
        if not seen.silent:
            self._silent_since.pop(name, None)
            return seen
        since = self._silent_since.setdefault(name, began)
        silent_seconds = self._clock.now() - since
        return Sighting(name, seen.answers_us, seen.heard_by, seen.missed_by, silent_seconds)


def choose_watch(nodes: Iterable[Node], answering: frozenset[str], turn: int = 0) -> Watch:
    """About each node, a few that answered last time; all are asked something.

    In each turn others, so that before long everybody has heard everybody: neighbours may die together, and
    who is asked about them then has to have heard them before.
    """
    ring = sorted(nodes, key=lambda node: node.name)
    askers = [index for index, node in enumerate(ring) if node.name in answering]
    peers: dict[str, list[Peer]] = {node.name: [] for node in ring}
    for index, node in enumerate(ring):
        for asker in _find_askers(askers, index, turn):
            peers[ring[asker].name].append(Peer(node.name, node.address, node.data_address))
    return Watch({name: tuple(found) for name, found in peers.items()})


def _find_askers(askers: list[int], index: int, turn: int) -> list[int]:
    """In a ring from `index` on, which is no asker of its own."""
    start = bisect_right(askers, index)
    others = len(askers) - (start > 0 and askers[start - 1] == index)
    steps = ((turn * PEERS_ASKED + number) % others for number in range(min(PEERS_ASKED, others)))
    return [askers[(start + step) % len(askers)] for step in steps]


def judge(name: str, answers: Answers) -> Sighting:
    """An agent that refuses to say, or does not know the question, is alive all the same."""
    said = [
        (asker, verdict.state)
        for asker, found in answers.items()
        if not isinstance(found, TrilithError)
        for verdict in found
        if verdict.name == name
    ]
    return Sighting(
        name,
        answers_us=is_answer(answers[name]),
        heard_by=frozenset(asker for asker, state in said if state is PeerState.ANSWERS),
        missed_by=frozenset(asker for asker, state in said if state is PeerState.SILENT),
    )


def is_answer(found: object) -> bool:
    return not isinstance(found, Unavailable)
