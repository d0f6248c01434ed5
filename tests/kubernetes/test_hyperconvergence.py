"""Where the scheduler puts pods of a hyperconverged class: admission, API server and scheduler are real."""

from collections.abc import Iterator

import pytest

from csi.admission.known import CLASSES, DISK_POOLS
from csi.failover.objects import NODES
from csi.identity import NAME
from hack.helm.chart import list_rules
from hack.kubernetes.manifests import apply_documents
from replication.clock import wait_until
from replication.kubernetes.access import Json
from replication.model import Volume
from tests.kubernetes.admission_stand import admitting
from tests.kubernetes.theatre import PODS, Theatre, playing

pytestmark = pytest.mark.more

NAMES = ("a", "b", "c", "d", "e", "f")
PODS_OF_EACH = 20


@pytest.fixture(scope="module")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    with playing(tmp_path_factory.mktemp("csi"), NAMES) as running:
        apply_documents(running.admin, list_rules())
        for node in NAMES:
            _make_disk_pool(running, node)
        yield running


def test_pods_run_where_their_replicas_are_when_their_class_says_so(theatre: Theatre) -> None:
    """Without it the scheduler knows nothing of replicas, which are on every second node."""
    _make_class(theatre, "near", hyperconverged="true")
    _make_class(theatre, "far")
    volumes: list[Volume] = []
    with admitting(theatre.plane, volumes, "claims=Always"):
        wait_until(lambda: _is_drawn(theatre, volumes), "near is known", timeout=60, clock=theatre.clock)
        near, far = (_count_local(theatre, volumes, name) for name in ("near", "far"))
    print(f"figure hyperconverged_local {near} of {PODS_OF_EACH}, without {far}")
    assert near == PODS_OF_EACH
    assert far < PODS_OF_EACH


def test_a_pod_runs_elsewhere_when_its_replicas_nodes_take_none(theatre: Theatre) -> None:
    _make_class(theatre, "kept", hyperconverged="true")
    volumes: list[Volume] = []
    with admitting(theatre.plane, volumes, "claims=Always"):
        wait_until(lambda: _is_drawn(theatre, volumes, "kept"), "known", timeout=60, clock=theatre.clock)
        volume = _make_volume(theatre, volumes, "away", "kept")
        for node in _holders(volume):
            theatre.admin.patch(
                f"{NODES}/{node}", [{"op": "add", "path": "/spec/unschedulable", "value": True}]
            )
        _run(theatre, "away")
        assert _find_node(theatre, "away") not in _holders(volume)


def _count_local(theatre: Theatre, volumes: list[Volume], class_name: str) -> int:
    names = [f"{class_name}-{number}" for number in range(PODS_OF_EACH)]
    made = {name: _make_volume(theatre, volumes, name, class_name) for name in names}
    for name in names:
        _run(theatre, name)
    return sum(_find_node(theatre, name) in _holders(volume) for name, volume in made.items())


def _make_volume(theatre: Theatre, volumes: list[Volume], name: str, class_name: str) -> Volume:
    volume = theatre.make_claim(name, class_name)
    volumes.append(volume)
    return volume


def _is_drawn(theatre: Theatre, volumes: list[Volume], class_name: str = "near") -> bool:
    """Whether admission has heard of the class and of all disk pools by now."""
    if not volumes:
        _make_volume(theatre, volumes, f"probe-{class_name}", class_name)
    _run(theatre, f"probe-{class_name}")
    path = f"{PODS}/probe-{class_name}"
    drawn = "affinity" in theatre.admin.get(path)["spec"]
    theatre.admin.delete(path, grace_seconds=0)
    return drawn


def _holders(volume: Volume) -> set[str]:
    return {replica.node for replica in volume.replicas}


def _make_class(theatre: Theatre, name: str, **parameters: str) -> None:
    wanted: Json = {"kind": "StorageClass", "metadata": {"name": name}, "provisioner": NAME}
    theatre.admin.create(CLASSES, {**wanted, "parameters": {"pool": "nvme", **parameters}})


def _make_disk_pool(theatre: Theatre, node: str) -> None:
    name = f"nvme-{node}"
    wanted: Json = {"apiVersion": "trilith.io/v1alpha1", "kind": "DiskPool", "metadata": {"name": name}}
    theatre.admin.create(DISK_POOLS, {**wanted, "spec": {"pool": "nvme", "node": node}})
    words = {"reason": "Told", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    told = {"available": 1 << 40, "conditions": [{"type": "Ready", "status": "True", **words}]}
    theatre.admin.patch(f"{DISK_POOLS}/{name}/status", [{"op": "add", "path": "/status", "value": told}])


def _run(theatre: Theatre, claim: str) -> None:
    """A pod called as its claim."""
    spec = {
        "containers": [{"name": "main", "image": "none"}],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}],
    }
    theatre.admin.create(PODS, {"kind": "Pod", "metadata": {"name": claim}, "spec": spec})


def _find_node(theatre: Theatre, pod: str) -> str:
    theatre.wait_running(pod, set(NAMES))
    return theatre.find_node(pod)
