"""`python -m tests.scale.footprint [--volumes 1000]`: what a controller in Kubernetes takes.

A real API server, `trilith-controller run`, and three agents that are fakes behind real mutual TLS. Memory is
looked at when every Volume has its status; requests are the API server's own count over a minute in which
nothing happens, less those of a minute without a controller. A goal that is missed fails nothing.
"""

import argparse
import logging
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import urllib3

from csi.certificates.authority import ensure_authority
from csi.certificates.places import Places
from csi.v1 import csi_pb2_grpc
from hack.bench.figures import Board, Figure, Goal
from hack.bench.idle import parse_mib
from hack.helm.chart import list_rules
from hack.kubernetes.manifests import apply_documents
from hack.kubernetes.plane import ControlPlane
from replication.clock import SystemClock, wait_until
from replication.control.control import Control, build_control
from replication.control.lifecycle import VolumeRequest, finish_create, new_volume
from replication.control.placement import Place
from replication.control.provisioning import new_volume_id
from replication.control.store.kubernetes import KubernetesStore
from replication.control.store.resources import VOLUMES
from replication.kubernetes.access import read_kubeconfig
from replication.kubernetes.client import Client
from replication.model import GIB, ReplicaSpec
from replication.pki import CertificateAuthority, Role
from replication.rpc.server import serve_node
from tests.fakes.node import FakeCluster, FakeNode
from tests.kubernetes.conftest import NAMESPACE
from tests.kubernetes.machines import Machines, machines_of
from tests.scale.callers import CALLS, POOL
from tests.unit.cli.process import Process

NAMES = ["m1", "m2", "m3"]
MANIFEST = {
    "apiVersion": "trilith.io/v1alpha1",
    "kind": "StoragePool",
    "metadata": {"name": POOL},
    "spec": {},
}
POOLS = "/apis/trilith.io/v1alpha1/namespaces/trilith/storagepools"
LIVES = 20
CLOCK = SystemClock()


