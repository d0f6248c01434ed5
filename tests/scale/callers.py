"""Those who call the plugin, in a process of their own: `python -m tests.scale.callers SOCKET CALL THREADS`.

A JSON list of [volume's name or id, node] comes on standard input, one for each call. What each took and
returned goes out in the same way. In the plugin's own process, they and it would wait for each other's turns.
"""

import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc

from csi.v1 import csi_pb2, csi_pb2_grpc
from replication.model import GIB

POOL = "nvme"
SIZE_BYTES = GIB
PAGE = 100
CAPABILITY = csi_pb2.VolumeCapability(
    mount=csi_pb2.VolumeCapability.MountVolume(fs_type="ext4"),
    access_mode=csi_pb2.VolumeCapability.AccessMode(
        mode=csi_pb2.VolumeCapability.AccessMode.SINGLE_NODE_WRITER
    ),
)

Controller = csi_pb2_grpc.ControllerStub
Call = Callable[[Controller, str, str], str]


def main() -> None:
    path, name, threads = sys.argv[1:]
    items = json.load(sys.stdin)
    with grpc.insecure_channel(f"unix:{path}") as channel:
        controller = Controller(channel)
        grpc.channel_ready_future(channel).result(timeout=60)
        begun = time.perf_counter()
        with ThreadPoolExecutor(int(threads)) as pool:
            done = list(pool.map(lambda item: _time(CALLS[name], controller, *item), items))
        seconds = time.perf_counter() - begun
    print(
        json.dumps(
            {"samples": [took for took, _ in done], "results": [x for _, x in done], "seconds": seconds}
        )
    )


def _time(call: Call, controller: Controller, volume: str, node: str) -> tuple[float, str]:
    """Milliseconds, and what it returned."""
    begun = time.perf_counter()
    result = call(controller, volume, node)
    return (time.perf_counter() - begun) * 1000, result


def _create(controller: Controller, name: str, _: str) -> str:
    request = csi_pb2.CreateVolumeRequest(
        name=name,
        capacity_range=csi_pb2.CapacityRange(required_bytes=SIZE_BYTES),
        volume_capabilities=[CAPABILITY],
        parameters={"pool": POOL},
    )
    return str(controller.CreateVolume(request).volume.volume_id)


def _publish(controller: Controller, volume_id: str, node: str) -> str:
    request = csi_pb2.ControllerPublishVolumeRequest(
        volume_id=volume_id, node_id=node, volume_capability=CAPABILITY
    )
    return str(controller.ControllerPublishVolume(request).publish_context["device"])


def _get(controller: Controller, volume_id: str, _: str) -> str:
    request = csi_pb2.ControllerGetVolumeRequest(volume_id=volume_id)
    return str(controller.ControllerGetVolume(request).volume.volume_id)


def _list(controller: Controller, after: str, _: str) -> str:
    request = csi_pb2.ListVolumesRequest(max_entries=PAGE, starting_token=after)
    return str(controller.ListVolumes(request).next_token)


def _unpublish(controller: Controller, volume_id: str, _: str) -> str:
    controller.ControllerUnpublishVolume(csi_pb2.ControllerUnpublishVolumeRequest(volume_id=volume_id))
    return ""


def _delete(controller: Controller, volume_id: str, _: str) -> str:
    controller.DeleteVolume(csi_pb2.DeleteVolumeRequest(volume_id=volume_id))
    return ""


CALLS: dict[str, Call] = {
    "create": _create,
    "publish": _publish,
    "get": _get,
    "list": _list,
    "unpublish": _unpublish,
    "delete": _delete,
}


if __name__ == "__main__":
    main()
