"""How a cluster keeps itself healthy: what people can set, for all of it and for each pool. Pure."""

from dataclasses import dataclass, fields
from typing import Any

from replication.errors import InvalidRequest
from replication.model import Volume
from replication.tuning import WRITE_LATENCY_BOUND

MINIMUM = "minInSyncReplicas"  # key in a volume's parameters
CLUSTER = ""  # name of the settings of the whole cluster; a pool's have its name


@dataclass(frozen=True, slots=True)
class Settings:
    """What was set for one pool, or for the cluster. None: not set here."""

    name: str = CLUSTER
    replacement_delay: float | None = None
    rebuilds_per_node: int | None = None
    rebuild_bandwidth: int | None = None
    write_latency_bound: float | None = None
    min_in_sync_replicas: int | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds for a pool."""

    replacement_delay: float = 600.0  # seconds that a replica may be away before another is made elsewhere
    rebuilds_per_node: int = 2  # copies under way at once that read from a node or write to it
    rebuild_bandwidth: int = 0  # bytes a second that one copy may take; 0: no bound
    write_latency_bound: float = WRITE_LATENCY_BOUND  # seconds; a slower remote replica is lost; 0: never
    min_in_sync_replicas: int = 1  # writes wait rather than be on fewer


DEFAULTS = Policy()
_LOWEST = {
    "replacement_delay": 0.0,
    "rebuilds_per_node": 1,
    "rebuild_bandwidth": 0,
    "write_latency_bound": 0.0,
    "min_in_sync_replicas": 1,
}


def choose_policy(cluster: Settings, pool: Settings) -> Policy:
    """The pool's word, else the cluster's, else the default."""

    def said(name: str) -> Any:  # noqa: ANN401 - each setting has a type of its own
        words = (getattr(level, name) for level in (pool, cluster, DEFAULTS))
        return next(word for word in words if word is not None)

    return Policy(**{field.name: said(field.name) for field in fields(Policy)})


def check_settings(settings: Settings) -> Settings:
    """InvalidRequest names the value that makes no sense."""
    for name, lowest in _LOWEST.items():
        value = getattr(settings, name)
        if value is not None and not value >= lowest:
            raise InvalidRequest(f"{name} {value}: at least {lowest:g}")
    return settings


def find_minimum(volume: Volume, policy: Policy) -> int:
    """What was asked for when it was made, else what holds for its pool."""
    asked = dict(volume.parameters).get(MINIMUM)
    return min(int(asked) if asked else policy.min_in_sync_replicas, volume.replica_count)
