"""Asking nodes to do what has been decided and recorded: short, repeatable, in parallel over replicas."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TypeVar

from replication.control.insync import can_resume
from replication.control.keys import new_consumer
from replication.control.nodes import Nodes
from replication.control.parallel import Waits, ask_all, ask_patiently, errors_of
from replication.control.rebuild import find_running
from replication.control.tiers import effective
from replication.errors import FailedPrecondition, NotFound, TrilithError, Unsupported
from replication.model import (
    ArrayReport,
    AttachSpec,
    Consumer,
    CopyMode,
    Member,
    NodeFacts,
    Prepared,
    PrepareSpec,
    RejoinSpec,
    Replica,
    ReplicaFacts,
    ReplicaSpec,
    ReplicaState,
    Target,
    Versioned,
    Volume,
)
from replication.rpc.contract import NodeApi
from replication.tuning import Tuning

PREPARE = Waits(until_enough=15.0, alive=15.0, unknown=3.0, sign=1.0)
"""For replicas to be ready. What is left out has to be copied later, which makes a busy node busier."""
FENCE = Waits(until_enough=3.0, alive=0.3, unknown=0.3, sign=3.0)
TIDY_SECONDS = 5.0  # for what is done again later if it is not done now
PATIENT_SECONDS = 130.0  # longer than any call's own deadline

T = TypeVar("T")
Answers = dict[str, T | TrilithError]


class Executor:
    """What nodes are told. Answers are by replica id."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes

    def describe(self, names: Iterable[str], timeout: float = PATIENT_SECONDS) -> Answers[NodeFacts]:
        """By node name."""
        return ask_all({name: partial(self._nodes.facts, name) for name in names}, timeout)

    def describe_patiently(self, names: Iterable[str], waits: Waits) -> Answers[NodeFacts]:
        """As `describe`, longer for those who are busy than for those who are away."""
        calls = {name: partial(self._nodes.facts, name) for name in names}
        sign = partial(self._nodes.facts, only="")
        return ask_patiently(calls, waits, is_enough=lambda _: True, sign=sign)

    def sketch(self, names: Iterable[str], timeout: float = PATIENT_SECONDS) -> Answers[NodeFacts]:
        """As `describe`, without replicas and arrays."""
        return ask_all({name: partial(self._nodes.facts, name, only="") for name in names}, timeout)

    def ensure_replicas(self, volume: Volume) -> Answers[ReplicaFacts]:
        return _each(volume.replicas, partial(self.ensure_replica, volume), PATIENT_SECONDS)

    def ensure_replica(self, volume: Volume, replica: Replica) -> ReplicaFacts:
        """Unsupported when an agent that knows no parts has put it on one disk."""
        spec = ReplicaSpec(
            volume_id=volume.id,
            replica_id=replica.id,
            volume_group=replica.volume_group,
            size_bytes=volume.size_bytes,
            bitmap_chunk_bytes=volume.bitmap_chunk_bytes,
            other_groups=replica.other_groups,
            striped=replica.striped,
        )
        made = self._nodes.to(replica.node).ensure_replica(spec)
        if made.groups != replica.groups:
            there, said = ", ".join(made.groups), ", ".join(replica.groups)
            name = f"replica {replica.id} on node {replica.node}"
            raise Unsupported(f"{name} lies on {there}, not on {said}: its agent is older, upgrade it")
        return made

    def remove_replicas(self, volume: Volume) -> dict[str, TrilithError]:
        """The errors. What does not exist, or was on a node that left the cluster, is removed.

        Nobody has the volume any more: an array of it is what a consumer that was fenced still has.
        """

        def remove(replica: Replica) -> None:
            try:
                api = self._nodes.to(replica.node)
                act = partial(api.remove_replica, volume.id, replica.id)
                _past_older(api, volume.id, volume.epoch + 1, act)
            except NotFound:
                return

        return errors_of(_each(volume.replicas, remove, PATIENT_SECONDS))

    def resize_replicas(self, volume: Volume, size_bytes: int) -> Answers[ReplicaFacts]:
        def resize(replica: Replica) -> ReplicaFacts:
            return self._nodes.to(replica.node).resize_replica(volume.id, replica.id, size_bytes)

        return _each(volume.replicas, resize, PATIENT_SECONDS)

    def resize_replica(self, volume: Volume, replica: Replica) -> ReplicaFacts:
        return self._nodes.to(replica.node).resize_replica(volume.id, replica.id, volume.size_bytes)

    def prepare_all(
        self,
        record: Versioned,
        replicas: Iterable[Replica],
        waits: Waits,
        is_enough: Callable[[Mapping[str, Prepared | TrilithError]], bool],
    ) -> Answers[Prepared]:
        """For the record's epoch and consumer, with fresh keys; for nobody when it has none: the fence."""
        asked = {replica.id: replica for replica in replicas}
        return ask_patiently(
            {name: partial(self.prepare, record, replica) for name, replica in asked.items()},
            waits,
            is_enough=is_enough,
            sign=lambda name: self._nodes.facts(asked[name].node, only=""),
        )

    def prepare(self, record: Versioned, replica: Replica) -> Prepared:
        volume = record.volume
        consumer = self._consumer(volume, replica)
        spec = PrepareSpec(
            volume_id=volume.id,
            replica_id=replica.id,
            epoch=volume.epoch,
            record_version=record.version,
            consumer=consumer,
            marked=replica.marked,
            full_copy=replica.state is ReplicaState.REBUILDING and replica.copy is CopyMode.FULL,
        )
        prepared = self._prepare(replica.node, spec)
        return prepared if consumer is None else _with_keys(prepared, consumer)

    def release_all(self, volume: Volume) -> dict[str, TrilithError]:
        """The errors: an export that stays is ended by the next prepare."""

        def release(replica: Replica) -> None:
            self._nodes.to(replica.node).release_replica(volume.id, replica.id, volume.epoch)

        return errors_of(_each(volume.replicas, release, TIDY_SECONDS))

    def attach(self, record: Versioned, members: tuple[Member, ...]) -> str:
        volume = record.volume
        spec = AttachSpec(
            volume_id=volume.id,
            epoch=volume.epoch,
            record_version=record.version,
            size_bytes=volume.size_bytes,
            bitmap_chunk_bytes=volume.bitmap_chunk_bytes,
            replica_count=max(volume.replica_count, len(members)),
            members=members,
            resync=volume.resync_source is not None,
            readonly=volume.readonly,
            marked_from=volume.grown_from,
        )
        api = self._nodes.to(_consumer_of(volume))
        return _past_older(api, volume.id, volume.epoch, lambda: api.attach(spec))

    def detach(self, volume: Volume) -> None:
        self._nodes.to(_consumer_of(volume)).detach(volume.id, volume.epoch)

    def abandon(self, node: str, volume_id: str, epoch: int, timeout: float = TIDY_SECONDS) -> None:
        """Raise what stands in the way."""
        answers = ask_all({node: lambda: self._nodes.to(node).abandon(volume_id, epoch)}, timeout)
        for error in errors_of(answers).values():
            raise error

    def find_array(self, volume: Volume) -> ArrayReport | None:
        """The consumer's array of the record's epoch, asked now."""
        return find_running(self.ask_consumer(volume), volume)

    def ask_consumer(self, volume: Volume) -> NodeFacts:
        """Which array of it there is, and in which boot. Now."""
        return self._nodes.facts(_consumer_of(volume), only=volume.id)

    def boot_of_consumer(self, volume: Volume) -> str:
        return self._nodes.facts(_consumer_of(volume), only="").boot_id

    def set_limits(self, volume: Volume) -> None:
        """Those that hold by its record, on its consumer."""
        api = self._nodes.to(_consumer_of(volume))
        api.set_limits(volume.id, volume.epoch, effective(volume.limits))

    def scrub(self, volume: Volume, *, repair: bool) -> None:
        self._nodes.to(_consumer_of(volume)).scrub(volume.id, volume.epoch, repair)

    def tune(self, volume: Volume, tuning: Tuning) -> None:
        self._nodes.to(_consumer_of(volume)).tune(volume.id, volume.epoch, tuning)

    def rejoin(self, record: Versioned, replica: Replica, prepared: Prepared, copy: CopyMode) -> bool:
        """Whether the bitmap remembers how far a full copy is."""
        volume = record.volume
        member = Member(replica.id, prepared.target)
        resumable = copy is CopyMode.FULL and can_resume(volume)
        spec = RejoinSpec(volume.id, volume.epoch, record.version, member, copy, resumable)
        self._nodes.to(_consumer_of(volume)).rejoin(spec)
        return resumable

    def grow_array(self, volume: Volume, size_bytes: int) -> None:
        self._nodes.to(_consumer_of(volume)).grow_array(volume.id, volume.epoch, size_bytes)

    def remove_replica(self, node: str, volume_id: str, replica_id: str, known_version: int) -> None:
        """StaleEpoch when it has seen a newer record: then it is not what its removal was decided for."""
        self._nodes.to(node).remove_replica(volume_id, replica_id, known_version)

    def _consumer(self, volume: Volume, replica: Replica) -> Consumer | None:
        node = volume.consumer
        if node is None or node == replica.node:
            return None
        both = self._nodes.authenticates(node) and self._nodes.authenticates(replica.node)
        return new_consumer(volume.id, volume.epoch, replica.id, authentication=both)

    def _prepare(self, node: str, spec: PrepareSpec) -> Prepared:
        api = self._nodes.to(node)
        return _past_older(api, spec.volume_id, spec.epoch, lambda: api.prepare_replica(spec))


def _past_older(api: NodeApi, volume_id: str, epoch: int, act: Callable[[], T]) -> T:
    """What stands in the way of `epoch` is an older array on the node, given up by the record: end it."""
    try:
        return act()
    except Unsupported:
        raise
    except FailedPrecondition:
        api.abandon(volume_id, epoch - 1)
        return act()


def _each(
    replicas: Iterable[Replica], call: Callable[[Replica], T], timeout: float
) -> dict[str, T | TrilithError]:
    return ask_all({replica.id: partial(call, replica) for replica in replicas}, timeout)


def _with_keys(prepared: Prepared, consumer: Consumer) -> Prepared:
    """Whatever the node sends back, the keys are the ones made here."""
    if prepared.target is None:
        return prepared
    found = prepared.target
    target = Target(
        nqn=found.nqn,
        address=found.address,
        port=found.port,
        host_nqn=consumer.host_nqn,
        host_key=consumer.host_key,
        controller_key=consumer.controller_key,
    )
    return Prepared(prepared.facts, prepared.boot_id, target)


def _consumer_of(volume: Volume) -> str:
    if volume.consumer is None:
        raise FailedPrecondition(f"volume {volume.name} is not attached")
    return volume.consumer
