"""StoragePools, made real: nodes and disks are chosen, taken, and given back; what became of it is said."""

import logging
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from csi.operator.announcer import Announcer
from csi.operator.choosing import Choice, choose_all
from csi.operator.chores import Chores
from csi.operator.classes import Classes
from csi.operator.conditions import READY, Condition
from csi.operator.disk_pools import DiskPools
from csi.operator.judging import (
    Room,
    Sight,
    add_up,
    judge_deletion,
    judge_pool,
    judge_refusal,
    judge_room,
)
from csi.operator.refusals import apart
from csi.operator.resources import Machine, StoragePool
from csi.operator.statuses import Statuses
from replication.control.control import Control
from replication.control.cordons import shut_disks
from replication.errors import InvalidRequest, NotFound, TrilithError
from replication.kubernetes.access import Json
from replication.kubernetes.client import Client
from replication.model import Pool

FINALIZER = "trilith.io/pool"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shown:
    """What users see of pools."""

    classes: Classes
    disk_pools: DiskPools
    statuses: Statuses
    announcer: Announcer


class StoragePools:
    """Of one term as leader."""

    def __init__(
        self, control: Control, client: Client, chores: Chores, shown: Shown, namespace: str
    ) -> None:
        """`chores` is for what takes long: nodes are asked there, never in a pass."""
        self._control = control
        self._client = client
        self._chores = chores
        self._classes = shown.classes
        self._disk_pools = shown.disk_pools
        self._statuses = shown.statuses
        self._announcer = shown.announcer
        self._namespace = namespace

    def reconcile(
        self, pools: Collection[StoragePool], machines: Collection[Machine], sights: Mapping[str, Sight]
    ) -> None:
        """`machines` and `sights` of the nodes that have joined."""
        refused = {pool.uid: judge_refusal(pool, self._namespace) for pool in pools}
        wanted = [p for p in pools if not p.deleting and refused[p.uid] is None]
        ours = {pool.name for pool in pools if pool.namespace == self._namespace}
        cordons = self._control.store.list_cordons()
        facts = {node: shut_disks(s.facts, cordons) for node, s in sights.items() if s.facts is not None}
        records = {pool.name: pool for pool in self._control.pools.list()}
        choices = choose_all(wanted, machines, facts)
        classless = self._classes.reconcile(wanted)
        for pool in wanted:
            with apart(f"StoragePool {pool.name}"):
                self._keep(pool)
                made = self._take(pool, choices[pool.name], records.get(pool.name))
                records |= {pool.name: made} if made is not None else {}
        kept = [record for name, record in records.items() if name in ours]
        self._disk_pools.ensure({(record.name, node) for record in kept for node in record.nodes})
        for pool in wanted:
            choice, record = choices[pool.name], records.get(pool.name)
            rooms = self._look(pool, choice, record, sights)
            ready = classless.get(pool.name) or judge_pool(pool, choice, record, rooms)
            giving = sum(1 for room in rooms if room.sizes.get("capacity"))
            self._say(pool, ready, {"nodes": giving, **add_up(rooms)})
        for pool in pools:
            refusal = refused[pool.uid]
            if pool.deleting:  # a record is of the pool in our namespace, whatever others are called
                with apart(f"StoragePool {pool.name}"):
                    record = records.get(pool.name) if pool.namespace == self._namespace else None
                    self._give_back(pool, record)
            elif refusal is not None:
                self._say(pool, refusal, {})
        self._statuses.keep((pool.path for pool in pools), "/apis/trilith.io/v1alpha1/namespaces/")

    def _keep(self, pool: StoragePool) -> None:
        """It goes only after its disks were given back."""
        if FINALIZER not in pool.finalizers:
            self._set_finalizers(pool, (*pool.finalizers, FINALIZER))

    def _take(self, pool: StoragePool, choice: Choice, record: Pool | None) -> Pool | None:
        """Once there are nodes enough; what a pool has already is never in question."""
        if record is None:
            if len(choice.disks) < pool.replicas:
                return None
            record = self._begin(pool, choice)
        if record is None:
            return None
        for node in choice.disks:
            if node in choice.new or node not in record.nodes:
                disks = choice.new.get(node, choice.disks[node])  # what is being taken out is not put back
                task = partial(self._control.pools.extend, pool.name, pool.replicas, node, disks)
                self._chores.start(_take_key(pool.name, node), task)
        return record

    def _begin(self, pool: StoragePool, choice: Choice) -> Pool | None:
        try:
            nodes = tuple(sorted(choice.disks))
            return self._control.pools.begin(pool.name, nodes, pool.replicas, striped=pool.striped)
        except TrilithError as error:
            logger.warning("pool %s is not made: %s", pool.name, error)
            return None

    def _look(
        self, pool: StoragePool, choice: Choice, record: Pool | None, sights: Mapping[str, Sight]
    ) -> tuple[Room, ...]:
        """Told to DiskPools as well."""
        rooms = []
        for node in record.nodes if record is not None else ():
            before = self._disk_pools.find_sizes(pool.name, node)
            sight = self._find_sight(pool.name, node, choice, sights)
            rooms.append(judge_room(pool.name, node, sight, before))
        self._disk_pools.tell(pool.name, rooms)
        return tuple(rooms)

    def _find_sight(self, pool: str, node: str, choice: Choice, sights: Mapping[str, Sight]) -> Sight:
        sight = sights.get(node, Sight(None, "it is no node of the cluster (any more)"))
        failure = self._chores.find_failure(_take_key(pool, node))
        return replace(sight, taking=node in choice.new, failure=failure)

    def _say(self, pool: StoragePool, condition: Condition, status: Mapping[str, object]) -> None:
        self._statuses.learn(pool.path, pool.status, pool.uid)
        self._announcer.tell(pool, condition)
        self._statuses.offer(pool.path, dict(status), [condition], generation=pool.generation)

    def _give_back(self, pool: StoragePool, record: Pool | None) -> None:
        """What was never made has nothing to give back."""
        if FINALIZER not in pool.finalizers:
            return
        if record is None:
            self._set_finalizers(pool, tuple(each for each in pool.finalizers if each != FINALIZER))
            return
        volumes = [v.name for v in self._control.volumes.list() if v.pool == pool.name]
        key = ("delete", "pool", pool.name)
        said = judge_deletion(pool.name, volumes, self._chores.find_failure(key))
        self._announcer.tell(pool, said)
        gone = Condition(READY, False, "Deleting", said.message)
        sizes: Json = {
            name: pool.status[name]
            for name in ("nodes", "capacity", "available", "used")
            if name in pool.status
        }
        self._statuses.learn(pool.path, pool.status, pool.uid)
        self._statuses.offer(pool.path, sizes, [gone, said], generation=pool.generation)
        if not volumes:
            self._chores.start(key, partial(self._control.pools.delete, pool.name))

    def _set_finalizers(self, pool: StoragePool, finalizers: Iterable[str]) -> None:
        """Unless it has been changed since it was read: then the next pass does it."""
        steps: list[Json] = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": pool.version},
            {"op": "add", "path": "/metadata/finalizers", "value": list(finalizers)},
        ]
        with suppress(NotFound, InvalidRequest):
            self._client.patch(pool.path, steps)


def _take_key(pool: str, node: str) -> tuple[str, ...]:
    return ("take", node, pool)
