"""Checked writes to what pods have: every acknowledged one is known, outside the machine that makes it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from hack.checker.collector import Collector, Verdict
from hack.lab.checking import Load, dump
from hack.lab.errors import LabError
from hack.lab.network import HOST_ADDRESS
from replication.kernel.md_state import device_of
from tests.cluster.pods import Cluster, is_so
from tests.lab.stand import Checked

FIRST_WRITES = 100
LOAD = Load(writers=3, pause=0.3, cgroup="/sys/fs/cgroup/kubepods/writers")
"""One of each kind, as pods that asked for a processor: among those that did not they would wait for one, not
for volumes, and in the root's cgroup each would count ten times as much as the kubelet. Without pauses the
kernel, on the only processor of each machine, would leave little to anybody."""


@contextmanager
def writing(cluster: Cluster, pod: str, claim: str = "") -> Iterator[Checked]:
    """To the block volume that a pod which is ready has as its own, or by the claim that it names."""
    node = cluster.get("pods", pod)["spec"]["nodeName"]
    volume = find_volume_id(cluster, claim or f"{pod}-data")
    with Collector(HOST_ADDRESS) as collector:
        checked = Checked(cluster.machines[node], device_of(volume), collector, load=LOAD)
        try:
            checked.wait_for_writes(FIRST_WRITES)
            yield checked
        finally:
            with suppress(LabError):  # its machine is gone
                checked.writer.kill()


def read_again(cluster: Cluster, checked: Checked, node: str) -> Verdict:
    """Where the volume is now, after the writers have ended."""
    return checked.collector.judge(dump(cluster.machines[node], checked.device, writers=LOAD.writers))


def find_volume_id(cluster: Cluster, claim: str) -> str:
    name = cluster.get("persistentvolumeclaims", claim)["spec"]["volumeName"]
    return str(cluster.get("persistentvolumes", name)["spec"]["csi"]["volumeHandle"])


def are_redundant(cluster: Cluster) -> bool:
    """All volumes, by what their records say and by what is told of them."""
    return all(
        is_so(volume, "Redundant")
        and all(replica["state"] == "in_sync" for replica in volume["spec"]["replicas"])
        for volume in cluster.list("volumes")
    )
