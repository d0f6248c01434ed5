"""Replicas that are away for too long get a replacement; what it replaces is given up once it is in sync."""

from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial

from replication.control import insync
from replication.control.cordons import choose_leaving, differs
from replication.control.executor import Executor
from replication.control.placement import SPREAD, Place, find_domains
from replication.control.rebuild import list_suspects
from replication.control.records import TURN_SECONDS, Records
from replication.control.repair import Plan
from replication.control.replacement import (
    Absent,
    Act,
    Change,
    Key,
    choose_change,
    choose_new_place,
    follow_absences,
    has_other,
    is_lost,
    is_overdue,
)
from replication.control.survey import Survey
from replication.errors import Conflict, OutOfSpace, TrilithError, Unavailable
from replication.model import ArrayReport, Attachment, MemberHealth, Replica, Volume


class Replacing:
    """Remembers since when replicas are away: counted anew when the process is."""

    def __init__(
        self, records: Records, executor: Executor, handle: Callable[[str, ArrayReport], None]
    ) -> None:
        """`handle` takes a report as if it had come by itself: it drops what the record counts no more."""
        self._records = records
        self._executor = executor
        self._handle = handle
        self._absent: dict[Key, Absent] = {}

    def plan(self, survey: Survey, failing: Collection[Key]) -> Plan:
        """One change for each volume that needs one. `failing` cannot be brought back, as it seems."""
        volumes, facts = tuple(survey.volumes.values()), survey.facts
        self._absent = follow_absences(self._absent, volumes, survey.nodes, facts, survey.time, failing)
        wanting = [v for v in volumes if self._is_wanting(v, survey)]
        plan: Plan = {("replace", v.id): partial(self._change, v.id, survey) for v in wanting}
        for volume in volumes:
            suspects = {replica.id for replica in list_suspects(volume, survey.facts)}
            lost = is_lost(volume, self.list_absent(volume), survey.time, suspects)
            if lost != bool(volume.lost_since):
                plan["lost", volume.id] = partial(self._mark_lost, volume.id, lost=lost)
        return plan

    def _mark_lost(self, volume_id: str, *, lost: bool) -> None:
        wall = self._records.clock.wall() if lost else 0.0
        found = self._records.change(volume_id, lambda v: replace(v, lost_since=wall)).volume
        gone = ", ".join(f"{r.id} on node {r.node}" for r in insync.in_sync(found))
        if lost:
            what = "is gone, or its disk refused what one that is gone may have"
            self._records.tell(found, "lost", f"every replica in sync {what}: {gone}; the others are kept")
        else:
            self._records.tell(found, "found", f"a replica in sync is back, of {gone}")

    def _is_wanting(self, volume: Volume, survey: Survey) -> bool:
        leaves = differs(volume, choose_leaving(volume, survey.cordons))
        return leaves or self._choose(volume, survey) is not None

    def list_overdue(self, volume: Volume, survey: Survey) -> frozenset[str]:
        """Replicas that are away for longer than anybody waits."""
        delay = survey.policies[volume.pool].replacement_delay
        absent = self.list_absent(volume)
        return frozenset(key for key, found in absent.items() if is_overdue(found, delay, survey.time))

    def list_absent(self, volume: Volume) -> dict[str, Absent]:
        """By replica: who is away, as of the newest plan."""
        found = {r.id: self._absent.get((volume.id, r.id)) for r in volume.replicas}
        return {key: absent for key, absent in found.items() if absent is not None}

    def _choose(self, volume: Volume, survey: Survey) -> Change | None:
        absent = {key: found.why for key, found in self.list_absent(volume).items()}
        change = choose_change(volume, absent, self.list_overdue(volume, survey))
        if change is None or change.act is not Act.ADD:
            return change
        room = self._has_room(volume, survey)
        return choose_change(volume, absent, self.list_overdue(volume, survey), room=room)

    def _has_room(self, volume: Volume, survey: Survey) -> bool:
        try:
            self._find_place(volume, survey)
        except OutOfSpace:
            return False
        return True

    def _change(self, volume_id: str, survey: Survey) -> None:
        """A new replica is made without the lock: room that is being wiped must not keep a user waiting."""
        with self._records.lock(volume_id, "replace", timeout=TURN_SECONDS):
            volume = self._mark_leaving(volume_id, survey)
            change = self._choose(volume, survey)
            if change is None:
                return
            new = self._record(volume, change, survey)
        if new is not None:
            self._make(volume_id, new, is_added=change.act is Act.ADD)

    def _mark_leaving(self, volume_id: str, survey: Survey) -> Volume:
        def step(volume: Volume) -> Volume:
            return insync.mark_leaving(volume, choose_leaving(volume, survey.cordons))

        return self._records.change(volume_id, step).volume

    def _record(self, volume: Volume, change: Change, survey: Survey) -> Replica | None:
        """The replica that is to be made now, if any."""
        if change.replica is None:
            return self._add(volume, survey)
        if change.act is Act.MAKE:
            return self._renew(volume, change.replica)
        if change.act is Act.FORGET:
            self._forget(volume, change.replica, survey)
        else:
            self._retire(volume, change.replica, survey)
        return None

    def _make(self, volume_id: str, new: Replica, *, is_added: bool) -> None:
        """What has no room after all is taken back; what does not answer is made later."""
        try:
            self._executor.ensure_replica(self._records.get(volume_id).volume, new)
        except Unavailable:
            raise
        except TrilithError:
            if is_added:
                self._records.change(volume_id, lambda v: insync.forget_replica(v, new.id))
            raise

    def _add(self, volume: Volume, survey: Survey) -> Replica:
        place = self._find_place(volume, survey)
        where = (place.node, place.volume_group, place.other_groups)
        added = self._records.change(
            volume.id, lambda v: insync.add_replica(v, *where, striped=place.striped)
        ).volume
        new = added.replicas[-1]
        reasons = "; ".join(
            f"{r.id}: {self._why(volume, r)}" for r in volume.replicas if self._why(volume, r)
        )
        self._records.tell(added, "replaced", f"replica {new.id} is made on node {new.node} ({reasons})")
        return new

    def _find_place(self, volume: Volume, survey: Survey) -> Place:
        pool = self._records.store.get_pool(volume.pool)
        spread = dict(volume.parameters).get(SPREAD, "")
        domains = find_domains(self._records.store.list_nodes(), spread)
        return choose_new_place(volume, pool, survey.places, self.list_overdue(volume, survey), domains)

    def _why(self, volume: Volume, replica: Replica) -> str:
        absent = self._absent.get((volume.id, replica.id))
        return absent.why if absent else "its place is drained" if replica.leaving else ""

    def _renew(self, volume: Volume, replica: Replica) -> Replica:
        self._records.change(volume.id, lambda v: insync.renew_replica(v, replica.id))
        self._records.tell(volume, "made-anew", f"replica {replica.id} on node {replica.node}")
        return replica

    def _forget(self, volume: Volume, replica: Replica, survey: Survey) -> None:
        """Member, remains, record: as long as the record names it, nothing of it is forgotten.

        Who stands still here, and wakes when another has brought the replica back, removes nothing.
        """
        self._require_dropped(volume, replica)
        record = self._records.get(volume.id)
        if record.volume != volume:
            raise Conflict(f"the record of volume {volume.name} has just changed")
        if replica.node in survey.nodes:
            self._executor.remove_replica(replica.node, volume.id, replica.id, record.version)
        self._records.change(volume.id, lambda v: insync.forget_replica(v, replica.id))
        self._records.tell(volume, "forgotten", f"replica {replica.id} on node {replica.node} is replaced")

    def _retire(self, volume: Volume, replica: Replica, survey: Survey) -> None:
        """Recorded, then dropped, as one that was lost; what the array may still hold is asked for again.

        Not by the record alone: it may alone have what others' disks refused, and nobody has told of yet.
        """
        if volume.attachment is Attachment.ATTACHED and self._drop(volume) is None:
            raise Unavailable(f"volume {volume.name}: no array says that others have what {replica.id} has")

        def step(volume: Volume) -> Volume:
            if not has_other(volume, replica.id, survey.facts):
                raise Conflict(f"replica {replica.id} of volume {volume.name}: no other has it all for sure")
            return insync.retire_replica(volume, replica.id)

        retired = self._records.change(volume.id, step).volume
        self._records.tell(volume, "retired", f"replica {replica.id} on node {replica.node} is replaced")
        self._drop(retired)

    def _drop(self, volume: Volume) -> ArrayReport | None:
        """The newest report of its array, if it has one, after what it says has been handled."""
        if volume.attachment is not Attachment.ATTACHED:
            return None
        array = self._executor.find_array(volume)
        if array is not None:
            self._handle(str(volume.consumer), array)
        return array

    def _require_dropped(self, volume: Volume, replica: Replica) -> None:
        array = self._drop(volume)
        healths = {m.replica_id: m.health for m in array.members} if array is not None else {}
        if healths.get(replica.id, MemberHealth.DROPPED) is not MemberHealth.DROPPED:
            raise Conflict(f"replica {replica.id} of volume {volume.name} is still a member of its array")
