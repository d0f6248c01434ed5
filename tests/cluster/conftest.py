"""One Kubernetes cluster for all of these tests, with Trilith in it: three machines, real kubelets.

Every test here is marked `kubelet`, needs root and Go, and finds no pod, no claim and no volume.
"""

import signal
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import pytest

from hack.kubernetes.cluster import KubernetesCluster, make_machines
from hack.kubernetes.site import DRIVER, DRIVER_OBJECT, ProcessSite, make_storage_class
from hack.lab import evidence, network
from hack.lab.cluster import Cluster as Machines
from hack.lab.errors import LabError
from replication.kubernetes.access import read_kubeconfig
from replication.kubernetes.client import Client
from tests.cluster.pods import Cluster

POOL = "nvme"
STORAGE_CLASS = f"trilith-{POOL}"

_machines = pytest.StashKey[Machines]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/cluster" in item.path.as_posix():
            item.add_marker(pytest.mark.kubelet)


def pytest_collection_finish(session: pytest.Session) -> None:
    """The network namespace comes before the first thread, and only when it will be needed."""
    if session.config.option.collectonly or not any(
        item.get_closest_marker("kubelet") for item in session.items
    ):
        return
    try:
        network.enter_private_network()
    except LabError as error:
        pytest.exit(f"cluster tests: {error}", returncode=4)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    machines = item.session.stash.get(_machines, None)
    if report.failed and machines is not None and item.get_closest_marker("kubelet"):
        report.sections.extend(evidence.collect(machines))
    return report


@pytest.fixture(scope="session")
def machines(request: pytest.FixtureRequest) -> Iterator[Machines]:
    with make_machines() as machines, keep_evidence(request.session, machines):
        yield machines


@contextmanager
def keep_evidence(session: pytest.Session, machines: Machines) -> Iterator[None]:
    """A test that fails shows what these machines have to say."""
    session.stash[_machines] = machines
    try:
        yield
    finally:
        del session.stash[_machines]


@pytest.fixture(scope="session")
def kubernetes(machines: Machines) -> Iterator[KubernetesCluster]:
    with KubernetesCluster(machines) as running:
        yield running


@pytest.fixture(scope="session")
def site(kubernetes: KubernetesCluster) -> Iterator[ProcessSite]:
    with ProcessSite(kubernetes, POOL) as site:
        kubernetes.kubectl.apply(DRIVER_OBJECT, make_storage_class(POOL))
        yield site


@pytest.fixture
def cluster(site: ProcessSite) -> Iterator[Cluster]:
    kubernetes = site.kubernetes
    client = Client(read_kubeconfig(kubernetes.plane.admin_kubeconfig))
    cluster = Cluster(client, kubernetes.kubectl)
    cluster.wait(
        lambda: all(has_plugin(node) for node in cluster.list("csinodes")), "the plugin on all nodes"
    )
    yield cluster
    cluster.clean()
    client.close()


def has_plugin(node: dict[str, dict[str, list[dict[str, str]]]]) -> bool:
    return any(driver["name"] == DRIVER for driver in node["spec"].get("drivers") or [])
