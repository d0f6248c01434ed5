"""The control plane as its users hold it: csi, the administrator's command, the reconciler."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from replication.clock import Clock, SystemClock
from replication.control.attaching import Attaching
from replication.control.detaching import Detaching
from replication.control.doctor import Doctor
from replication.control.emptying import Emptying
from replication.control.events import Events
from replication.control.executor import Executor
from replication.control.first_look import FirstLook
from replication.control.nodes import Nodes
from replication.control.pools import Pools
from replication.control.provisioning import Provisioning
from replication.control.records import Records
from replication.control.store.base import Store
from replication.control.store.opening import StoreKind, open_store
from replication.control.volumes import Volumes
from replication.identities import FolderIdentity, Source
from replication.model import Node
from replication.pki import cluster_of
from replication.rpc.client import NodeClient
from replication.rpc.contract import NodeApi


@dataclass(frozen=True, slots=True)
class Control:
    """Everything that can be asked of a cluster."""

    store: Store
    volumes: Volumes
    nodes: Nodes
    pools: Pools
    events: Events
    records: Records
    executor: Executor
    emptying: Emptying
    doctor: Doctor
    first_look: FirstLook


def build_control(store: Store, connect: Callable[[Node], NodeApi], clock: Clock) -> Control:
    """A control plane over a store and a way to reach nodes: for tests, and for open_control."""
    events = Events(store, clock)
    records = Records(store, clock, events)
    nodes = Nodes(store, connect, clock)
    executor = Executor(nodes)
    first_look = FirstLook(executor, clock)
    attaching = Attaching(records, executor, first_look)
    detaching = Detaching(records, executor, first_look)
    volumes = Volumes(records, Provisioning(records, executor), attaching, detaching)
    pools = Pools(store, nodes, executor, events)
    emptying = Emptying(records, nodes, pools, volumes, events)
    doctor = Doctor(store, nodes, events)
    return Control(store, volumes, nodes, pools, events, records, executor, emptying, doctor, first_look)


def open_control(state_dir: Path, clock: Clock | None = None, kind: StoreKind = StoreKind.SQLITE) -> Control:
    """The control plane whose state is in `state_dir`, or in Kubernetes; its identity is in `state_dir`/pki.

    The cluster is the one of the identity's certificate. Close it with `control.store.close()`.
    """
    clock = clock or SystemClock()
    source = FolderIdentity(state_dir / "pki")
    store = open_store(kind, state_dir, cluster_of(source().certificate_pem), clock)
    return build_control(store, partial(connect, source), clock)


def connect(source: Source, node: Node) -> NodeApi:
    """With what `source` gives now as the control plane's identity."""
    return NodeClient(node, source)