def main() -> None:
    logging.disable(logging.CRITICAL)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--volumes", type=int, default=1_000)
    parser.add_argument("--attached", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trilith-scale-") as folder, ControlPlane() as plane:
        measure(Path(folder), plane, options.volumes, options.attached, Board("bench-footprint"))


def measure(
    folder: Path, plane: ControlPlane, volumes: int, attached: int, board: Board, quiet: float = 60.0
) -> None:
    """Counts are of `quiet` seconds."""
    admin = Client(read_kubeconfig(plane.admin_kubeconfig))
    apply_documents(admin, list_rules())
    authority = ensure_authority(admin, Places(NAMESPACE), CLOCK)
    with machines_of(admin, []) as machines, serving(machines, authority):
        without = count_over(admin, quiet)
        process = start(folder, plane)
        try:
            admin.create(POOLS, MANIFEST)
            wait(lambda: b"Usable" in admin_text(admin), "the pool is ready")
            idle = count_over(admin, quiet)
            board.add_all([_rate("api-requests-idle-per-node", (idle - without) / quiet)])
            lives = count_lives(admin, folder, 1.5 * quiet) - 1.5 * idle
            board.add_all([Figure("api-requests-per-volume-life", lives / LIVES, "", Goal("<=", 40))])
            fill(plane, authority.cluster_id, machines.fakes, volumes, attached)
            wait(lambda: count_told(admin) == volumes, "all statuses", timeout=volumes)
            CLOCK.sleep(quiet)  # what was begun ends
            busy = count_over(admin, quiet)
            resident = Figure(f"controller-memory-at-{volumes}", read_mib(process), "MiB", Goal("<=", 150))
            board.add_all([resident, _rate(f"api-requests-at-{volumes}-per-node", (busy - without) / quiet)])
        finally:
            process.end()
    admin.close()


def _rate(name: str, rate: float) -> Figure:
    return Figure(name, rate / len(NAMES), "1/s", Goal("<=", 0.2))


def count_lives(admin: Client, folder: Path, seconds: float) -> float:
    """Of LIVES volumes that are made, attached, detached and deleted, and of what is said of them later.

    All in so many seconds, or in more if those do not suffice.
    """
    before, begun = count_requests(admin), CLOCK.now()
    with grpc.insecure_channel(f"unix:{folder}/csi.sock") as channel:
        stub = csi_pb2_grpc.ControllerStub(channel)
        for number in range(LIVES):
            volume_id = CALLS["create"](stub, f"life-{number}", "")
            for call in ("publish", "unpublish", "delete"):
                CALLS[call](stub, volume_id, NAMES[0])
    CLOCK.sleep(max(0.0, seconds - (CLOCK.now() - begun)))
    return count_requests(admin) - before - 1


def wait(condition: object, what: str, timeout: float = 120.0) -> None:
    wait_until(condition, what, timeout=timeout, clock=CLOCK, interval=1.0)  # type: ignore[arg-type]


@contextmanager
def serving(machines: Machines, authority: CertificateAuthority) -> Iterator[None]:
    """Agents on ports of this machine, and what Kubernetes knows of them."""
    machines.fakes.name = authority.cluster_id
    with ExitStack() as stack:
        for name in NAMES:
            fake = FakeNode(name=name, cluster=machines.fakes, disk_bytes=20_000 * GIB, watch_poll=1.0)
            machines.fakes.nodes[name] = fake
            server = serve_node(fake, "127.0.0.1:0", authority.issue(name, Role.NODE))
            stack.callback(server.stop, 0)
            machines.add_node(name, {})
            machines.add_pod(name, "127.0.0.1", server.port)
        yield


def start(folder: Path, plane: ControlPlane) -> Process:
    os.environ["KUBECONFIG"] = str(plane.admin_kubeconfig)
    words = (
        "--endpoint",
        f"unix://{folder}/csi.sock",
        "--web",
        "127.0.0.1:0",
        "--webhook-port",
        "0",
        "--claims",
        "Always",
    )
    return Process(folder / "log", "csi.cluster.main", "run", *words)


def fill(plane: ControlPlane, cluster: str, fakes: FakeCluster, volumes: int, attached: int) -> None:
    """By a control plane in this process; what is recorded is on the nodes, too."""
    client = Client(read_kubeconfig(plane.admin_kubeconfig))
    store = KubernetesStore(client, cluster, CLOCK, NAMESPACE)
    control = build_control(store, fakes.connect, CLOCK)
    made = [add(control, fakes, number) for number in range(volumes)]
    for volume_id in made[:attached]:
        control.volumes.attach(volume_id, NAMES[hash(volume_id) % len(NAMES)])
    store.close()


def add(control: Control, fakes: FakeCluster, number: int) -> str:
    """The record is written once instead of as often as creating it would."""
    places = tuple(Place(name, f"vg-{name}") for name in NAMES)
    request = VolumeRequest(f"pvc-{number:08}-0000-0000-0000-000000000000", GIB, POOL)
    begun = new_volume(new_volume_id(), request, len(NAMES), places, CLOCK.wall())
    for replica in begun.replicas:
        group, size, chunk = replica.volume_group, begun.size_bytes, begun.bitmap_chunk_bytes
        fakes.node(replica.node).ensure_replica(ReplicaSpec(begun.id, replica.id, group, size, chunk))
    return control.store.add_volume(finish_create(begun)).volume.id


def count_told(admin: Client) -> int:
    return sum("status" in item for item in admin.get(VOLUMES)["items"])


def count_over(admin: Client, seconds: float) -> float:
    """Requests that the API server took meanwhile, all but ours."""
    before = count_requests(admin)
    CLOCK.sleep(seconds)
    return count_requests(admin) - before - 1


def count_requests(admin: Client) -> int:
    found = re.findall(rb"^apiserver_request_total\{[^}]*\} (\S+)$", scrape(admin), re.MULTILINE)
    return round(sum(map(float, found)))


def scrape(admin: Client) -> bytes:
    """Not JSON, and so not for the client."""
    pool = admin._pool
    assert isinstance(pool, urllib3.HTTPConnectionPool)
    return bytes(pool.request("GET", "/metrics").data)


def admin_text(admin: Client) -> bytes:
    return str(admin.get(f"{POOLS}/{POOL}").get("status", {})).encode()


def read_mib(process: Process) -> float:
    return parse_mib(Path(f"/proc/{process.pid}/status").read_text(), "VmRSS")


if __name__ == "__main__":
    main()
