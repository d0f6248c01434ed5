"""What the life of a volume costs the API server, request by request: our own, and not the sidecars'."""

from collections.abc import Iterator

import pytest

from hack.kubernetes.plane import ControlPlane
from replication.clock import SystemClock
from replication.control.control import Control, build_control
from replication.control.store.kubernetes import KubernetesStore
from replication.control.volumes import VolumeRequest
from replication.kubernetes.access import Json, read_kubeconfig
from replication.kubernetes.client import Client
from replication.model import GIB
from tests.fakes.node import FakeCluster
from tests.kubernetes.conftest import ACCOUNT, NAMESPACE

CLOCK = SystemClock()


class Counting(Client):
    """Knows what it asked: the verb, and of which resource. Events are written beside."""

    def __init__(self, plane: ControlPlane) -> None:
        super().__init__(read_kubeconfig(plane.kubeconfig(ACCOUNT)))
        self._asked: list[str] = []

    def take(self) -> list[str]:
        asked, self._asked = self._asked, []
        return [each for each in asked if not each.endswith("events")]

    def _ask(self, method: str, path: str, *rest: object, **more: object) -> Json:
        resource = next(part for part in reversed(path.split("/")) if part in RESOURCES)
        self._asked.append(f"{method} {resource}")
        return super()._ask(method, path, *rest, **more)  # type: ignore[arg-type]


RECORDS = {"clusterrecords", "noderecords", "poolrecords", "settingsrecords", "cordonrecords"}
RESOURCES = {"volumes", "volumenames", "leases", "events", *RECORDS}
LOCK, UNLOCK = "POST leases", "DELETE leases"


@pytest.fixture
def client(plane: ControlPlane, admin: Client) -> Counting:  # noqa: ARG001 (it cleans up)
    return Counting(plane)


@pytest.fixture
def control(client: Counting) -> Iterator[Control]:
    fakes = FakeCluster(["m1", "m2", "m3"])
    store = KubernetesStore(client, fakes.name, CLOCK, NAMESPACE)
    control = build_control(store, fakes.connect, CLOCK)
    fakes.add_to(control)
    yield control
    store.close()


def test_each_step_of_a_volumes_life_asks_for_no_more_than_it_needs(
    client: Counting, control: Control
) -> None:
    volumes, request = control.volumes, VolumeRequest("pvc-1", GIB, "nvme")
    volumes.list()
    control.store.get_settings("nvme")
    client.take()
    made = volumes.create(request).id
    assert client.take() == [
        "GET volumenames",
        LOCK,
        "POST volumes",
        "POST volumenames",
        "PATCH volumes",
        UNLOCK,
    ]
    volumes.attach(made, "m1")
    assert client.take() == [LOCK, "GET volumes", *["PATCH volumes"] * 3, UNLOCK]
    volumes.detach(made, "m1")
    assert client.take() == [LOCK, "GET volumes", *["PATCH volumes"] * 2, UNLOCK]
    volumes.delete(made)
    assert client.take() == [LOCK, *["PATCH volumes"] * 2, "DELETE volumes", UNLOCK]
