"""Manifests that users copy from README.md and docs: those of the pool are applied before all tests."""

import pytest

from hack.kubernetes.documented import GUIDE, README, get_manifest
from hack.kubernetes.images import BUSYBOX
from hack.kubernetes.linked import FIO
from tests.cluster.pods import Cluster, Json, make_pod, of_claim

DONE_SECONDS = 600.0


@pytest.mark.more
def test_the_readmes_pod_runs_fio_on_a_volume_of_its_own(cluster: Cluster) -> None:
    cluster.apply(with_image(get_manifest(README, "Pod"), FIO))
    cluster.wait(lambda: find_phase(cluster, "fio") in {"Succeeded", "Failed"}, "fio's end", DONE_SECONDS)
    said = cluster.kubectl.run("logs", "fio")
    assert find_phase(cluster, "fio") == "Succeeded", said
    assert "err= 0" in said
    (volume,) = cluster.list("volumes")
    assert len(volume["spec"]["replicas"]) == 3


@pytest.mark.more
def test_the_guides_pod_and_claim_are_what_they_are_said_to_be(cluster: Cluster) -> None:
    pod, claim = with_image(get_manifest(GUIDE, "Pod"), BUSYBOX), get_manifest(GUIDE, "PersistentVolumeClaim")
    name = claim["metadata"]["name"]
    cluster.apply(pod, claim, make_pod("user", of_claim(name)))
    for each in (pod["metadata"]["name"], "user"):
        cluster.wait_for_condition(each)
    owned = [found["metadata"]["name"] for found in cluster.list("persistentvolumeclaims")]
    assert sorted(owned) == [name, f"{pod['metadata']['name']}-data"]
    cluster.delete("pods", pod["metadata"]["name"])
    cluster.delete("pods", "user")
    cluster.wait(lambda: len(cluster.list("volumes")) == 1, "the pod's own volume gone")
    assert [found["metadata"]["name"] for found in cluster.list("persistentvolumeclaims")] == [name]


def with_image(pod: Json, image: str) -> Json:
    """That of the lab, which has no registry."""
    (container,) = pod["spec"]["containers"]
    container["image"] = image
    return pod


def find_phase(cluster: Cluster, pod: str) -> str:
    return str(cluster.get("pods", pod)["status"]["phase"])
