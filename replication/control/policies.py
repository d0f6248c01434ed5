"""What holds for each pool, read from the store."""

from replication.control.settings import CLUSTER, Policy, choose_policy
from replication.control.store.base import Store


def read_policies(store: Store) -> dict[str, Policy]:
    cluster = store.get_settings(CLUSTER)
    pools = (pool.name for pool in store.list_pools())
    return {pool: choose_policy(cluster, store.get_settings(pool)) for pool in pools}
