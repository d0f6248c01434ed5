"""Volumes: made, attached, detached, grown and deleted. Each method can be repeated, and killed anywhere."""

from collections.abc import Callable
from dataclasses import replace

from replication.control.attaching import Attaching, require_enough
from replication.control.detaching import Detaching
from replication.control.insync import get_replica, in_sync, recover
from replication.control.interrupted import Interrupted
from replication.control.lifecycle import VolumeRequest, check_request, check_same, is_in_use
from replication.control.provisioning import Provisioning, new_volume_id
from replication.control.records import TURN_SECONDS, Records
from replication.errors import AlreadyExists, Conflict, FailedPrecondition, NotFound
from replication.model import ArrayReport, Attachment, Limits, Phase, Versioned, Volume

__all__ = ["VolumeRequest", "Volumes"]


class Volumes:
    """One operation at a time on a volume: Conflict names the one under way, and says to try again."""

    def __init__(
        self, records: Records, provisioning: Provisioning, attaching: Attaching, detaching: Detaching
    ) -> None:
        self._records = records
        self._provisioning = provisioning
        self._attaching = attaching
        self._detaching = detaching
        self.interrupted = Interrupted(records, provisioning, attaching, detaching)

    def create(self, request: VolumeRequest) -> Volume:
        """AlreadyExists says what differs; OutOfSpace, OutOfRange, Unavailable say where."""
        return self.ensure(request.name, lambda _: request)

    def ensure(self, name: str, ask: Callable[[Volume | None], VolumeRequest]) -> Volume:
        """As `create`, of what `ask` wants where this volume has the name; None: nobody has.

        It is asked again when that one is gone by then: what is made anew must be where a new one has to be.
        """
        found = self.find(name)
        request = ask(found)
        check_request(request)
        if found is not None:
            return self._repeat(found, request, ask)
        volume_id = new_volume_id()
        with self._records.lock(volume_id, f"create {request.name}"):
            try:
                return self._provisioning.create(volume_id, request)
            except AlreadyExists as error:
                raise Conflict(f"volume {request.name} is being made by another call: try again") from error

    def delete(self, volume_id: str) -> None:
        """Nothing to do when unknown. FailedPrecondition while attached; Unavailable: it goes on later."""
        with self._records.lock(volume_id, "delete"):
            try:
                self._provisioning.finish_delete(self._begin_delete(volume_id))
            except NotFound:
                if self._exists(volume_id):
                    raise

    def attach(self, volume_id: str, node: str, *, readonly: bool = False) -> str:
        """Return the device's path on `node`. FailedPrecondition when attached elsewhere.

        AlreadyExists when it is attached there, but not with this `readonly`.
        """
        self._records.store.get_node(node)
        with self._records.lock(volume_id, f"attach to {node}"):
            found = self.interrupted.settle_attachment(volume_id)
            if found.volume.upkeep:  # whoever tries again and again would never let a copy come to its end
                require_enough(found.volume, len(in_sync(found.volume)))
            return self._attaching.attach(self._give_way(found), node, readonly=readonly)

    def reattach(self, volume_id: str) -> None:
        """To its consumer, if that has lost its array: nobody asks for it after a power cut."""
        with self._records.lock(volume_id, "reattach", timeout=TURN_SECONDS):
            volume = self.get(volume_id)
            if is_in_use(volume) and self._attaching.has_lost_array(volume):
                self._attaching.attach(volume, str(volume.consumer), readonly=volume.readonly)

    def detach(self, volume_id: str, node: str | None = None, *, silent: bool = False) -> None:
        """From `node`, or from wherever it is. Nothing to do when unknown or attached elsewhere.

        A node that does not answer is fenced: its volume can then be attached elsewhere. FailedPrecondition
        while in use there; Unavailable when it can neither be asked nor fenced. `silent`: it is known not to
        answer, and is not asked first.
        """
        with self._records.lock(volume_id, "detach"):
            try:
                found = self._records.get(volume_id)
            except NotFound:
                return
            if not found.volume.upkeep and found.volume.consumer in {None, node or found.volume.consumer}:
                self._detach(found, silent=silent)

    def begin_upkeep(self, volume_id: str, node: str) -> None:
        """Attach it for ourselves, if nobody has it."""
        with self._records.lock(volume_id, "upkeep", timeout=TURN_SECONDS):
            volume = self.get(volume_id)
            if volume.attachment is Attachment.DETACHED:
                self._attaching.attach_for_upkeep(volume, node)

    def end_upkeep(self, volume_id: str) -> None:
        """Detach it, if it is attached for ourselves."""
        with self._records.lock(volume_id, "end upkeep", timeout=TURN_SECONDS):
            self._give_way(self.interrupted.settle_attachment(volume_id))

    def end(self, volume_id: str) -> None:
        """Whoever has it, ourselves included; otherwise as `detach`."""
        self.end_upkeep(volume_id)
        self.detach(volume_id)

    def recover(self, volume_id: str, replica_id: str) -> Volume:
        """Go on from a stale replica; what it lacks is gone. FailedPrecondition unless the volume is lost."""
        with self._records.lock(volume_id, "recover"):
            volume = self.get(volume_id)
            replica = get_replica(volume, replica_id)
            if not volume.lost_since:
                named = ", ".join(f"{r.id} on node {r.node}" for r in in_sync(volume))
                raise FailedPrecondition(
                    f"volume {volume.name} is not lost, {named} may come back. Of a machine that never will, "
                    f"say so with `trilith node remove NODE --lost`"
                )
            self._provisioning.require_lost(volume)
            self._provisioning.make_usable(volume, replica)
            recovered = self._records.change(volume_id, lambda v: recover(v, replica_id)).volume
            self._records.tell(recovered, "recovered", f"from stale replica {replica_id}, by somebody's word")
            return recovered

    def scrub(self, volume_id: str, *, repair: bool) -> None:
        """Begin to compare the replicas of a volume in use, or to make them equal to the first member.

        FailedPrecondition while it is not attached, or something is being copied.
        """
        with self._records.lock(volume_id, "scrub"):
            volume = self.get(volume_id)
            if volume.attachment is not Attachment.ATTACHED:
                raise FailedPrecondition(
                    f"volume {volume.name} is {volume.attachment}: only what is in use is read"
                )
            self._attaching.scrub(volume, repair=repair)

    def find_scrub(self, volume_id: str) -> ArrayReport:
        """How far it is. NotFound when the array has gone meanwhile."""
        volume = self.get(volume_id)
        report = self._attaching.find_report(volume)
        if report is None:
            raise NotFound(f"the array of volume {volume.name} has gone")
        return report

    def expand(self, volume_id: str, size_bytes: int) -> Volume:
        """Never smaller: a size up to the present one changes nothing."""
        with self._records.lock(volume_id, "expand"):
            self.interrupted.settle_attachment(volume_id)
            return self._provisioning.expand(volume_id, size_bytes)

    def modify(self, volume_id: str, step: Callable[[Limits], Limits]) -> Volume:
        """Change its limits, in use or not. Unavailable: they are recorded, and are set by a repeat."""
        with self._records.lock(volume_id, "modify"):
            changed = self._records.change(
                volume_id, lambda volume: replace(volume, limits=step(volume.limits))
            ).volume
            if changed.attachment is Attachment.ATTACHED:
                self._attaching.bound(changed)
            return changed

    def find_largest(self, request: VolumeRequest) -> int:
        """Bytes that a volume like this could have now, whatever size it says; 0 when there is no room."""
        return self._provisioning.find_largest(request)

    def get(self, volume_id: str) -> Volume:
        """NotFound when unknown."""
        return self._records.get(volume_id).volume

    def recall(self, volume_id: str) -> Volume:
        """As it was known last: for what never changes. NotFound when unknown."""
        known = self._records.recall(volume_id)
        return self.get(volume_id) if known is None else known.volume

    def find(self, name: str) -> Volume | None:
        found = self._records.store.find_volume(name)
        return None if found is None else found.volume

    def list(self) -> tuple[Volume, ...]:
        """By name."""
        return tuple(found.volume for found in self._records.store.list_volumes())

    def list_page(self, after: str, count: int) -> tuple[Volume, ...]:
        """By id, those that come after the id `after`; at most `count`."""
        return tuple(found.volume for found in self._records.store.list_volumes_after(after, count))

    def _give_way(self, found: Versioned) -> Volume:
        """Our own attachment ends: a copy under way goes on later."""
        if not found.volume.upkeep:
            return found.volume
        self._detaching.detach(found)
        return self.get(found.volume.id)

    def _begin_delete(self, volume_id: str) -> Versioned:
        """As a rule it is detached, which swapping the record proves as well as reading it before does."""
        try:
            return self._provisioning.begin_delete(volume_id)
        except FailedPrecondition:  # for ourselves, perhaps, or cut short on its way
            self._give_way(self.interrupted.settle_attachment(volume_id))
            return self._provisioning.begin_delete(volume_id)

    def _detach(self, found: Versioned, *, silent: bool) -> None:
        if found.volume.attachment is Attachment.ATTACHING:
            self.interrupted.settle_attachment(found.volume.id)
        else:
            self._detaching.detach(found, silent=silent)

    def _repeat(
        self, volume: Volume, request: VolumeRequest, ask: Callable[[Volume | None], VolumeRequest]
    ) -> Volume:
        with self._records.lock(volume.id, f"create {request.name}"):
            try:
                found = self.get(volume.id)
            except NotFound:
                return self.ensure(request.name, ask)
            if found.phase is Phase.DELETING:
                self._provisioning.delete(volume.id)
                return self.ensure(request.name, ask)
            count = request.replica_count or self._records.store.get_pool(request.pool).replica_count
            check_same(found, request, count)
            return self._provisioning.make(found) if found.phase is Phase.CREATING else found

    def _exists(self, volume_id: str) -> bool:
        try:
            self._records.get(volume_id)
        except NotFound:
            return False
        return True
