"""Many volumes at once through the plugin's services: all of them get through, and nothing is left over."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message

from csi.controller import register_controller
from csi.node import register_node
from csi.v1 import csi_pb2
from replication.clock import SystemClock
from replication.control.control import Control, build_control
from replication.control.store.sqlite import SqliteStore
from tests.contract.fuzzing import Plugin
from tests.fakes.node import FakeCluster
from tests.unit.csi.requests import attach, create, publish, stage

VOLUMES, WORKERS = 40, 8
NODES = ("m1", "m2", "m3")


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster(list(NODES))


@pytest.fixture
def control(cluster: FakeCluster, tmp_path: Path) -> Iterator[Control]:
    store = SqliteStore(tmp_path, cluster.name, SystemClock())
    made = build_control(store, cluster.connect, SystemClock())
    cluster.add_to(made)
    yield made
    store.close()


def test_forty_volumes_live_and_die_at_once(cluster: FakeCluster, control: Control) -> None:
    controller = Plugin(partial(register_controller, control))
    nodes = {name: Plugin(partial(register_node, cluster.node(name), name)) for name in NODES}

    def live(number: int) -> str:
        name, node = f"pvc-{number}", NODES[number % len(NODES)]
        volume_id = str(_ok(controller, "CreateVolume", create(name=name)).volume.volume_id)
        _ok(controller, "ControllerPublishVolume", attach(volume_id=volume_id, node_id=node))
        paths = {"staging_target_path": f"/staging/{number}", "target_path": f"/pods/{number}"}
        staging = {"staging_target_path": paths["staging_target_path"]}
        target = {"target_path": paths["target_path"]}
        _ok(nodes[node], "NodeStageVolume", stage(volume_id=volume_id, **staging))
        _ok(nodes[node], "NodePublishVolume", publish(volume_id=volume_id, **paths))
        _ok(
            nodes[node],
            "NodeUnpublishVolume",
            csi_pb2.NodeUnpublishVolumeRequest(volume_id=volume_id, **target),
        )
        _ok(
            nodes[node], "NodeUnstageVolume", csi_pb2.NodeUnstageVolumeRequest(volume_id=volume_id, **staging)
        )
        away = csi_pb2.ControllerUnpublishVolumeRequest(volume_id=volume_id, node_id=node)
        _ok(controller, "ControllerUnpublishVolume", away)
        _ok(controller, "DeleteVolume", csi_pb2.DeleteVolumeRequest(volume_id=volume_id))
        return volume_id

    with ThreadPoolExecutor(WORKERS) as pool:
        assert len(set(pool.map(live, range(VOLUMES)))) == VOLUMES
    assert control.volumes.list() == ()
    for node in cluster.nodes.values():
        held = (node.replicas, node.exports, node.arrays, node.staged, node.published)
        assert not any(held), node.name


def test_the_same_creation_by_many_makes_one_volume(cluster: FakeCluster, control: Control) -> None:
    """From several instances of the plugin, too: the store decides who was first."""
    plugins = [Plugin(partial(register_controller, control)) for _ in range(3)]

    def make(number: int) -> tuple[str, str]:
        code, details, answer = plugins[number % 3].call("CreateVolume", create())
        return code.name, answer.volume.volume_id if answer else details

    with ThreadPoolExecutor(WORKERS) as pool:
        outcomes = set(pool.map(make, range(24)))
    (volume,) = control.volumes.list()
    assert ("OK", volume.id) in outcomes
    assert {code for code, _ in outcomes} <= {"OK", "ABORTED"}
    assert sum(len(node.replicas) for node in cluster.nodes.values()) == 3


def _ok(plugin: Plugin, method: str, request: Message) -> Any:  # noqa: ANN401 - each call has its own
    code, details, answer = plugin.call(method, request)
    assert code.name == "OK", f"{method}: {code.name}: {details}"
    return answer
