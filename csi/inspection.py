"""What there is room for, and how volumes are: questions that nodes have to be asked for."""

from collections.abc import Iterator
from itertools import islice

from google.protobuf import wrappers_pb2

from csi.capabilities import DEFAULT_FILESYSTEM, find_filesystem
from csi.capacity import LEAST_BYTES
from csi.making import find_pool
from csi.requests import GetCapacity
from csi.topology import match_nodes
from csi.v1 import csi_pb2
from replication.control import health
from replication.control.control import Control
from replication.control.lifecycle import VolumeRequest
from replication.errors import TrilithError
from replication.model import AccessType, Ailment, NodeFacts, Pool, Volume

ASK_SECONDS = 3.0
BATCH = 500  # volumes whose nodes are asked at once


class Inspection:
    """Changes nothing."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def find_capacity(self, wanted: GetCapacity) -> csi_pb2.GetCapacityResponse:
        """The largest volume that can be made: with replicas, no other number says what is available."""
        pools = self._control.pools.list()
        if wanted.storage_class.pool:
            pools = (find_pool(wanted.storage_class.pool, pools),)
        largest = max((self._find_largest(pool, wanted) for pool in pools), default=0)
        return csi_pb2.GetCapacityResponse(
            available_capacity=largest,
            maximum_volume_size=wrappers_pb2.Int64Value(value=largest),
            minimum_volume_size=wrappers_pb2.Int64Value(value=_least_bytes(wanted)),
        )

    def _find_largest(self, pool: Pool, wanted: GetCapacity) -> int:
        """In a topology: for one replica what lies in it, for several what can be reached from it."""
        nodes = self._control.nodes.list()
        places = () if wanted.place is None else (wanted.place,)
        inside = match_nodes(places, nodes, self._control.store.cluster())
        if places and not inside:
            return 0
        single = (wanted.storage_class.replica_count or pool.replica_count) == 1
        required = tuple(node for node in inside if node in pool.nodes)
        if single and places and not required:
            return 0
        return self._control.volumes.find_largest(
            VolumeRequest(
                name="",
                size_bytes=0,
                pool=pool.name,
                replica_count=wanted.storage_class.replica_count,
                required_nodes=required if single else (),
                spread=wanted.storage_class.spread,
            )
        )

    def judge_all(self, volumes: Iterator[Volume]) -> Iterator[tuple[Volume, tuple[Ailment, ...]]]:
        """Each node is asked once, when the first of its volumes comes along."""
        answers: dict[str, NodeFacts | TrilithError] = {}
        while batch := tuple(islice(volumes, BATCH)):
            new = health.list_nodes(batch) - answers.keys()
            answers |= self._control.executor.describe(new, ASK_SECONDS)
            yield from ((volume, health.judge(volume, answers)) for volume in batch)


def _least_bytes(wanted: GetCapacity) -> int:
    accesses = wanted.accesses
    if accesses and all(access.type is AccessType.BLOCK for access in accesses):
        return LEAST_BYTES[""]
    return LEAST_BYTES[wanted.storage_class.filesystem or find_filesystem(accesses) or DEFAULT_FILESYSTEM]
