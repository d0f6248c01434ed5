"""A control plane for all tests, and stores in it, as the account that is installed with Trilith."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hack.helm.chart import list_rules
from hack.kubernetes.manifests import apply_documents
from hack.kubernetes.plane import ControlPlane
from replication.clock import SystemClock
from replication.control.store.kubernetes import KubernetesStore
from replication.kubernetes.access import read_kubeconfig
from replication.kubernetes.client import Client
from tests.kubernetes.audit import write_policy
from tests.kubernetes.last import put_last
from tests.kubernetes.patience import patiently
from tests.kubernetes.remains import remove_everything

NAMESPACE = "trilith"
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:trilith-control"
LOCK_SECONDS = 3.0
OpenStore = Callable[..., KubernetesStore]

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(FOLDER):
            item.add_marker(pytest.mark.kubernetes)
    put_last(config, items, FOLDER / "test_rules.py")


@pytest.fixture(scope="session")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the API server writes what it was asked by our accounts."""
    return tmp_path_factory.mktemp("audit")


@pytest.fixture(scope="session")
def plane(audit: Path) -> Iterator[ControlPlane]:
    with ControlPlane(options=write_policy(audit, NAMESPACE)) as running:
        client = Client(read_kubeconfig(running.admin_kubeconfig))
        apply_documents(client, list_rules())
        client.close()
        yield running


@pytest.fixture
def admin(plane: ControlPlane) -> Iterator[Client]:
    """Who may do everything; what a test leaves is removed."""
    client = Client(read_kubeconfig(plane.admin_kubeconfig))
    yield client
    patiently(lambda: remove_everything(client, NAMESPACE))
    client.close()


@pytest.fixture
def open_store(plane: ControlPlane, admin: Client) -> Iterator[OpenStore]:  # noqa: ARG001 (it cleans up)
    """A store with a connection of its own, as another controller has; `server` when it goes another way."""
    opened = []

    def open_one(
        server: str | None = None, answer_seconds: float = 10.0, cluster: str = "cluster"
    ) -> KubernetesStore:
        access = read_kubeconfig(plane.kubeconfig(ACCOUNT, server=server))
        client = Client(access, answer_seconds)
        opened.append(KubernetesStore(client, cluster, SystemClock(), NAMESPACE, LOCK_SECONDS))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: OpenStore) -> KubernetesStore:
    return open_store()
