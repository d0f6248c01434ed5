"""What becomes of an operation whose caller gives up, over a real server."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from csi.operations import JOINED
from csi.v1 import csi_pb2, csi_pb2_grpc
from replication.clock import SystemClock, wait_until
from replication.errors import OutOfSpace
from tests.unit.csi.conftest import refused, serving
from tests.unit.csi.requests import create

CODE = grpc.StatusCode


class Slow(csi_pb2_grpc.ControllerServicer):
    """A creation takes until it is let go."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.go = threading.Event()
        self.error: Exception | None = None

    def CreateVolume(  # noqa: N802
        self, request: csi_pb2.CreateVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.CreateVolumeResponse:
        self.begun.append(request.name)
        assert self.go.wait(30)
        self.ended.append(request.name)
        if self.error is not None:
            raise self.error
        return csi_pb2.CreateVolumeResponse(volume=csi_pb2.Volume(volume_id=request.name))


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def controller(slow: Slow, tmp_path: Path) -> Iterator[csi_pb2_grpc.ControllerStub]:
    def register(server: grpc.Server) -> None:
        csi_pb2_grpc.add_ControllerServicer_to_server(slow, server)

    with serving(register, tmp_path / "csi.sock") as channel:
        yield csi_pb2_grpc.ControllerStub(channel)


def until_begun(slow: Slow, count: int) -> None:
    wait_until(lambda: len(slow.begun) == count, "the call", timeout=10, clock=SystemClock(), interval=0.01)


def test_a_repeat_joins_what_a_caller_without_patience_has_left(
    slow: Slow, controller: csi_pb2_grpc.ControllerStub
) -> None:
    for secret in ("a", "b"):
        request = create(secrets={"key": secret})
        said = refused(CODE.DEADLINE_EXCEEDED, lambda it: controller.CreateVolume(it, timeout=0.2), request)
        assert said
    assert slow.begun == ["pvc-1"]
    slow.go.set()
    wait_until(lambda: slow.ended == ["pvc-1"], "its end", timeout=10, clock=SystemClock())


def test_a_call_that_is_cancelled_goes_on(slow: Slow, controller: csi_pb2_grpc.ControllerStub) -> None:
    call = controller.CreateVolume.future(create())
    until_begun(slow, 1)
    call.cancel()
    slow.go.set()
    wait_until(lambda: slow.ended == ["pvc-1"], "its end", timeout=10, clock=SystemClock())


def test_something_else_is_not_joined(slow: Slow, controller: csi_pb2_grpc.ControllerStub) -> None:
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(controller.CreateVolume, create(name=name)) for name in ("a", "b")]
        until_begun(slow, 2)
        slow.go.set()
        assert {call.result().volume.volume_id for call in calls} == {"a", "b"}


def test_who_joins_hears_of_the_same_error_and_the_next_one_begins_anew(
    slow: Slow, controller: csi_pb2_grpc.ControllerStub
) -> None:
    slow.error = OutOfSpace("no room")
    with ThreadPoolExecutor(2) as pool:
        calls = [
            pool.submit(refused, CODE.RESOURCE_EXHAUSTED, controller.CreateVolume, create()) for _ in "ab"
        ]
        until_begun(slow, 1)
        slow.go.set()
        assert {call.result() for call in calls} == {"no room"}
    slow.error = None
    assert controller.CreateVolume(create()).volume.volume_id == "pvc-1"


def test_whatever_changes_something_is_joined() -> None:
    services = (csi_pb2.DESCRIPTOR.services_by_name[name] for name in ("Controller", "Node"))
    methods = {method.name for service in services for method in service.methods}
    reading = ("Get", "List", "Validate", "Snapshot")
    assert {name for name in methods if not any(word in name for word in reading)} == JOINED
