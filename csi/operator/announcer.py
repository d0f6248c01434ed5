"""Events about what users wrote: `kubectl describe` shows them. One for each thing that is new."""

import logging
import socket
from uuid import uuid4

from csi.operator.conditions import Condition, find_condition, to_time
from csi.operator.resources import VERSION, StoragePool
from replication.clock import Clock
from replication.errors import TrilithError
from replication.kubernetes.client import Client

LONGEST = 1024

logger = logging.getLogger(__name__)


class Announcer:
    """Events are written at once: they are few. One that the server does not take is in the log."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._told: dict[tuple[str, str], Condition] = {}

    def tell(self, pool: StoragePool, condition: Condition) -> None:
        """Unless that was said of it before."""
        key, said = (pool.uid, condition.type), find_condition(pool.status, condition.type)
        told = self._told.get(key)
        same = (told.status, told.reason) if told else (said.get("status"), said.get("reason"))
        self._told[key] = condition
        if same != (condition.status, condition.reason):
            self._write(pool, condition)

    def _write(self, pool: StoragePool, condition: Condition) -> None:
        logger.info("pool %s: %s: %s", pool.name, condition.reason, condition.message)
        now = to_time(self._clock.wall())
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{pool.name}.{uuid4().hex[:16]}"},
            "involvedObject": {
                "apiVersion": VERSION,
                "kind": "StoragePool",
                "namespace": pool.namespace,
                "name": pool.name,
                "uid": pool.uid,
            },
            "type": "Normal" if condition.met else "Warning",
            "reason": condition.reason,
            "message": condition.message[:LONGEST],
            "source": {"component": "trilith"},
            "reportingComponent": "trilith",
            "reportingInstance": socket.gethostname(),
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            self._client.create(f"/api/v1/namespaces/{pool.namespace}/events", event)
        except TrilithError as error:
            logger.warning("event not kept: %s", error)
