"""Where pods run, by where their volumes are."""

from collections.abc import Iterator

import pytest

from csi.identity import NAME
from tests.cluster.pods import PATH, POOL, Cluster, make_claim, make_pod, of_claim, why_not_scheduled

TIMES = 3


@pytest.fixture
def alone(cluster: Cluster) -> Iterator[str]:
    """A class of volumes of one replica."""
    name = "alone"
    cluster.apply(
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": name},
            "provisioner": NAME,
            "parameters": {"pool": POOL, "replicas": "1"},
            "volumeBindingMode": "WaitForFirstConsumer",
        }
    )
    yield name
    cluster.delete("storageclasses", name)


@pytest.mark.more
def test_a_volume_of_one_replica_is_used_where_it_is_and_nowhere_else(cluster: Cluster, alone: str) -> None:
    cluster.apply(make_claim("db", alone), make_pod("first", of_claim("db"), node="m2"))
    cluster.wait_for_condition("first")
    cluster.run("first", f"echo hello > {PATH}/file && sync")
    cluster.delete("pods", "first")
    for number in range(TIMES):
        name = f"again-{number}"
        cluster.apply(make_pod(name, of_claim("db")))
        cluster.wait_for_condition(name)
        assert cluster.get("pods", name)["spec"]["nodeName"] == "m2"
        assert cluster.run(name, f"cat {PATH}/file") == "hello\n"
        cluster.delete("pods", name)
    cluster.apply(make_pod("elsewhere", of_claim("db"), node="m3"))
    cluster.wait(lambda: "volume" in why_not_scheduled(cluster, "elsewhere").lower(), "a refusal")
