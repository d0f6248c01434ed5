"""What there still is of volumes that are no more."""

from collections.abc import Iterator

from hack.lab.remains import logical_volumes, traces
from tests.cluster.pods import Cluster


def find_left(cluster: Cluster) -> Iterator[str]:
    """Records, replicas, exports, connections, arrays, mounts."""
    yield from (f"volume {volume['metadata']['name']}" for volume in cluster.list("volumes"))
    for machine in cluster.machines.machines:
        yield from (f"{machine.name}: {name}" for name in logical_volumes(machine))
        yield from (f"{machine.name}: {trace}" for trace in traces(machine).splitlines())
