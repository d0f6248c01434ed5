"""What nodes have said lately. An agent that is too busy to answer is not a lost disk."""

from collections.abc import Mapping

from replication.clock import Clock
from replication.errors import TrilithError
from replication.model import NodeFacts

LATELY_SECONDS = 20.0


class Hearing:
    """Of one term as leader."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heard: dict[str, tuple[float, NodeFacts]] = {}

    def recall(self, answers: Mapping[str, NodeFacts | TrilithError | None]) -> dict[str, NodeFacts]:
        """By node: what it says now, or has said lately. Others than those of `answers` are forgotten."""
        now = self._clock.now()
        heard = {node: (now, said) for node, said in answers.items() if isinstance(said, NodeFacts)}
        known = {node: said for node, said in self._heard.items() if node in answers} | heard
        self._heard = {node: each for node, each in known.items() if now - each[0] < LATELY_SECONDS}
        return {node: said for node, (_, said) in self._heard.items()}
