"""What is said of pools stays with them, whatever people do to the objects."""

from pathlib import Path

from hack.kubernetes.plane import ControlPlane
from replication.clock import wait_until
from replication.kubernetes.client import Client
from replication.model import GIB
from tests.kubernetes.patience import CLOCK, patiently
from tests.kubernetes.test_operator_pools import DISK_POOLS, cluster, make_pool, names, wait_for_condition


def test_a_disk_pool_that_somebody_deletes_is_made_anew_with_all_that_is_said_of_it(
    plane: ControlPlane, admin: Client, tmp_path: Path
) -> None:
    with cluster(plane, admin, ["m1"], tmp_path):
        make_pool(admin, replicas=1)
        wait_for_condition(admin, {"status": "True"})
        before = patiently(lambda: admin.get(f"{DISK_POOLS}/nvme.m1"))
        admin.delete(f"{DISK_POOLS}/nvme.m1")

        def is_told() -> bool:
            found = admin.get(f"{DISK_POOLS}/nvme.m1") if names(admin, DISK_POOLS) else before
            return found["metadata"]["uid"] != before["metadata"]["uid"] and "status" in found

        wait_until(is_told, "the new one has a status", timeout=60, clock=CLOCK)
        assert admin.get(f"{DISK_POOLS}/nvme.m1")["status"]["capacity"] == 100 * GIB
