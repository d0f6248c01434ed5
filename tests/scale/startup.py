"""A controller plugin that starts on a store that is there: `python -m tests.scale.startup FOLDER`.

It prints a line of JSON: when it had answered the first page, on the clock that all processes share, its
resident memory then, and after it has told of all volumes.
"""

import json
import sys
import time
from pathlib import Path

import grpc

from csi.v1 import csi_pb2, csi_pb2_grpc
from hack.bench.idle import parse_mib
from replication.clock import SystemClock
from replication.control.control import build_control
from replication.control.store.sqlite import SqliteStore
from replication.model import Node
from replication.rpc.contract import NodeApi
from tests.scale.callers import PAGE
from tests.scale.stand import CLUSTER, serving


def main() -> None:
    folder = Path(sys.argv[1])
    store = SqliteStore(folder, CLUSTER, SystemClock())
    control = build_control(store, _connect_nobody, SystemClock())
    socket = folder / "startup.sock"
    with serving(control, socket), grpc.insecure_channel(f"unix:{socket}") as channel:
        controller = csi_pb2_grpc.ControllerStub(channel)
        token = _read_page(controller, "")
        answered, resident_mib = time.monotonic(), _resident_mib()
        while token:
            token = _read_page(controller, token)
        told = _resident_mib()
    store.close()
    print(json.dumps({"answered": answered, "resident_mib": resident_mib, "after_list_mib": told}))


def _read_page(controller: csi_pb2_grpc.ControllerStub, token: str) -> str:
    request = csi_pb2.ListVolumesRequest(max_entries=PAGE, starting_token=token)
    return str(controller.ListVolumes(request).next_token)


def _resident_mib() -> float:
    return parse_mib(Path("/proc/self/status").read_text(), "VmRSS")


def _connect_nobody(node: Node) -> NodeApi:
    raise AssertionError(f"a list asks no node, {node.name} neither")


if __name__ == "__main__":
    main()
