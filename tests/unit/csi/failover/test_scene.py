"""What a silent node's view says of pods there, and what is asked of the API server for it."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import cast

import pytest

from csi.failover.acting import MARK, RETIRED
from csi.failover.deciding import NodeView, Pod, Sighting, VolumeThere
from csi.failover.objects import ATTACHMENTS, CLAIMS, LEASES, NODES, PODS, VOLUMES
from csi.failover.scene import Scene
from csi.identity import NAME
from replication.control.control import Control
from replication.errors import NotFound
from replication.kubernetes.access import Json
from replication.kubernetes.client import Client, Refused
from tests.fakes.clock import HandClock
from tests.unit.control.test_volumes import make, wanted
from tests.unit.kubernetes.server import FakeServer

SILENT = {"a": Sighting("a", answers_us=False), "b": Sighting("b", answers_us=True)}
OF_DB = Pod("shop", "db-0", "uid-db-0", frozenset({"data"}))


class FakeApi:
    """Node a is not ready; `objects` are read by their paths, and pods are all its."""

    def __init__(self) -> None:
        self.nodes, self.attachments = FakeServer(), FakeServer()
        self.pods: list[Json] = []
        self.objects: dict[str, Json] = {}
        self.asked: list[str] = []
        self.refused: set[str] = set()

    def get(self, path: str, **query: str) -> Json:
        if path in {NODES, ATTACHMENTS}:
            return self._server(path).get(path, **query)
        self.asked.append(path)
        if path == PODS:
            assert query == {"fieldSelector": "spec.nodeName=a"}
            return {"items": self.pods}
        if path in self.refused:
            raise Refused(path)
        if path not in self.objects:
            raise NotFound(path)
        return self.objects[path]

    def stream(self, path: str, silence_seconds: float, **query: str) -> AbstractContextManager[FakeServer]:
        return self._server(path).stream(path, silence_seconds, **query)

    def _server(self, path: str) -> FakeServer:
        return {NODES: self.nodes, ATTACHMENTS: self.attachments}[path]

    def add_node(self, *taints: Json, ready: str = "Unknown") -> None:
        status = {"conditions": [{"type": "Ready", "status": ready}]}
        self.nodes.items = [{**_named("a"), "spec": {"taints": list(taints)}, "status": status}]

    def attach(self, volume: str, driver: str = NAME) -> None:
        spec = {"nodeName": "a", "attacher": driver, "source": {"persistentVolumeName": volume}}
        self.attachments.items.append({**_named(f"csi-{volume}"), "spec": spec, "status": {"attached": True}})

    def bind(self, claim: str, volume: str) -> None:
        self.objects[CLAIMS.format(namespace="shop", name=claim)] = {"spec": {"volumeName": volume}}

    def run(self, name: str, *volumes: Json, phase: str = "Running") -> None:
        metadata = {"namespace": "shop", "name": name, "uid": f"uid-{name}"}
        self.pods.append({"metadata": metadata, "spec": {"volumes": volumes}, "status": {"phase": phase}})


def _named(name: str) -> Json:
    return {"metadata": {"name": name, "uid": f"uid-{name}", "resourceVersion": "5"}}


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
def control() -> Control:
    _, control = make()
    return control


@pytest.fixture
def scene(api: FakeApi, control: Control) -> Iterator[Scene]:
    volume = control.volumes.create(wanted())
    claim = {"namespace": "shop", "name": "data"}
    source = {"csi": {"driver": NAME, "volumeHandle": volume.id}, "claimRef": claim}
    api.objects[f"{VOLUMES}/pvc-data"] = {"spec": source}
    opened = Scene(cast("Client", api), control, HandClock())
    yield opened
    opened.close()
    api.nodes.end_watch()
    api.attachments.end_watch()


def look(scene: Scene) -> NodeView:
    (view,), _ = scene.view(SILENT)
    return view


def test_a_silent_node_without_a_node_does_not_count(api: FakeApi, scene: Scene) -> None:
    """Else of three nodes two could be given up at once, while records of three that are gone are there."""
    api.add_node(ready="True")
    gone = {name: Sighting(name, answers_us=False) for name in ("x", "y", "z")}
    views, total = scene.view({**SILENT, **gone})
    assert ([view.name for view in views], total) == (["a"], 2), "b is heard"


def claim(name: str) -> Json:
    return {"name": name, "persistentVolumeClaim": {"claimName": name}}


def test_a_node_with_pods_of_ours_and_of_its_own_disks_is_nobody_elses(api: FakeApi, scene: Scene) -> None:
    api.add_node(MARK)
    api.attach("pvc-data")
    api.run("db-0", claim("data"), {"name": "tmp", "emptyDir": {}})
    api.run("plain")
    view = look(scene)
    assert not view.foreign
    assert view.pods == (OF_DB,)


@pytest.mark.parametrize("phase", ["Running", "Pending", "Succeeded", "Failed"])
def test_a_pod_that_uses_a_share_makes_it_foreign_until_it_is_over(
    api: FakeApi, scene: Scene, phase: str
) -> None:
    api.add_node(MARK)
    api.run("files", {"name": "share", "nfs": {"server": "s", "path": "/"}}, phase=phase)
    assert look(scene).foreign is (phase in {"Running", "Pending"})


def test_so_does_an_attachment_of_another_driver(api: FakeApi, scene: Scene) -> None:
    api.add_node(MARK)
    api.attach("theirs", "csi.example.com")
    assert look(scene).foreign


@pytest.mark.parametrize(
    ("taints", "ready"),
    [((), "Unknown"), ((MARK,), "True"), ((MARK, RETIRED), "Unknown")],
    ids=["not given up", "ready", "out of service"],
)
def test_a_node_that_may_not_be_retired_is_foreign_whatever_its_pods_use(
    api: FakeApi, scene: Scene, taints: tuple[Json, ...], ready: str
) -> None:
    api.add_node(*taints, ready=ready)
    api.run("plain")
    assert look(scene).foreign


def test_nobody_asks_what_pods_use_of_a_node_that_is_silent_for_now(api: FakeApi, scene: Scene) -> None:
    api.add_node(ready="True")
    api.run("db-0", claim("data"))
    assert look(scene).volumes == ()
    assert PODS not in api.asked


@pytest.mark.parametrize(("taints", "ready"), [((), "Unknown"), ((MARK,), "True"), ((MARK,), "Unknown")])
@pytest.mark.parametrize("holder", [None, "a", "b"])
def test_a_volume_that_a_pod_waits_for_is_there(
    api: FakeApi, scene: Scene, control: Control, taints: tuple[Json, ...], ready: str, holder: str | None
) -> None:
    """Without an attachment. It is fenced first if the record has it there, and not if it never was."""
    (volume,) = control.volumes.list()
    if holder:
        control.volumes.attach(volume.id, holder)
    api.add_node(*taints, ready=ready)
    api.bind("data", "pvc-data")
    api.run("db-0", claim("data"))
    view = look(scene)
    held = holder == "a"
    assert view.volumes == (VolumeThere(volume.id, ("shop", "data"), held=held, attached=held),)
    assert view.pods == (OF_DB,)


def test_so_is_one_that_its_claim_is_bound_to_later(api: FakeApi, scene: Scene) -> None:
    api.add_node()
    api.run("db-0", claim("data"))
    assert look(scene).volumes == ()
    api.bind("data", "pvc-data")
    assert [volume.claim for volume in look(scene).volumes] == [("shop", "data")]


def test_what_the_api_server_refuses_of_one_claim_holds_up_nobody_else(api: FakeApi, scene: Scene) -> None:
    api.add_node(MARK)
    api.attach("pvc-data")
    api.refused.add(CLAIMS.format(namespace="shop", name="share"))
    api.run("db-0", claim("data"))
    api.run("files", claim("share"))
    view = look(scene)
    assert view.pods == (OF_DB,)
    assert view.foreign, "nobody knows what the other pod uses"


def test_what_is_attached_is_there_once_and_others_volumes_are_not(api: FakeApi, scene: Scene) -> None:
    api.add_node()
    api.attach("pvc-data")
    api.objects[f"{VOLUMES}/theirs"] = {"spec": {"csi": {"driver": "csi.example.com", "volumeHandle": "v"}}}
    api.bind("data", "pvc-data")
    api.bind("share", "theirs")
    api.run("db-0", claim("data"), claim("share"))
    api.run("db-1", claim("data"))
    (there,) = look(scene).volumes
    assert (there.claim, there.attached) == (("shop", "data"), True)


def test_a_renewal_counts_as_one_when_it_comes_while_somebody_watches(api: FakeApi, scene: Scene) -> None:
    """The node's clock is hours behind, so that no Lease of it ever holds."""
    api.add_node(MARK, ready="True")
    for minute, renewed in ((0, False), (0, False), (1, True), (1, True)):
        spec = {"renewTime": f"2000-01-01T00:0{minute}:00.000000Z", "leaseDurationSeconds": 40}
        api.objects[f"{LEASES}/a"] = {"spec": spec}
        assert look(scene).kubelet.renewed is renewed
    assert look(scene).kubelet.lasts_seconds == 40


def test_pods_with_our_claims_are_found_whatever_else_is_known(api: FakeApi, scene: Scene) -> None:
    api.add_node(ready="True")
    api.attach("pvc-data")
    api.run("db-0", claim("data"))
    api.run("files", claim("share"))
    assert look(scene).pods == (OF_DB,)
    assert [path for path in api.asked if "persistentvolumeclaims" in path] == []
