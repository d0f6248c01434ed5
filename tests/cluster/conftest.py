"""One Kubernetes cluster for all of these tests: three machines, real kubelets, Trilith as users install it.

Every test here is marked `kubelet`, needs root and Go, and finds a pool and no pod, no claim and no volume.
"""

import signal
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hack.bench.figures import Board, Figure, Goal
from hack.helm.chart import NAMESPACE
from hack.kubernetes.cluster import KubernetesCluster, make_machines
from hack.kubernetes.documented import README, get_command, get_manifest
from hack.kubernetes.installation import Installation, archives
from hack.lab import evidence, network
from hack.lab.cluster import Cluster as Machines
from hack.lab.errors import LabError
from replication.clock import SystemClock
from replication.kubernetes.access import read_kubeconfig
from replication.kubernetes.client import Client
from tests.cluster.pods import POOL, Cluster, is_so
from tests.kubernetes.last import put_last

CLOCK = SystemClock()
FOLDER = Path(__file__).parent
LATE = ("test_joining.py", "test_replacing.py", "test_uninstall.py")
"""In this order, after all others: nodes come, go and have new names, and in the end nothing is left."""
_machines = pytest.StashKey[Machines]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(FOLDER):
            item.add_marker(pytest.mark.kubelet)
    items.sort(key=lambda item: LATE.index(item.path.name) if item.path.name in LATE else -1)
    put_last(config, items, FOLDER / "test_sidecar_rules.py")


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
def installation(request: pytest.FixtureRequest) -> Iterator[Installation]:
    """The chart, with the image of deploy/Dockerfile in the nodes' containerd."""
    with (
        make_machines(*archives()) as machines,
        keep_evidence(request.session, machines),
        KubernetesCluster(machines) as kubernetes,
    ):
        installation = Installation(kubernetes)
        installation.install()
        yield installation


@contextmanager
def keep_evidence(session: pytest.Session, machines: Machines) -> Iterator[None]:
    """A test that fails shows what these machines have to say."""
    session.stash[_machines] = machines
    try:
        yield
    finally:
        del session.stash[_machines]


@pytest.fixture(scope="session")
def whole(installation: Installation) -> Iterator[Cluster]:
    """With a pool of which volumes can be made."""
    kubernetes = installation.kubernetes
    client = Client(read_kubeconfig(kubernetes.plane.admin_kubeconfig))
    cluster = Cluster(client, kubernetes.kubectl, kubernetes.machines)
    began = CLOCK.now()
    cluster.kubectl.run(*get_command(README, "kubectl label")[1:])
    cluster.apply(get_manifest(README, "StoragePool"))
    cluster.wait(lambda: is_pool_ready(cluster), "the pool ready")
    Board("pool").add(Figure("storagepool-made-to-ready", CLOCK.now() - began, "s", Goal("<=", 20.0)))
    yield cluster
    client.close()


@pytest.fixture
def cluster(whole: Cluster) -> Iterator[Cluster]:
    yield whole
    whole.clean()


def is_pool_ready(cluster: Cluster) -> bool:
    found = cluster.kubectl.find("storagepools", POOL, "--namespace", NAMESPACE)
    return found is not None and is_so(found, "Ready")
