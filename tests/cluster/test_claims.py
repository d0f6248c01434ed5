"""What claims ask for, and are told: acceptance, one pod alone, room, tiers."""

import pytest

from csi.claims import ANNOTATION
from hack.lab.errors import LabError
from replication.errors import NotFound
from tests.cluster.pods import (
    STORAGE_CLASS,
    Cluster,
    ephemeral,
    make_claim,
    make_pod,
    of_claim,
    why_not_scheduled,
)
from tests.cluster.writing import find_volume_id

MOST_OF_A_DISK = "1200Mi"


def test_a_claim_that_accepts_nothing_is_refused_with_what_to_add(cluster: Cluster) -> None:
    claim = make_claim("data", STORAGE_CLASS)
    del claim["metadata"]["annotations"]
    with pytest.raises(
        LabError, match=f'to accept that, add the annotation {ANNOTATION}: "true" to the claim'
    ):
        cluster.apply(claim)
    with pytest.raises(NotFound):
        cluster.get("persistentvolumeclaims", "data")


@pytest.mark.more
def test_a_claim_for_one_pod_is_one_pods(cluster: Cluster) -> None:
    claim = make_claim("alone", STORAGE_CLASS, accessModes=["ReadWriteOncePod"])
    cluster.apply(claim, make_pod("first", of_claim("alone")))
    cluster.wait_for_condition("first")
    cluster.apply(make_pod("second", of_claim("alone")))
    cluster.wait(lambda: "ReadWriteOncePod" in why_not_scheduled(cluster, "second"), "a refusal")
    cluster.delete("pods", "first")
    cluster.wait_for_condition("second")


@pytest.mark.more
def test_a_pod_waits_until_there_is_room(cluster: Cluster) -> None:
    cluster.apply(make_pod("large", ephemeral(STORAGE_CLASS, MOST_OF_A_DISK)))
    cluster.wait_for_condition("large")
    cluster.apply(make_pod("patient", ephemeral(STORAGE_CLASS, MOST_OF_A_DISK)))
    cluster.wait(lambda: "enough free storage" in why_not_scheduled(cluster, "patient"), "no room")
    cluster.delete("pods", "large")
    cluster.wait_for_condition("patient")


@pytest.mark.more
def test_the_tier_of_a_volume_changes_while_a_pod_uses_it(cluster: Cluster) -> None:
    claim = make_claim("tuned", STORAGE_CLASS, volumeAttributesClassName=f"{STORAGE_CLASS}-basic")
    cluster.apply(claim, make_pod("user", of_claim("tuned")))
    cluster.wait_for_condition("user")
    assert read_bounds(cluster, "user", "tuned") == "rbps=max wbps=max riops=120000 wiops=45000"
    cluster.apply(make_claim("tuned", STORAGE_CLASS, volumeAttributesClassName=f"{STORAGE_CLASS}-premium"))
    cluster.wait(lambda: current_class(cluster, "tuned") == f"{STORAGE_CLASS}-premium", "the claim to say so")
    assert read_bounds(cluster, "user", "tuned") == "rbps=max wbps=max riops=550000 wiops=180000"


def read_bounds(cluster: Cluster, pod: str, claim: str) -> str:
    """What the kernel of the pod's node allows to its volume."""
    machine = cluster.machines[cluster.get("pods", pod)["spec"]["nodeName"]]
    device = f"/sys/block/md_{find_volume_id(cluster, claim)}/dev"
    return machine.succeed(f'sed -n "s/^$(cat {device}) //p" /sys/fs/cgroup/kubepods/io.max').strip()


def current_class(cluster: Cluster, claim: str) -> str:
    status = cluster.get("persistentvolumeclaims", claim)["status"]
    return str(status.get("currentVolumeAttributesClassName", ""))
