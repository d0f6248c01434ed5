"""Before a process raises a volume's epoch for the first time: the record is not older than its disks.

A header refuses epochs below its own. A record that was restored from a backup may be about to begin the very
epoch that its disks have been in since, and would not be refused.
"""

from collections.abc import Mapping

from replication.clock import Clock
from replication.control.executor import Executor
from replication.control.parallel import Waits
from replication.control.restored import find_newer, find_outgrown
from replication.errors import DataLoss
from replication.model import NodeFacts, Volume

LOOK = Waits(until_enough=6.0, alive=6.0, unknown=2.0, sign=1.0)
"""Longer than a node may take to say what it has: who is only slow will start."""


class FirstLook:
    """Stores are restored before a process begins: it looks once at each volume that is older than itself."""

    def __init__(self, executor: Executor, clock: Clock) -> None:
        self._executor = executor
        self._began = clock.wall()
        self._seen: frozenset[str] = frozenset()

    def learn(self, facts: Mapping[str, NodeFacts], volumes: Mapping[str, Volume]) -> None:
        """From a look at the whole cluster, so that no operation has to wait for one of its own."""
        if volumes.keys() <= self._seen:
            return
        newer = find_outgrown(volumes, facts)
        whole = (v.id for v in volumes.values() if all(r.node in facts for r in v.replicas))
        self._seen = (self._seen & volumes.keys()).union(found for found in whole if found not in newer)

    def require_recent(self, volume: Volume, silent: str | None = None) -> None:
        """DataLoss where a replica has seen a later epoch. Who gives no sign now will not start either.

        `silent` is a node that is known not to answer.
        """
        if volume.id in self._seen or volume.created >= self._began:
            return
        answers = self._executor.describe_patiently({r.node for r in volume.replicas} - {silent}, LOOK)
        facts = {node: found for node, found in answers.items() if isinstance(found, NodeFacts)}
        newer = find_newer(volume, facts)
        if newer:
            raise DataLoss(
                f"the record of volume {volume.name} (epoch {volume.epoch}) is older than its disks, "
                f"was the state store restored? {newer}"
            )
        if facts:
            self._seen |= {volume.id}
