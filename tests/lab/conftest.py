"""Lab tests: machines for the tests that ask for them; when a test fails, their consoles and all logs.

A test gets the machines its `cluster` marker describes (on itself, its class or its module), with the
arguments of `hack.lab.cluster.Cluster`. Tests of one module with the same wish share them, one after the
other: each finds all machines running and all cables in, with what the earlier ones left on the disks.
`fresh=True` asks for new ones, and a failed test's are not used again.

`stand` is Trilith on those machines, made once for them: tests/lab/stand.py.
"""

import signal
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from hack.lab import evidence
from hack.lab.cluster import Cluster
from hack.lab.errors import LabError
from hack.lab.network import enter_private_network
from tests.lab.stand import Stand, Stands
from tests.lab.stories.told import find_told

_failed = pytest.StashKey[bool]()


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
    """The one cluster that runs, if any, and who it was made for."""

    def __init__(self) -> None:
        self.running: Cluster | None = None
        self._key = ""

    def get(self, key: str, wishes: dict[str, Any]) -> Cluster:
        """The running cluster when it was made for the same module and wishes, else a new one."""
        if self.running is None or key != self._key:
            self.drop()
            self.running = Cluster(**wishes).__enter__()
            self._key = key
        return self.running

    def drop(self) -> None:
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
    marker = request.node.get_closest_marker("cluster")
    wishes = dict(marker.kwargs) if marker else {}
    fresh = wishes.pop("fresh", False)
    if fresh:
        clusters.drop()
    found = clusters.get(f"{request.node.path} {sorted(wishes.items())}", wishes)
    found.restore()
    yield found
    if fresh or request.node.stash.get(_failed, False):
        clusters.drop()


@pytest.fixture(scope="session")
def stands(clusters: Clusters) -> Iterator[Stands]:  # noqa: ARG001 - closed before the machines are
    made = Stands()
    yield made
    made.close()


@pytest.fixture
def stand(stands: Stands, cluster: Cluster) -> Stand:
    return stands.get(cluster)
