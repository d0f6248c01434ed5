"""Requests of any shape get documented codes, no traceback, and change nothing when they are refused."""

import logging
import os
from functools import partial
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csi.controller import register_controller
from csi.node import register_node
from replication.clock import SystemClock
from replication.control.control import build_control
from replication.control.store.codec import encode
from replication.control.store.memory import MemoryStore
from replication.control.volumes import VolumeRequest
from replication.model import MIB
from tests.contract.fuzzing import METHODS, Plugin, requests
from tests.fakes.node import FakeCluster

CODE = grpc.StatusCode
DOCUMENTED = {
    CODE.OK, CODE.INVALID_ARGUMENT, CODE.NOT_FOUND, CODE.ALREADY_EXISTS, CODE.FAILED_PRECONDITION,
    CODE.RESOURCE_EXHAUSTED, CODE.OUT_OF_RANGE, CODE.ABORTED, CODE.UNIMPLEMENTED,
}  # fmt: skip
"""By docs/csi.md, while all nodes answer."""


class World:
    """Three nodes; a volume that nobody uses, and one that is attached, staged and published on m1."""

    def __init__(self) -> None:
        self.nodes = FakeCluster(["m1", "m2", "m3"])
        self.control = build_control(MemoryStore(self.nodes.name), self.nodes.connect, SystemClock())
        self.nodes.add_to(self.control)
        self.idle = self.control.volumes.create(VolumeRequest("pvc-1", 256 * MIB, "nvme")).id
        self.used = self.control.volumes.create(VolumeRequest("pvc-2", 256 * MIB, "nvme")).id
        self.control.volumes.attach(self.used, "m1")
        agent = self.nodes.node("m1")
        self.plugin = Plugin(partial(register_controller, self.control), partial(register_node, agent, "m1"))

    def known(self) -> dict[str, tuple[Any, ...]]:
        return {
            "volume_id": (self.idle, self.used),
            "node_id": ("m1", "m2"),
            "name": ("pvc-1", "pvc-3"),
            "parameters": ({"pool": "nvme"}, {"pool": "nvme", "replicas": "1"}),
            "mutable_parameters": ({}, {"tier": "premium"}),
            "secrets": ({"key": "hunter2"},),
            "staging_target_path": ("/staging",),
            "target_path": ("/target",),
            "volume_path": ("/target",),
            "mode": (1, 2, 7, 8),
            "required_bytes": (0, 256 * MIB),
            "limit_bytes": (0,),
            "volume_content_source": (),
            "fs_type": ("", "ext4"),
        }

    def state(self) -> str:
        volumes = [encode(each) for each in self.control.volumes.list()]
        nodes = {
            name: (node.replicas, node.exports, node.arrays, node.staged, node.published)
            for name, node in self.nodes.nodes.items()
        }
        return f"{volumes} {nodes}"


@pytest.mark.parametrize("method", METHODS)
@settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "15")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_any_request_is_answered_as_documented(
    method: str, data: st.DataObject, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.clear()
    caplog.set_level(logging.INFO)
    world = World()
    request = data.draw(requests(method, world.known()))
    before = world.state()
    code, details, answer = world.plugin.call(method, request)
    assert code in DOCUMENTED, details
    assert "hunter2" not in caplog.text + details
    assert [record for record in caplog.records if record.exc_info] == []
    if code is CODE.OK:
        assert answer is not None
    else:
        assert details
        assert world.state() == before
