"""Volumes as pods use them: scheduler, provisioner, attacher, resizer and kubelets are the real ones."""

import pytest

from tests.cluster.pods import DEVICE, PATH, STORAGE_CLASS, Cluster, ephemeral, make_claim, make_pod, of_claim
from tests.cluster.remains import find_left

GROUP = 2000


def test_a_pod_writes_to_its_own_volume_of_three_replicas(cluster: Cluster) -> None:
    cluster.apply(make_pod("one", ephemeral(STORAGE_CLASS)))
    cluster.wait_for_condition("one")
    cluster.run("one", f"echo hello > {PATH}/file && sync")
    assert cluster.run("one", f"cat {PATH}/file") == "hello\n"
    (volume,) = cluster.list("volumes")
    assert {replica["node"] for replica in volume["spec"]["replicas"]} == {"m1", "m2", "m3"}
    assert volume["spec"]["consumer"] == cluster.get("pods", "one")["spec"]["nodeName"]


@pytest.mark.more
def test_nothing_is_left_of_a_pod_and_its_volume(cluster: Cluster) -> None:
    cluster.apply(make_pod("short", ephemeral(STORAGE_CLASS)))
    cluster.wait_for_condition("short")
    cluster.clean()
    cluster.wait(lambda: not list(find_left(cluster)), "nothing left")


def test_a_claim_outlives_its_pod_and_is_used_on_another_node(cluster: Cluster) -> None:
    cluster.apply(make_claim("kept", STORAGE_CLASS), make_pod("first", of_claim("kept"), node="m1"))
    cluster.wait_for_condition("first")
    cluster.run("first", f"dd if=/dev/zero bs=1M count=8 | tee {PATH}/file | md5sum > {PATH}/sum; sync")
    cluster.delete("pods", "first")
    cluster.apply(make_pod("second", of_claim("kept"), node="m2"))
    cluster.wait_for_condition("second")
    assert cluster.run("second", f"md5sum < {PATH}/file") == cluster.run("second", f"cat {PATH}/sum")


def test_a_volume_grows_while_a_pod_uses_it(cluster: Cluster) -> None:
    cluster.apply(make_claim("grown", STORAGE_CLASS), make_pod("user", of_claim("grown")))
    cluster.wait_for_condition("user")
    before = measure_kib(cluster, "user")
    cluster.apply(make_claim("grown", STORAGE_CLASS, "128Mi"))
    cluster.wait(lambda: measure_kib(cluster, "user") > before + 50 * 1024, "a bigger file system")
    cluster.wait(lambda: capacity(cluster, "grown") == "128Mi", "the claim to say so")


@pytest.mark.more
def test_a_block_volume_is_a_device_in_the_pod(cluster: Cluster) -> None:
    cluster.apply(
        make_claim("raw", STORAGE_CLASS, volumeMode="Block"), make_pod("blocks", of_claim("raw"), block=True)
    )
    cluster.wait_for_condition("blocks")
    cluster.run("blocks", f"echo raw words | dd of={DEVICE} bs=4096 conv=sync && sync")
    assert cluster.run("blocks", f"dd if={DEVICE} bs=4096 count=1 | head -c 9") == "raw words"


@pytest.mark.more
def test_a_pods_group_can_write(cluster: Cluster) -> None:
    user = {"runAsUser": 65534, "runAsGroup": GROUP, "fsGroup": GROUP}
    cluster.apply(make_pod("grouped", ephemeral(STORAGE_CLASS), securityContext=user))
    cluster.wait_for_condition("grouped")
    cluster.run("grouped", f"echo mine > {PATH}/file")
    assert cluster.run("grouped", f"stat -c %g {PATH} {PATH}/file").split() == [str(GROUP)] * 2


def measure_kib(cluster: Cluster, pod: str) -> int:
    """The size of its file system."""
    blocks, size = cluster.run(pod, f"stat -f -c '%b %S' {PATH}").split()
    return int(blocks) * int(size) // 1024


def capacity(cluster: Cluster, claim: str) -> str:
    found: str = cluster.get("persistentvolumeclaims", claim)["status"]["capacity"]["storage"]
    return found
