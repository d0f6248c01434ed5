"""Lab tests: machines for the tests that ask for them; when a test fails, their consoles and all logs.

A test gets the machines its `cluster` marker describes (on itself, its class or its module), with the
arguments of `hack.lab.cluster.Cluster`. Tests with the same wish share them, one after the other, when they
are of one module or want the same on those machines: `stand` or `site`. Each finds all machines running and
all cables in, with what the earlier ones left on the disks. `fresh=True` asks for new ones, and a failed
test's are not used again.

`stand` and `site` are Trilith on those machines, made once for them: tests/lab/stand.py, hack/lab/site.py.
"""

import contextlib
import inspect
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from hack.lab import evidence
from hack.lab.cluster import Cluster
from hack.lab.errors import LabError
from hack.lab.network import enter_private_network
from hack.lab.site import Site
from tests.lab.stand import POOL, Stand
from tests.lab.stories.told import find_told

FOLDER = Path(__file__).parent
_failed = pytest.StashKey[bool]()

T = TypeVar("T")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that share machines come one after the other, where the first of them is."""
    places = [place for place, item in enumerate(items) if item.path.is_relative_to(FOLDER)]
    ours = [items[place] for place in places]
    first = {key: place for place, key in reversed(list(enumerate(map(shared_by, ours))))}
    for place, item in zip(places, sorted(ours, key=lambda item: first[shared_by(item)]), strict=True):
        items[place] = item


def list_wishes(item: pytest.Item) -> dict[str, Any]:
    """Of the closest `cluster` marker."""
    marker = item.get_closest_marker("cluster")
    return dict(marker.kwargs) if marker else {}


def shared_by(item: pytest.Item) -> str:
    """Equal for those that may have the same machines."""
    wanted = {"stand", "site"}.intersection(getattr(item, "fixturenames", ()))
    wishes = {name: wish for name, wish in list_wishes(item).items() if name != "fresh"}
    machines = inspect.signature(Cluster).bind(**wishes)
    machines.apply_defaults()
    return f"{sorted(wanted) or item.path} {machines}"


def pytest_collection_finish(session: pytest.Session) -> None:
    """The network namespace has to come before the first thread, and only when a lab test will run.

    Whoever ends the run with a signal finds nothing left of it.
    """
    if session.config.option.collectonly or not any(item.get_closest_marker("lab") for item in session.items):
        return
    try:
        enter_private_network()
    except LabError as error:
        pytest.exit(f"lab tests: {error}", returncode=4)
    for number in (signal.SIGTERM, signal.SIGINT):  # ours are ignored in what a shell put into the background
        signal.signal(number, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[_failed] = True
        clusters = getattr(item, "funcargs", {}).get("clusters")
        if isinstance(clusters, Clusters) and clusters.running is not None:
            report.sections.extend(evidence.collect(clusters.running))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table of the stories that were told."""
    of_calls = (
        report
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
    )
    if lines := list(find_told(report.capstdout for report in of_calls)):
        terminalreporter.section("stories")
        for line in lines:
            terminalreporter.write_line(line)


class Clusters:
    """The one cluster that runs, if any, who it was made for, and what stands on it."""

    def __init__(self) -> None:
        self.running: Cluster | None = None
        self._key = ""
        self._upon: dict[object, Any] = {}
        self._open = contextlib.ExitStack()

    def get(self, key: str, wishes: dict[str, Any]) -> Cluster:
        """The running cluster when it was made for the same key, else a new one."""
        if self.running is None or key != self._key:
            self.drop()
            self.running = Cluster(**wishes).__enter__()
            self._key = key
        return self.running

    def upon(self, cluster: Cluster, make: Callable[[Cluster], AbstractContextManager[T]]) -> T:
        """What `make` makes of the running cluster, once, and closed before that is."""
        assert cluster is self.running
        if make not in self._upon:
            self._upon[make] = self._open.enter_context(make(cluster))
        made: T = self._upon[make]
        return made

    def drop(self) -> None:
        try:
            self._upon.clear()
            self._open.close()
        finally:
            if self.running is not None:
                running, self.running = self.running, None
                running.__exit__(None, None, None)


@pytest.fixture(scope="session")
def clusters() -> Iterator[Clusters]:
    made = Clusters()
    yield made
    made.drop()


@pytest.fixture
def cluster(request: pytest.FixtureRequest, clusters: Clusters) -> Iterator[Cluster]:
    """The machines of the closest `cluster` marker; three with one disk each without one."""
    wishes = list_wishes(request.node)
    fresh = wishes.pop("fresh", False)
    if fresh:
        clusters.drop()
    found = clusters.get(shared_by(request.node), wishes)
    found.restore()
    yield found
    if fresh or request.node.stash.get(_failed, False):
        clusters.drop()


@pytest.fixture
def stand(clusters: Clusters, cluster: Cluster) -> Stand:
    stand = clusters.upon(cluster, Stand)
    stand.restore()
    return stand


@pytest.fixture
def site(clusters: Clusters, cluster: Cluster) -> Site:
    """All programs run, there is a pool, and nothing else."""
    return clusters.upon(cluster, start_everything)


@contextlib.contextmanager
def start_everything(cluster: Cluster) -> Iterator[Site]:
    with Site(cluster) as site:
        site.start_everything(POOL)
        yield site
