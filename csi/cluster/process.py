"""Everything that a controller pod runs, in one process: a second one would cost as much memory again.

Every replica serves CSI, and hears and records failures; one of them, the leader, repairs, cleans, does the
operator's work, and has the sidecars.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from prometheus_client.registry import Collector

from csi.claims import KubernetesClaims, Policy, make_check
from csi.cluster.parts import Run, run_together
from csi.cluster.sidecars import Sidecars
from csi.cluster.web import Web
from csi.controller import register_controller
from csi.endpoint import Endpoint, UnixEndpoint
from csi.failover.deciding import CAREFUL
from csi.failover.deciding import Policy as FailOverPolicy
from csi.failover.failover import FailOver
from csi.failover.lookout import Lookout
from csi.operator.nodes import GRACE_SECONDS
from csi.operator.operator import Operator
from csi.server import Server, serve
from replication.clock import Clock
from replication.control.control import Control
from replication.control.reconciler import Reconciler
from replication.control.store.leadership import Leadership
from replication.control.store.leases import VALID_SECONDS
from replication.errors import TrilithError
from replication.kubernetes.client import Client
from replication.pki import Identity

GRACE = 30.0
"""Seconds that calls under way are given to end when the process is stopped."""

LOOK, ANSWER_SECONDS = 0.5, 30.0
"""Sidecars ask whether we are ready every second after an answer: each waits so long for the lead."""


@dataclass(frozen=True, slots=True)
class Options:
    """What one installation says."""

    endpoint: Endpoint
    web: tuple[str, int]
    namespace: str  # of the release: its Leases, pods and secrets
    claims: Policy = Policy.WITH_ANNOTATION
    lease_seconds: float = VALID_SECONDS
    node_grace: float = GRACE_SECONDS  # that a Node may be missing before its replicas are replaced
    failover: FailOverPolicy = CAREFUL
    sidecars: Endpoint | None = None  # where CSI is served to those that act only where the leader is


class Controller:
    """One replica of the control plane."""

    def __init__(
        self,
        control: Control,
        client: Client,
        clock: Clock,
        options: Options,
        parts: Iterable[tuple[str, Run]] = (),
    ) -> None:
        """`parts` are run besides, in every replica."""
        self._control = control
        self._parts = tuple(parts)
        self._client = client
        self._clock = clock
        self._options = options
        self._leadership = Leadership(client, options.namespace, clock, options.lease_seconds)
        self._lookout = Lookout(control.nodes, clock)
        self.reconciler = Reconciler(control, clock)
        self.operator = Operator(control, client, clock, options.namespace, options.node_grace)
        self.web = Web(options.web, self._list_collectors(), self.find_trouble)

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set; then calls under way are finished first."""
        with self._serving_csi(self._options.endpoint):
            run_together(self._list_parts(), stop)
        self.operator.close()

    @property
    def leads(self) -> bool:
        return self._leadership.leads

    def find_trouble(self) -> str:
        """Why it is of no use now; empty when it is."""
        try:
            self._control.store.list_nodes()
        except TrilithError as error:
            return str(error)
        return ""

    def _list_parts(self) -> Iterator[tuple[str, Run]]:
        """What every replica does; `_lead` is what only the leader does."""
        yield "web", self.web.run
        yield "hearing", self.reconciler.hear
        yield from self._parts
        yield "leadership", lambda stop: self._leadership.run(stop, self._lead)
        yield "lookout", lambda stop: self._lookout.stand_by(stop, lambda: self._leadership.wavers)
        if self._options.sidecars is not None:
            yield "sidecars", partial(self._serve_sidecars, self._options.sidecars)

    def _list_collectors(self) -> Iterator[Collector]:
        yield self.reconciler.metrics
        if isinstance(self._options.sidecars, UnixEndpoint):
            yield Sidecars(self._options.sidecars.path, lambda: self.leads)

    def _lead(self, over: threading.Event) -> None:
        run_together(self._list_duties(), over)

    def _list_duties(self) -> Iterator[tuple[str, Run]]:
        yield "repairs", lambda over: self.reconciler.repair(over, self.operator.note)
        yield "operator", self.operator.run
        policy = self._options.failover
        yield "failover", FailOver(self._client, self._control, self._clock, policy, self._lookout).run

    def _serve_sidecars(self, endpoint: Endpoint, stop: threading.Event) -> None:
        """They start when they are told that we are ready, and end when they lose their connection.

        So they need no elections. Those of Kubernetes give up when nobody listens for half a minute.
        """
        while not stop.is_set():
            with self._serving_csi(endpoint, partial(self._wait_to_lead, stop)):
                for leads in (False, True):
                    while self.leads is leads and not stop.wait(LOOK):
                        pass

    def _wait_to_lead(self, stop: threading.Event) -> bool:
        deadline = self._clock.now() + ANSWER_SECONDS
        while not self.leads and self._clock.now() < deadline and not stop.wait(LOOK):
            pass
        return self.leads

    @contextmanager
    def _serving_csi(
        self, endpoint: Endpoint, may_act: Callable[[], bool] = lambda: True
    ) -> Iterator[Server]:
        check = make_check(self._options.claims, KubernetesClaims(self._client))
        register = partial(register_controller, self._control, check_claim=check, may_act=may_act)
        server = serve(register, endpoint, _refuse)
        try:
            yield server
        finally:
            server.stop(GRACE)


def _refuse() -> Identity:
    raise AssertionError("sidecars reach this by a UNIX socket, which needs no certificate")
