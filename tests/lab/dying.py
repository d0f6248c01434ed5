"""A control plane that is killed in the midst of an operation: a process on the host, against real machines.

    python -m tests.lab.dying STATE WHEN CALLS OPERATION WORD...

It dies, by SIGKILL, at its call number CALLS (from 0) to the store or to a node. WHEN says which calls count
and how it dies: `before` one that changes something, `during` one that changes something (0.3 s after its
begin, or at its end), or `any`: before any call, reads included. Status 0: it took no more than CALLS.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from replication.clock import SystemClock
from replication.control.control import Control, build_control
from replication.control.cordons import list_inside
from replication.control.reconciler import Reconciler
from replication.control.store.sqlite import SqliteStore
from replication.control.volumes import VolumeRequest
from replication.model import Node
from replication.pki import Identity, cluster_of, read_identity
from replication.rpc.client import NodeClient
from replication.rpc.contract import NodeApi
from tests.fakes.mortal import Died, Fuse, mortal_connect, mortal_store

T = TypeVar("T")
_IN_FLIGHT = 0.3
_READS = ("get_", "find_", "list_", "cluster", "describe", "lock", "add_event", "with_deadline", "close")


class Deadly(Fuse):
    """Kills this process when it burns through."""

    def __init__(self, calls: int, when: str) -> None:
        super().__init__(calls)
        self._when = when

    def call(self, function: Callable[..., T], *args: object, **kwargs: object) -> T:
        if self._when != "any" and function.__name__.startswith(_READS):
            return function(*args, **kwargs)
        try:
            return super().call(function, *args, **kwargs)
        except Died:
            if self._when == "during":
                threading.Timer(_IN_FLIGHT, die).start()
                function(*args, **kwargs)
            die()
            raise


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def open_mortal_control(state: Path, fuse: Fuse) -> Control:
    identity, clock = read_identity(state / "pki"), SystemClock()
    store = SqliteStore(state, cluster_of(identity.certificate_pem), clock)
    connect = mortal_connect(partial(_connect, identity), fuse)
    return build_control(mortal_store(store, fuse), connect, clock)


def _connect(identity: Identity, node: Node) -> NodeApi:
    return NodeClient(node, identity)


def operate(control: Control, operation: str, words: list[str]) -> None:
    """As the command line and CSI do; `repair` is a pass of `trilith control run`, `replace` many."""
    volumes = control.volumes
    if operation == "create":
        volumes.create(VolumeRequest(words[0], int(words[1]), words[2]))
    elif operation == "attach":
        volumes.attach(words[0], words[1])
    elif operation == "detach":
        volumes.detach(words[0])
    elif operation == "expand":
        volumes.expand(words[0], int(words[1]))
    elif operation == "delete":
        volumes.delete(words[0])
    elif operation == "repair":
        Reconciler(control, SystemClock()).run_once()
    elif operation == "replace":
        replace(control, words[0])
    else:
        raise ValueError(operation)


def replace(control: Control, volume_id: str) -> None:
    """Until nothing of the volume is left where it is to be emptied; reports are asked for, not heard."""
    reconciler = Reconciler(control, SystemClock())
    while any(list_inside(control.volumes.get(volume_id), each) for each in control.store.list_cordons()):
        reconciler.run_once()
        consumer = str(control.volumes.get(volume_id).consumer)
        reconciler.handle(consumer, control.volumes.find_scrub(volume_id))


def main() -> None:
    state, when, calls, operation, *words = sys.argv[1:]
    operate(open_mortal_control(Path(state), Deadly(int(calls), when)), operation, words)


if __name__ == "__main__":
    main()
