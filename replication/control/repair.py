"""What needs doing without anybody asking: replicas to bring back, operations cut short, what is nobody's."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial

from replication.control import insync
from replication.control.executor import Executor
from replication.control.flapping import (
    add_slowness,
    find_wait,
    find_wait_of_slow,
    is_slowness,
    list_recent,
)
from replication.control.interrupted import Interrupted
from replication.control.lifecycle import Step, choose_step
from replication.control.policies import read_policies
from replication.control.rebuild import (
    Rebuild,
    choose_orphans,
    choose_stuck,
    choose_superseded,
    choose_tuning,
    choose_unfenced,
    count_copies,
    find_crowd,
    find_refusal,
    find_running,
    find_surprise,
    is_current,
    is_rebuilding,
    judge_orphan,
    list_rebuilds,
    wants_rebuild,
)
from replication.control.records import TURN_SECONDS, Records
from replication.control.restored import find_claim
from replication.control.store.base import Store
from replication.control.survey import DESCRIBE_SECONDS, Survey
from replication.errors import Conflict, FailedPrecondition, NotFound, TrilithError, Unavailable
from replication.model import (
    ArrayReport,
    MemberHealth,
    NodeFacts,
    Prepared,
    Replica,
    ReplicaFacts,
    ReplicaState,
    Versioned,
    Volume,
)

FREE_ATTEMPTS = 3
"""To bring a replica back. One that was begun more often is failing, until it is in sync."""

Task = Callable[[], object]
Plan = dict[tuple[str, ...], Task]


class Repair:
    """Plans are made of facts read now; each task takes the volume's lock, or leaves it to its holder."""

    def __init__(self, store: Store, records: Records, executor: Executor, interrupted: Interrupted) -> None:
        self._store = store
        self._records = records
        self._executor = executor
        self._interrupted = interrupted
        self._restless: tuple[tuple[Versioned, ...] | None, tuple[Volume, ...]] = (None, ())  # of which list
        self._counting = threading.Lock()
        self._returns: dict[tuple[str, str], tuple[float, ...]] = {}  # since this process began
        self._slow: dict[tuple[str, str], tuple[float, ...]] = {}  # when it was lost because it was
        self._attempts = Counter[tuple[str, str]]()  # since it was in sync

    def notice(self, report: ArrayReport) -> None:
        """Who is slow does not come back at once. Asks nobody: writes wait for what becomes of it."""
        for member in report.members:
            if member.health is MemberHealth.LOST and is_slowness(member.reason):
                key = (report.volume_id, member.replica_id)
                returns = self._returns.get(key, ())
                self._slow[key] = add_slowness(self._slow.get(key, ()), returns, self._records.clock.now())

    def list_failing(self, volumes: Iterable[Volume]) -> frozenset[tuple[str, str]]:
        """Replicas that were to be brought back too often since they were in sync: by volume and replica.

        One of a volume at most. Where two are, it may be what they are copied from, and another that is made
        for them would be of no use either.
        """
        out = [(v.id, r.id) for v in volumes for r in v.replicas if r.state is not ReplicaState.IN_SYNC]
        with self._counting:
            self._attempts = Counter({key: self._attempts[key] for key in out if self._attempts[key]})
        failing = [key for key, count in self._attempts.items() if count > FREE_ATTEMPTS]
        each = Counter(volume_id for volume_id, _ in failing)
        return frozenset(key for key in failing if each[key[0]] == 1)

    def plan_interrupted(self) -> Plan:
        """Operations under way, some of which have lost their process: their lock is free."""
        return {
            ("settle", v.id): partial(self._settle, v.id)
            for v in self._list_restless()
            if choose_step(v) is not Step.NOTHING
        }

    def plan_rebuilds(self) -> Plan:
        """Replicas to bring back. Asks only the nodes that have to do with one."""
        wanting = [v for v in self._list_restless() if wants_rebuild(v) or is_rebuilding(v)]
        facts = self._describe({name for v in wanting for name in _concerned(v)})
        copies = count_copies(wanting)
        able = (v for v in wanting if self._can_go_on(v, facts, copies))
        return {("rebuild", v.id): partial(self._recover, v, facts) for v in able}

    def plan_cleaning(self, survey: Survey) -> Plan:
        """What is on the nodes, and no record names."""
        facts, volumes = survey.facts, survey.volumes
        plan: Plan = {("fence", v): partial(self._fence, v) for v in choose_unfenced(volumes, facts)}
        for node, found in facts.items():
            for array in choose_superseded(found, volumes):
                plan["abandon", node, array.volume_id] = partial(self.abandon, node, array)
            for orphan in choose_orphans(found, volumes, self._store.cluster()):
                key = ("orphan", node, orphan.facts.volume_id, orphan.facts.replica_id)
                plan[key] = partial(self._clean, node, orphan.facts)
        return plan

    def abandon(self, node: str, array: ArrayReport) -> None:
        """The record has given this array up, unless it is older than the array: then it knows nothing.

        Read anew: lists may be behind, and not know a volume that has been made and attached since.
        """
        volume = self._find(array.volume_id)
        if volume is not None and array.epoch > volume.epoch:
            raise FailedPrecondition(
                f"node {node} has an array of epoch {array.epoch} of volume {volume.name}, the record is at "
                f"{volume.epoch}: was the state store restored? Nothing is done"
            )
        if is_current(array, volume, node):
            raise Conflict(f"the array of volume {array.volume_id} on node {node} has a record by now")
        if volume is None:
            self._require_deleted(node, array)
        self._executor.abandon(node, array.volume_id, array.epoch, timeout=60.0)

    def _require_deleted(self, node: str, array: ArrayReport) -> None:
        """No record: it was deleted, or the records were lost and there is only a backup without it."""
        names = {known.name for known in self._store.list_nodes()}
        facts = self._describe(names)
        what = f"node {node} has an array of volume {array.volume_id}, which no record knows"
        claim = find_claim(array, node, facts)
        if claim:
            raise FailedPrecondition(
                f"{what}, and its replicas are there ({claim}): was the state store restored? Nothing is done"
            )
        silent = names - facts.keys()
        if silent:
            named = ", ".join(sorted(silent))
            raise Unavailable(f"{what}; replicas may be on {named}, which does not answer: nothing is done")

    def _settle(self, volume_id: str) -> None:
        with self._records.lock(volume_id, "settle", timeout=0.0):
            self._interrupted.settle(volume_id)

    def _fence(self, volume_id: str) -> None:
        with self._records.lock(volume_id, "fence", timeout=TURN_SECONDS):
            self._interrupted.settle_fence(volume_id)

    def _can_go_on(self, volume: Volume, facts: dict[str, NodeFacts], copies: Counter[str]) -> bool:
        """Whether anything can be done now. Each look under the lock costs the store requests."""
        consumer = facts.get(str(volume.consumer))
        if consumer is None:
            return False
        if choose_stuck(volume, find_running(consumer, volume)):
            return True
        if not any(r.node in facts for r in wants_rebuild(volume)):
            return False
        rebuilds = list_rebuilds(volume, facts)
        return not rebuilds or self._find_able(volume, rebuilds, copies) is not None

    def _recover(self, volume: Volume, facts: dict[str, NodeFacts]) -> None:
        """One replica at a time: end attempts that came to nothing, then begin one."""
        with self._records.lock(volume.id, "rebuild", timeout=0.0):
            array = self._executor.find_array(volume)
            if choose_stuck(volume, array):
                array = self._look_again(volume)
            for replica_id in choose_stuck(volume, array):
                self._stop(volume, replica_id)
            fresh = self._records.get(volume.id).volume
            if array is None or fresh.epoch != volume.epoch:
                return
            rebuilds = list_rebuilds(fresh, facts)
            rebuild = self._find_able(fresh, rebuilds, count_copies(self._list_restless()))
            if rebuild is not None:
                self._rebuild(fresh, rebuild, array)
            elif wants_rebuild(fresh) and not rebuilds:
                self._refuse(fresh, facts)

    def _look_again(self, volume: Volume) -> ArrayReport | None:
        """After a rejoin that is under way, its caller being gone: whoever changes an array waits for it."""
        self._tune(volume)
        return self._executor.find_array(volume)

    def _tune(self, volume: Volume) -> None:
        policy = read_policies(self._store)[volume.pool]
        self._executor.tune(volume, choose_tuning(volume, policy))

    def _stop(self, volume: Volume, replica_id: str) -> None:
        self._records.change(volume.id, lambda v: insync.stop_rebuild(v, volume.epoch, replica_id))

    def _refuse(self, volume: Volume, facts: dict[str, NodeFacts]) -> None:
        """None of them can be brought back now: say why of those whose node answers."""
        here = [r for r in wants_rebuild(volume) if r.node in facts]
        reasons = [f"replica {r.id}: {find_refusal(volume, r, facts[r.node])}" for r in here]
        if reasons:
            raise FailedPrecondition(f"volume {volume.name} is not repaired: {'; '.join(reasons)}")

    def _rebuild(self, volume: Volume, rebuild: Rebuild, array: ArrayReport) -> None:
        """Never one that is a member still: who knows what of it is being copied. The next word drops it."""
        healths = {member.replica_id: member.health for member in array.members}
        if healths.get(rebuild.replica.id, MemberHealth.DROPPED) is not MemberHealth.DROPPED:
            raise Conflict(f"replica {rebuild.replica.id} of volume {volume.name} has not been dropped yet")
        record = self._begin(volume, rebuild)
        self._records.tell(volume, "rebuild", f"replica {rebuild.replica.id}, copy: {rebuild.copy}")
        self._join(record, rebuild)

    def _begin(self, volume: Volume, rebuild: Rebuild) -> Versioned:
        """Counted and recorded in one go: a node copies only so much at once."""
        key, now = (volume.id, rebuild.replica.id), self._records.clock.now()
        with self._counting:
            copies = count_copies(self._list_restless())
            hindrance = self._find_hindrance(volume, rebuild.replica, copies)
            if hindrance:
                raise Conflict(hindrance)
            record = self._records.change(volume.id, _start(volume.epoch, rebuild))
            self._returns[key] = (*list_recent(self._returns.get(key, ()), now), now)
            self._attempts[key] += 1
            return record

    def _find_able(self, volume: Volume, rebuilds: Iterable[Rebuild], copies: Counter[str]) -> Rebuild | None:
        """The first that need not wait: one that is lost again and again holds up no other."""
        return next(
            (each for each in rebuilds if not self._find_hindrance(volume, each.replica, copies)), None
        )

    def _find_hindrance(self, volume: Volume, replica: Replica, copies: Counter[str]) -> str:
        """Why its copy has to wait; empty when it need not."""
        key, now = (volume.id, replica.id), self._records.clock.now()
        returns, slow = list_recent(self._returns.get(key, ()), now), self._slow.get(key, ())
        wait = max(find_wait(returns, now), find_wait_of_slow(slow, now))
        if wait:
            times = f"came back {len(returns)} times lately, was slow {len(slow)} times"
            return f"replica {replica.id} {times}: it waits for {wait:.0f} s"
        limit = read_policies(self._store)[volume.pool].rebuilds_per_node
        crowd = find_crowd(copies, volume, replica, limit)
        return f"node {crowd} takes part in {copies[crowd]} copies already" if crowd else ""

    def _join(self, record: Versioned, rebuild: Rebuild) -> None:
        """A rejoin without an answer may have begun: the array will show it, so it is not undone here."""
        try:
            self._tune(record.volume)
            prepared = self._prepare(record, rebuild)
            self._mark(record, rebuild.replica.id)
            resumable = self._executor.rejoin(record, rebuild.replica, prepared, rebuild.copy)
        except Unavailable:
            raise
        except TrilithError:
            self._stop(record.volume, rebuild.replica.id)
            raise
        if resumable:
            epoch, key = record.volume.epoch, rebuild.replica.id
            self._records.change(record.volume.id, lambda v: insync.make_resumable(v, epoch, key))

    def _mark(self, record: Versioned, replica_id: str) -> None:
        self._records.change(record.volume.id, lambda v: insync.mark(v, (replica_id,), record.version))

    def _prepare(self, record: Versioned, rebuild: Rebuild) -> Prepared:
        replica = insync.get_replica(record.volume, rebuild.replica.id)
        if rebuild.grow:
            self._executor.resize_replica(record.volume, replica)
        prepared = self._executor.prepare(record, replica)
        surprise = find_surprise(rebuild.boot_id, rebuild.copy, prepared)
        if surprise:
            raise Conflict(f"replica {replica.id} on node {replica.node}: {surprise}")
        return prepared

    def _clean(self, node: str, facts: ReplicaFacts) -> None:
        """By the record as it is now: lists may be behind."""
        volume_id, replica_id = facts.volume_id, facts.replica_id
        orphan = judge_orphan(facts, self._find(volume_id), node)
        if orphan is None:
            raise Conflict(f"replica {replica_id} of volume {volume_id} on node {node} has a record by now")
        what = f"replica {replica_id} of volume {volume_id} on node {node}, which no record names"
        if orphan.keep:
            raise FailedPrecondition(f"{what}, is kept: {orphan.keep}")
        self._executor.remove_replica(node, volume_id, replica_id, facts.record_version)

    def _describe(self, names: Iterable[str]) -> dict[str, NodeFacts]:
        answers = self._executor.describe(names, DESCRIBE_SECONDS)
        return {name: found for name, found in answers.items() if isinstance(found, NodeFacts)}

    def _list_restless(self) -> tuple[Volume, ...]:
        """Those with something under way, or to be brought back; looked for again when records changed."""
        listed = self._store.list_volumes()
        known, restless = self._restless
        if listed is not known:
            restless = tuple(found.volume for found in listed if _is_restless(found.volume))
            self._restless = listed, restless
        return restless

    def _find(self, volume_id: str) -> Volume | None:
        try:
            return self._records.get(volume_id).volume
        except NotFound:
            return None


def _is_restless(volume: Volume) -> bool:
    return choose_step(volume) is not Step.NOTHING or bool(wants_rebuild(volume)) or is_rebuilding(volume)


def _concerned(volume: Volume) -> set[str]:
    return {str(volume.consumer), *(r.node for r in wants_rebuild(volume))}


def _start(epoch: int, rebuild: Rebuild) -> Callable[[Volume], Volume]:
    def step(volume: Volume) -> Volume:
        if volume.epoch != epoch:
            raise Conflict(f"volume {volume.name} has moved on to epoch {volume.epoch}")
        return insync.start_rebuild(
            volume, rebuild.replica.id, rebuild.copy, rebuild.boot_id, volatile=rebuild.volatile
        )

    return step
