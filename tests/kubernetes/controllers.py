"""Controllers as pods run them, in threads: the real composition and API server, and fakes for nodes."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from csi.claims import Policy
from csi.cluster.process import Controller, Options
from csi.endpoint import UnixEndpoint
from csi.failover.deciding import CAREFUL
from csi.failover.deciding import Policy as FailOverPolicy
from hack.kubernetes.plane import ControlPlane
from replication.control.control import Control, build_control
from replication.control.store.kubernetes import KubernetesStore
from replication.kubernetes.access import read_kubeconfig
from replication.kubernetes.client import Client
from tests.fakes.node import FakeCluster
from tests.kubernetes.conftest import ACCOUNT, LOCK_SECONDS, NAMESPACE
from tests.kubernetes.patience import CLOCK


@dataclass
class Replica:
    """One controller pod."""

    control: Control
    controller: Controller
    socket: Path


@contextmanager
def running(  # noqa: PLR0913 - what an installation says, each by its name
    plane: ControlPlane,
    fakes: FakeCluster,
    socket: Path,
    claims: Policy = Policy.ALWAYS,
    *,
    node_grace: float = 300.0,
    failover: FailOverPolicy = CAREFUL,
    sidecars: Path | None = None,
) -> Iterator[Replica]:
    """Until the block ends, as on SIGTERM."""
    client = Client(read_kubeconfig(plane.kubeconfig(ACCOUNT)))
    store = KubernetesStore(client, fakes.name, CLOCK, NAMESPACE, LOCK_SECONDS)
    control = build_control(store, fakes.connect, CLOCK)
    options = Options(
        UnixEndpoint(socket),
        ("127.0.0.1", 0),
        NAMESPACE,
        claims,
        LOCK_SECONDS,
        node_grace,
        failover=failover,
        sidecars=UnixEndpoint(sidecars) if sidecars else None,
    )
    controller, stop = Controller(control, client, CLOCK, options), threading.Event()
    thread = threading.Thread(target=controller.run, args=(stop,), name="controller")
    thread.start()
    try:
        yield Replica(control, controller, socket)
    finally:
        stop.set()
        thread.join()
        store.close()
