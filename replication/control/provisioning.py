"""Volumes made, grown and removed: each begins with a recorded intent and can be taken up from there."""

import secrets
from dataclasses import replace

from replication.control import lifecycle
from replication.control.executor import Executor
from replication.control.insync import in_sync
from replication.control.lifecycle import VolumeRequest
from replication.control.parallel import errors_of
from replication.control.placement import (
    Place,
    Want,
    check_count,
    find_domains,
    largest_size,
)
from replication.control.policies import read_policies
from replication.control.rebuild import find_facts, find_refusal, list_suspects
from replication.control.records import Records
from replication.control.replacement import find_absence
from replication.control.rooms import Rooms, open_groups
from replication.control.settings import find_minimum
from replication.errors import FailedPrecondition, NotFound, OutOfRange, OutOfSpace, TrilithError, Unavailable
from replication.model import Attachment, NodeFacts, Phase, Pool, Replica, ReplicaState, Versioned, Volume

DESCRIBE_SECONDS = 5.0  # whoever asks for room has no use for a node that is silent for longer


def new_volume_id() -> str:
    return f"v{secrets.token_hex(8)}"


class Provisioning:
    """Called under the volume's lock."""

    def __init__(self, records: Records, executor: Executor) -> None:
        self._records = records
        self._executor = executor
        self._rooms = Rooms(executor, records.clock)

    def create(self, volume_id: str, request: VolumeRequest) -> Volume:
        """A new volume, or none: what was begun is undone before the error is raised."""
        pool = self._records.store.get_pool(request.pool)
        count = request.replica_count or pool.replica_count
        places = self._choose_places(pool, self._want(pool, request))
        wall = self._records.clock.wall()
        volume = lifecycle.new_volume(volume_id, request, count, places, wall)
        policy = read_policies(self._records.store)[pool.name]
        volume = replace(volume, min_in_sync=find_minimum(volume, policy))
        return self.make(self._records.store.add_volume(volume).volume)

    def make(self, volume: Volume) -> Volume:
        """From CREATING, however far it came."""
        errors = errors_of(self._executor.ensure_replicas(volume))
        if errors:
            self._give_up(volume)
            raise _worst(f"volume {volume.name} was not made", volume, errors)
        told = ("created", f"{volume.replica_count} x {volume.size_bytes} bytes")
        return self._records.change(volume.id, lifecycle.finish_create, told).volume

    def delete(self, volume_id: str) -> None:
        """As `begin_delete` and `finish_delete`."""
        self.finish_delete(self.begin_delete(volume_id))

    def begin_delete(self, volume_id: str) -> Versioned:
        """FailedPrecondition while it is attached."""
        return self._records.change(volume_id, lifecycle.begin_delete)

    def finish_delete(self, deleting: Versioned) -> None:
        """Unavailable names the nodes that do not answer; the volume stays DELETING until they do."""
        errors = self._executor.remove_replicas(deleting.volume)
        if errors:
            raise _worst(f"volume {deleting.volume.name} is not removed everywhere", deleting.volume, errors)
        self._records.remove(deleting, ("deleted", "all replicas are removed"))

    def expand(self, volume_id: str, size_bytes: int) -> Volume:
        begun = self._records.change(volume_id, lambda v: lifecycle.begin_expand(v, size_bytes)).volume
        return self.grow(begun) if begun.phase is Phase.EXPANDING else begun

    def grow(self, volume: Volume) -> Volume:
        """From EXPANDING, however far it came. Members must grow; stale replicas grow when they return."""
        target = volume.target_size_bytes
        errors = errors_of(self._executor.resize_replicas(volume, target))
        needed = {r.id: errors[r.id] for r in volume.replicas if _is_member(r) and r.id in errors}
        if needed:
            self._give_up_growth(volume, needed)
            raise _worst(f"volume {volume.name} cannot grow", volume, needed)
        if volume.attachment is Attachment.ATTACHED:
            self._records.change(volume.id, lambda v: lifecycle.show_growth(v, target))
            self._executor.grow_array(volume, target)
        grown = self._records.change(volume.id, lambda v: lifecycle.finish_expand(v, target)).volume
        self._records.tell(grown, "expanded", f"to {target} bytes")
        return grown

    def find_largest(self, request: VolumeRequest) -> int:
        """Bytes that a volume like this one could have now; 0 when there is room for none."""
        pool = self._records.store.get_pool(request.pool)
        want = self._want(pool, request)
        groups = self._rooms.find_groups(pool.nodes)
        return largest_size(want, open_groups(groups, self._records.store.list_cordons()))

    def _want(self, pool: Pool, request: VolumeRequest) -> Want:
        inside = frozenset(pool.nodes)
        nodes = (node for node in self._records.store.list_nodes() if node.name in inside)
        return Want(
            pool=pool,
            size_bytes=request.size_bytes,
            replica_count=request.replica_count or pool.replica_count,
            preferred_nodes=request.preferred_nodes,
            required_nodes=request.required_nodes,
            domains=find_domains(nodes, request.spread),
            apart=bool(request.spread),
        )

    def _choose_places(self, pool: Pool, want: Want) -> tuple[Place, ...]:
        check_count(want.replica_count, pool.nodes, pool.name)
        return self._rooms.choose(want, self._records.store.list_cordons())

    def make_usable(self, volume: Volume, replica: Replica) -> None:
        """As large as the volume, which may have grown without it: else no array could begin with it.

        FailedPrecondition unless its node has this very replica; Unavailable when it does not answer.
        """
        answer = self._executor.describe([replica.node], DESCRIBE_SECONDS)[replica.node]
        if not isinstance(answer, NodeFacts):
            raise answer
        refusal = find_refusal(volume, replica, answer)
        if refusal is not None:
            raise FailedPrecondition(f"replica {replica.id} of volume {volume.name}: {refusal}")
        found = find_facts(answer, volume.id, replica.id)
        if found is not None and found.size_bytes < volume.size_bytes:
            self._executor.resize_replica(volume, replica)

    def require_lost(self, volume: Volume) -> None:
        """FailedPrecondition when a replica in sync is there after all: the record may not say so yet."""
        nodes = {r.node for r in in_sync(volume)}
        answers = self._executor.describe(nodes, DESCRIBE_SECONDS)
        facts = {node: found for node, found in answers.items() if isinstance(found, NodeFacts)}
        suspects = list_suspects(volume, facts)
        there = [r for r in in_sync(volume) if find_absence(volume, r, nodes, facts) is None]
        back = [f"{r.id} on node {r.node}" for r in there if r not in suspects]
        if back:
            raise FailedPrecondition(
                f"volume {volume.name} is not lost: {', '.join(back)} is back, attach it"
            )

    def _give_up(self, volume: Volume) -> None:
        """What is not undone now stays DELETING, for the reconciler."""
        try:
            self.delete(volume.id)
        except TrilithError as error:
            self._records.tell(volume, "not-undone", str(error))

    def _give_up_growth(self, volume: Volume, errors: dict[str, TrilithError]) -> None:
        if any(isinstance(error, OutOfSpace | OutOfRange) for error in errors.values()):
            self._records.change(volume.id, lifecycle.undo_expand)


def _is_member(replica: Replica) -> bool:
    return replica.state is not ReplicaState.STALE


def _worst(what: str, volume: Volume, errors: dict[str, TrilithError]) -> TrilithError:
    """One error for several: its kind is that of the one that waiting does not heal, if any."""
    nodes = {r.id: r.node for r in volume.replicas}
    named = "; ".join(f"node {nodes[key]}: {error}" for key, error in sorted(errors.items()))
    passing = (Unavailable, NotFound)
    worst = next((e for e in errors.values() if not isinstance(e, passing)), None)
    kinds = (OutOfSpace, OutOfRange)
    kind = next((k for k in kinds if isinstance(worst, k)), Unavailable if worst is None else type(worst))
    return _of_kind(kind, f"{what}: {named}")


def _of_kind(kind: type[TrilithError], message: str) -> TrilithError:
    """CommandFailed is made of other things than a message."""
    return kind(message) if kind.__init__ is TrilithError.__init__ else TrilithError(message)
