"""Two controllers and one Lease."""

import threading
from collections.abc import Iterator

import pytest

from hack.kubernetes.plane import ControlPlane
from replication.clock import wait_until
from replication.control.store.leadership import LEASE, Leadership
from replication.control.store.leases import path_of
from replication.kubernetes.access import read_kubeconfig
from replication.kubernetes.client import Client
from tests.kubernetes.conftest import ACCOUNT, NAMESPACE
from tests.kubernetes.patience import CLOCK
from tests.kubernetes.proxy import Proxy

VALID = 3.0


class Candidate:
    """A controller that does nothing but lead."""

    def __init__(self, plane: ControlPlane, server: str | None = None) -> None:
        self.client = Client(read_kubeconfig(plane.kubeconfig(ACCOUNT, server=server)), answer_seconds=1.0)
        self.leadership = Leadership(self.client, NAMESPACE, CLOCK, VALID)
        self.working = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.leadership.run, args=(self._stop, self._lead))
        self._thread.start()

    def _lead(self, over: threading.Event) -> None:
        self.working = True
        over.wait()
        self.working = False

    def end(self) -> None:
        self._stop.set()
        self._thread.join()
        self.client.close()


def wait_for_leader(candidate: Candidate, what: str, timeout: float = 60.0) -> None:
    wait_until(lambda: candidate.working, what, timeout=timeout, clock=CLOCK)


@pytest.fixture
def proxy(plane: ControlPlane) -> Iterator[Proxy]:
    with Proxy(plane.address) as running:
        yield running


def test_one_of_two_leads_and_the_other_takes_over_at_once_when_it_ends(
    plane: ControlPlane, admin: Client
) -> None:
    first = Candidate(plane)
    wait_for_leader(first, "the first leads")
    second = Candidate(plane)
    try:
        holder = admin.get(f"{path_of(NAMESPACE)}/{LEASE}")["spec"]["holderIdentity"]
        renewed = admin.get(f"{path_of(NAMESPACE)}/{LEASE}")["spec"]["renewTime"]
        wait_until(
            lambda: admin.get(f"{path_of(NAMESPACE)}/{LEASE}")["spec"]["renewTime"] != renewed,
            "renewed",
            timeout=30,
            clock=CLOCK,
        )
        assert (first.working, second.working) == (True, False)
    finally:
        first.end()
    try:
        wait_for_leader(second, "the second leads")
        assert first.working is False
        assert admin.get(f"{path_of(NAMESPACE)}/{LEASE}")["spec"]["holderIdentity"] != holder
    finally:
        second.end()
    assert second.working is False
    assert admin.get(path_of(NAMESPACE))["items"] == []


def test_a_leader_that_is_cut_off_stops_before_another_begins(plane: ControlPlane, proxy: Proxy) -> None:
    first, second = Candidate(plane, proxy.server), None
    try:
        wait_for_leader(first, "the first leads")
        second = Candidate(plane)
        assert second.leadership.wavers is False
        proxy.cut()
        wait_until(lambda: second.leadership.wavers, "the second may lead soon", timeout=60, clock=CLOCK)
        wait_until(lambda: second.working or not first.working, "a change", timeout=60, clock=CLOCK)
        assert (first.working, second.working) == (False, False)
        wait_for_leader(second, "the second leads")
        assert second.leadership.wavers is False
        proxy.mend()
        assert first.working is False
    finally:
        first.end()
        if second is not None:
            second.end()
