"""What CreateVolume means to the control plane, and whether what is there already is what was asked for."""

from collections.abc import Iterable

from csi.capabilities import Access
from csi.capacity import CapacityRange, choose_size
from csi.identifiers import FILESYSTEM_CONTEXT
from csi.parameters import MUTABLE, check_minimum
from csi.requests import Create
from csi.topology import find_preferred, find_required
from replication.control.control import Control
from replication.control.lifecycle import VolumeRequest
from replication.errors import AlreadyExists, InvalidRequest, OutOfRange, OutOfSpace
from replication.model import Node, Phase, Pool, Volume

CHANGEABLE = frozenset({"hyperconverged", *MUTABLE})
"""Of the parameters: what a volume may be asked for otherwise by a repeat, since its class, or the one of its
attributes, was changed before its maker had an answer."""


def to_request(wanted: Create, control: Control, existing: Volume | None) -> VolumeRequest:
    """OutOfSpace when no node is where the volume must be; of one that exists, that is checked later."""
    pool = find_pool(wanted.storage_class.pool, control.pools.list())
    inside = frozenset(pool.nodes)
    nodes = tuple(node for node in control.nodes.list() if node.name in inside)
    count = _count_replicas(wanted, pool)
    cluster, places = control.store.cluster(), wanted.accessibility
    required = () if existing else find_required(places, nodes, cluster, single=count == 1)
    return VolumeRequest(
        name=wanted.name,
        size_bytes=_choose_size(wanted, existing),
        pool=pool.name,
        replica_count=wanted.storage_class.replica_count,
        parameters=_choose_parameters(wanted, existing),
        preferred_nodes=find_preferred(places, nodes, cluster),
        required_nodes=required,
        spread=wanted.storage_class.spread,
        limits=wanted.storage_class.limits,
    )


def _count_replicas(wanted: Create, pool: Pool) -> int:
    count = wanted.storage_class.replica_count or pool.replica_count
    check_minimum(wanted.storage_class.min_in_sync, count)
    return count


def find_pool(name: str, pools: Iterable[Pool]) -> Pool:
    known = {pool.name: pool for pool in pools}
    if name not in known:
        allowed = ", ".join(sorted(known)) or "there is none yet"
        raise InvalidRequest(f"parameter 'pool' ({name!r}): no such pool; must be one of: {allowed}")
    return known[name]


def check_existing(volume: Volume, wanted: Create, nodes: Iterable[Node], cluster: str) -> None:
    """AlreadyExists when a volume that was there before cannot be used where it must be."""
    single = volume.replica_count == 1
    try:
        required = find_required(wanted.accessibility, nodes, cluster, single=single)
    except OutOfSpace as reason:
        raise AlreadyExists(f"volume {wanted.name!r} exists; {reason}") from reason
    lies = {replica.node for replica in volume.replicas}
    if required and not lies & set(required):
        raise AlreadyExists(
            f"volume {wanted.name!r} exists and is usable on node {', '.join(sorted(lies))} only, but "
            f"accessibility_requirements ask for {' or '.join(required)}"
        )


def wants_other_limits(volume: Volume, wanted: Create) -> bool:
    """Than those that it was made with, whatever it has been given since."""
    made, said = dict(volume.parameters), dict(wanted.storage_class.to_record(wanted.filesystem))
    return any(made.get(key) != said.get(key) for key in MUTABLE)


def check_filesystem(volume: Volume, access: Access) -> None:
    made_for = dict(volume.parameters).get(FILESYSTEM_CONTEXT, access.filesystem)
    if access.filesystem not in ("", made_for):
        raise InvalidRequest(
            f"volume_capability: mount.fs_type {access.filesystem!r}: volume {volume.id} was made for "
            f"{made_for!r}"
        )


def check_limit(volume: Volume, wanted: CapacityRange) -> None:
    if wanted.forbids(volume.size_bytes):
        raise OutOfRange(
            f"volume {volume.id} has {volume.size_bytes} bytes already: a volume never becomes smaller, "
            f"and limit_bytes is {wanted.limit_bytes}"
        )


def _choose_parameters(wanted: Create, existing: Volume | None) -> tuple[tuple[str, str], ...]:
    """Of a volume that is there, what can be changed is as it is."""
    said = wanted.storage_class.to_record(wanted.filesystem)
    if existing is None:
        return said
    kept = (each for each in existing.parameters if each[0] in CHANGEABLE)
    return (*kept, *(each for each in said if each[0] not in CHANGEABLE))


def _choose_size(wanted: Create, existing: Volume | None) -> int:
    """Of a volume that is there, any size within the range will do, as the specification has it."""
    if existing is not None and existing.phase is not Phase.DELETING:
        size = existing.target_size_bytes or existing.size_bytes
        if wanted.capacity.admits(size):
            return size
    return choose_size(wanted.capacity, wanted.least_bytes)
