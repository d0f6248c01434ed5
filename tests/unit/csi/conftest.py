"""The plugin's services on real UNIX sockets, over a control plane and nodes that are fakes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import grpc
import pytest

from csi.controller import register_controller
from csi.endpoint import UnixEndpoint
from csi.node import register_node
from csi.server import Register, serve
from csi.v1 import csi_pb2_grpc
from replication.clock import SystemClock
from replication.control.control import Control, build_control
from replication.control.store.memory import MemoryStore
from replication.pki import Identity
from tests.fakes.node import FakeCluster


@dataclass(frozen=True)
class Cluster:
    """Three nodes with a pool `nvme` of three replicas."""

    control: Control
    fakes: FakeCluster

    @property
    def name(self) -> str:
        return self.fakes.name

    def crash(self, node: str) -> None:
        self.fakes.node(node).silent = True


@pytest.fixture
def cluster() -> Cluster:
    fakes = FakeCluster(["m1", "m2", "m3"])
    control = build_control(MemoryStore(fakes.name), fakes.connect, SystemClock())
    fakes.add_to(control)
    return Cluster(control, fakes)


@pytest.fixture
def channel(cluster: Cluster, tmp_path: Path) -> Iterator[grpc.Channel]:
    """To the controller."""
    with serving(partial(register_controller, cluster.control), tmp_path / "controller.sock") as channel:
        yield channel


@pytest.fixture
def controller(channel: grpc.Channel) -> csi_pb2_grpc.ControllerStub:
    return csi_pb2_grpc.ControllerStub(channel)


@pytest.fixture
def node_channel(cluster: Cluster, tmp_path: Path) -> Iterator[grpc.Channel]:
    """To the plugin of node m1."""
    register = partial(register_node, cluster.fakes.node("m1"), "m1")
    with serving(register, tmp_path / "node.sock") as channel:
        yield channel


@pytest.fixture
def node(node_channel: grpc.Channel) -> csi_pb2_grpc.NodeStub:
    return csi_pb2_grpc.NodeStub(node_channel)


@contextmanager
def serving(register: Register, path: Path) -> Iterator[grpc.Channel]:
    server = serve(register, UnixEndpoint(path), no_identity)
    try:
        with grpc.insecure_channel(f"unix:{path}") as channel:
            yield channel
    finally:
        server.stop(0)


def no_identity() -> Identity:
    raise AssertionError("a UNIX socket needs no certificate")


def refused(code: grpc.StatusCode, call: Callable[[object], object], request: object) -> str:
    """What `call` says while it is refused with `code`."""
    with pytest.raises(grpc.RpcError) as raised:
        call(request)
    assert raised.value.code() is code, raised.value.details()
    details = raised.value.details()
    assert details, "an error without a message"
    return str(details)
