"""A pod whose node dies runs elsewhere, with its volume: by Kubernetes' own controllers, and how soon."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from csi.failover.deciding import Confirm, Policy
from csi.failover.failover import FailOver
from csi.failover.lookout import Lookout
from replication.clock import wait_until
from replication.kubernetes.access import read_kubeconfig
from replication.kubernetes.client import Client
from tests.kubernetes.theatre import NAMES, Theatre, playing

pytestmark = pytest.mark.more


@pytest.fixture(scope="module")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    folder: Path = tmp_path_factory.mktemp("csi")
    with playing(folder) as running:
        yield running


@contextmanager
def guarding(theatre: Theatre, policy: Policy) -> Iterator[None]:
    """The leader's fail-over, as it runs in a controller."""
    client, stop = Client(read_kubeconfig(theatre.plane.admin_kubeconfig)), threading.Event()
    lookout = Lookout(theatre.control.nodes, theatre.clock)
    failover = FailOver(client, theatre.control, theatre.clock, policy, lookout)
    thread = threading.Thread(target=failover.run, args=(stop,))
    thread.start()
    nodes = theatre.fakes.nodes.values()
    try:
        wait_until(
            lambda: all(len(node.heard) == len(NAMES) - 1 for node in nodes),
            "all are heard",
            timeout=60,
            clock=theatre.clock,
        )
        yield
    finally:
        stop.set()
        thread.join()
        client.close()


@pytest.mark.parametrize(
    ("confirm", "seconds"), [(Confirm.PEERS, 40.0), (Confirm.LEASE, 75.0)], ids=["peers", "lease"]
)
def test_a_dead_nodes_pod_runs_elsewhere_and_the_node_is_used_again(
    theatre: Theatre, confirm: Confirm, seconds: float
) -> None:
    """The bounds are those that hold for emulated machines, which are slower to boot and to mount."""
    volume = theatre.run(f"db-{confirm}", f"data-{confirm}")
    pod = f"db-{confirm}-0"
    first = theatre.find_node(pod)
    with guarding(theatre, Policy(confirm=confirm)):
        began = theatre.clock.now()
        theatre.kill(first)
        theatre.wait_running(pod, set(NAMES) - {first}, seconds)
        print(f"figure failover_{confirm}_s {theatre.clock.now() - began:.1f}")
        assert theatre.control.volumes.get(volume.id).consumer == theatre.find_node(pod)
        theatre.revive(first)
        what = f"{first} is used again"
        wait_until(lambda: not theatre.read_taints(first), what, timeout=60, clock=theatre.clock)
