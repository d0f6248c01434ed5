"""Which volumes keep a node in service: those that others may use elsewhere while it is only cut off."""

from typing import cast

import pytest

from csi.failover.bindings import Bindings
from csi.failover.objects import parse_resident
from csi.failover.strangers import has_strangers
from csi.identity import NAME
from replication.errors import NotFound
from replication.kubernetes.access import Json
from replication.kubernetes.client import Client

PERSISTENT = {
    "ours": {"csi": {"driver": NAME, "volumeHandle": "v1"}},
    "local": {"local": {"path": "/disk"}},
    "folder": {"hostPath": {"path": "/folder"}},
    "share": {"csi": {"driver": "nfs.csi.k8s.io", "volumeHandle": "x"}},
    "old-share": {"nfs": {"server": "s", "path": "/"}},
}
NODES_OWN = ("emptyDir", "configMap", "secret", "projected", "downwardAPI", "hostPath", "image", "gitRepo")


class FakeApi:
    """Claims of namespace shop, each bound to the PersistentVolume of its name; `unbound` to none."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def get(self, path: str) -> Json:
        self.asked.append(path)
        place, _, name = path.rpartition("/")
        if place == "/api/v1/namespaces/shop/persistentvolumeclaims" and name in {*PERSISTENT, "unbound"}:
            return {"spec": {} if name == "unbound" else {"volumeName": name}}
        if place == "/api/v1/persistentvolumes" and name in PERSISTENT:
            return {"spec": {"capacity": {"storage": "1Gi"}, **PERSISTENT[name]}}
        raise NotFound(path)


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
def bindings(api: FakeApi) -> Bindings:
    return Bindings(cast("Client", api))


def make_pod(*volumes: Json, name: str = "web") -> Json:
    named = [{"name": f"volume-{number}", **volume} for number, volume in enumerate(volumes)]
    metadata = {"namespace": "shop", "name": name, "uid": f"uid-{name}"}
    return {"metadata": metadata, "spec": {"volumes": named}}


def claim(name: str) -> Json:
    return {"persistentVolumeClaim": {"claimName": name}}


@pytest.mark.parametrize("kind", NODES_OWN)
def test_what_is_the_nodes_own_or_gone_with_the_pod_is_harmless(bindings: Bindings, kind: str) -> None:
    assert not has_strangers([parse_resident(make_pod({kind: {}}))], set(), bindings)


@pytest.mark.parametrize("name", ["ours", "local", "folder"])
def test_claims_of_ours_and_of_the_nodes_disks_are_harmless(bindings: Bindings, name: str) -> None:
    assert not has_strangers([parse_resident(make_pod(claim(name)))], set(), bindings)


@pytest.mark.parametrize("name", ["share", "old-share", "unbound", "missing"])
def test_any_other_claim_is_not(bindings: Bindings, name: str) -> None:
    assert has_strangers([parse_resident(make_pod(claim("ours"), claim(name)))], set(), bindings)


@pytest.mark.parametrize(
    "volume", [{"nfs": {"server": "s"}}, {"csi": {"driver": "nfs.csi.k8s.io"}}, {"of-tomorrow": {}}]
)
def test_what_a_pod_names_itself_is_not(bindings: Bindings, volume: Json) -> None:
    assert has_strangers([parse_resident(make_pod({"emptyDir": {}}, volume))], set(), bindings)


def test_an_inline_volume_of_ours_and_a_pod_without_volumes_are_harmless(bindings: Bindings) -> None:
    pods = [make_pod({"csi": {"driver": NAME}}), make_pod(name="bare")]
    assert not has_strangers(map(parse_resident, pods), set(), bindings)


def test_a_pods_own_claim_is_looked_up_by_its_name(bindings: Bindings, api: FakeApi) -> None:
    pod = make_pod({"name": "share", "ephemeral": {"volumeClaimTemplate": {}}}, name="old")
    assert has_strangers([parse_resident(pod)], set(), bindings)
    assert api.asked == [
        "/api/v1/namespaces/shop/persistentvolumeclaims/old-share",
        "/api/v1/persistentvolumes/old-share",
    ]


def test_each_pod_is_looked_up_once_and_what_is_known_never(bindings: Bindings, api: FakeApi) -> None:
    pods = [parse_resident(make_pod(claim("ours"), claim("local")))]
    ours = {("shop", "ours")}
    assert not has_strangers(pods, ours, bindings)
    assert len(api.asked) == 2
    assert not has_strangers(pods, ours, bindings)
    assert len(api.asked) == 2
    bindings.forget()
    assert not has_strangers(pods, ours, bindings)
    assert len(api.asked) == 4


def test_nobody_is_asked_when_the_answer_is_known(bindings: Bindings, api: FakeApi) -> None:
    pods = [make_pod({"nfs": {}}, claim("local")), make_pod(claim("local"), name="next")]
    assert has_strangers(map(parse_resident, pods), set(), bindings)
    assert api.asked == []


def test_a_claim_of_that_name_in_another_namespace_is_not_ours(bindings: Bindings) -> None:
    pods = [parse_resident(make_pod(claim("share")))]
    assert has_strangers(pods, {("bank", "share")}, bindings)
