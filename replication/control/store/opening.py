"""Which store a control plane has."""

from enum import StrEnum
from pathlib import Path

from replication.clock import Clock
from replication.control.store.base import Store
from replication.control.store.sqlite import SqliteStore


class StoreKind(StrEnum):
    """Where records are kept."""

    SQLITE = "sqlite"  # in the state folder
    KUBERNETES = "kubernetes"  # in the API server of $KUBECONFIG, or else of the pod that this runs in


def open_store(kind: StoreKind, state_dir: Path, cluster: str, clock: Clock) -> Store:
    """Of `cluster`. FailedPrecondition when the records there are another's."""
    if kind is StoreKind.SQLITE:
        return SqliteStore(state_dir, cluster, clock)
    from replication.control.store.kubernetes import KubernetesStore  # noqa: PLC0415 (needed here only)
    from replication.kubernetes.access import find_access, find_namespace  # noqa: PLC0415
    from replication.kubernetes.client import Client  # noqa: PLC0415

    return KubernetesStore(Client(find_access()), cluster, clock, find_namespace())
