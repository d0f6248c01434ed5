"""One look at the whole cluster: what repairs that concern everything are planned from."""

from dataclasses import dataclass

from replication.clock import Clock
from replication.control.cordons import Cordon, open_facts
from replication.control.executor import Executor
from replication.control.policies import read_policies
from replication.control.settings import Policy
from replication.control.store.base import Store
from replication.model import NodeFacts, Volume

DESCRIBE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Survey:
    """`facts` of the nodes that answered; they are older than the records, which come before deeds."""

    nodes: frozenset[str]
    facts: dict[str, NodeFacts]
    volumes: dict[str, Volume]
    cordons: tuple[Cordon, ...]
    policies: dict[str, Policy]  # by pool
    time: float  # on the clock that does not jump

    @property
    def places(self) -> dict[str, NodeFacts]:
        """Where new replicas may go."""
        return open_facts(self.facts, self.cordons)


def take_survey(store: Store, executor: Executor, clock: Clock) -> Survey:
    """Facts first, then records."""
    nodes = frozenset(node.name for node in store.list_nodes())
    answers = executor.describe(nodes, DESCRIBE_SECONDS)
    facts = {name: found for name, found in answers.items() if isinstance(found, NodeFacts)}
    volumes = {found.volume.id: found.volume for found in store.list_volumes()}
    return Survey(nodes, facts, volumes, store.list_cordons(), read_policies(store), clock.now())
