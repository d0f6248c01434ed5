"""Before a process raises a volume's epoch for the first time: the record is not older than its disks.

A header refuses epochs below its own. A record that was restored from a backup may be about to begin the very
epoch that its disks have been in since, and would not be refused.
"""

from replication.clock import Clock
from replication.control.executor import PREPARE_SECONDS, Executor
from replication.control.restored import find_newer
from replication.errors import DataLoss
from replication.model import NodeFacts, Volume


class FirstLook:
    """Stores are restored before a process begins: it looks once at each volume that is older than itself."""

    def __init__(self, executor: Executor, clock: Clock) -> None:
        self._executor = executor
        self._began = clock.wall()
        self._seen: set[str] = set()

    def require_recent(self, volume: Volume) -> None:
        """DataLoss where a replica has seen a later epoch. Who does not answer now will not start either."""
        if volume.id in self._seen or volume.created >= self._began:
            return
        answers = self._executor.describe({r.node for r in volume.replicas}, PREPARE_SECONDS)
        facts = {node: found for node, found in answers.items() if isinstance(found, NodeFacts)}
        newer = find_newer(volume, facts)
        if newer:
            raise DataLoss(
                f"the record of volume {volume.name} (epoch {volume.epoch}) is older than its disks, "
                f"was the state store restored? {newer}"
            )
        if facts.keys() == answers.keys():
            self._seen.add(volume.id)
