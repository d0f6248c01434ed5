"""What is measured: the real controller plugin and control plane, over a real store, with fakes for nodes."""

import gc
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from csi.controller import register_controller
from csi.endpoint import UnixEndpoint
from csi.server import serve
from replication.clock import SystemClock
from replication.control.control import Control, build_control
from replication.control.lifecycle import VolumeRequest, finish_create, new_volume
from replication.control.placement import Place
from replication.control.provisioning import new_volume_id
from replication.control.store.sqlite import SqliteStore
from replication.model import GIB, ReplicaSpec
from replication.pki import Identity
from tests.fakes.node import FakeCluster
from tests.scale.callers import POOL, SIZE_BYTES

CLUSTER = "cluster"
REPLICAS = 3
DISK_BYTES = 4096 * GIB
WATCH_POLL = 5.0  # hundreds of listeners that look a hundred times a second would be all that is measured


class Stand:
    """A cluster whose number of volumes grows."""

    def __init__(self, control: Control, fakes: FakeCluster, socket: Path) -> None:
        self.control = control
        self.nodes = tuple(fakes.nodes)
        self.socket = socket  # of the plugin
        self._fakes = fakes
        self._random = random.Random(1)  # noqa: S311 - nothing is kept secret by it
        self._filled = 0

    def choose_node(self) -> str:
        return self._random.choice(self.nodes)

    def grow(self, count: int, attached_share: float) -> None:
        """To `count` volumes, of which a share is in use: recorded as ready, and on their nodes."""
        while self._filled < count:
            volume_id = self._add(f"filled-{self._filled}")
            self._filled += 1
            if self._random.random() < attached_share:
                self.control.volumes.attach(volume_id, self.choose_node())
        gc.collect()
        gc.freeze()  # what the nodes hold would be walked through by this process, as it is by none elsewhere

    def _add(self, name: str) -> str:
        """The record is written once instead of as often as creating it would."""
        nodes = self._random.sample(self.nodes, REPLICAS)
        places = tuple(Place(node, f"vg-{node}") for node in nodes)
        request = VolumeRequest(name, SIZE_BYTES, POOL)
        begun = new_volume(new_volume_id(), request, REPLICAS, places, self.control.records.clock.wall())
        for replica in begun.replicas:
            spec = ReplicaSpec(
                begun.id, replica.id, replica.volume_group, begun.size_bytes, begun.bitmap_chunk_bytes
            )
            self._fakes.node(replica.node).ensure_replica(spec)
        self.control.store.add_volume(finish_create(begun))
        return begun.id


@contextmanager
def build_stand(folder: Path, node_count: int) -> Iterator[Stand]:
    """`folder` gets the store and the plugin's socket."""
    fakes = FakeCluster(
        [f"node-{number:03}" for number in range(node_count)], CLUSTER, DISK_BYTES, watch_poll=WATCH_POLL
    )
    with ExitStack() as stack:
        store = SqliteStore(folder, CLUSTER, SystemClock())
        stack.callback(store.close)
        control = build_control(store, fakes.connect, SystemClock())
        fakes.add_to(control, POOL, REPLICAS)
        first = control.volumes.create(VolumeRequest("first", SIZE_BYTES, POOL))  # every node is asked for it
        control.volumes.delete(first.id)
        stack.enter_context(serving(control, folder / "csi.sock"))
        yield Stand(control, fakes, folder / "csi.sock")


@contextmanager
def serving(control: Control, path: Path) -> Iterator[None]:
    """The controller plugin on a UNIX socket, as `trilith-csi controller` serves it."""
    server = serve(partial(register_controller, control), UnixEndpoint(path), _no_identity)
    try:
        yield
    finally:
        server.stop(0)


def _no_identity() -> Identity:
    raise AssertionError("a UNIX socket needs no certificate")
