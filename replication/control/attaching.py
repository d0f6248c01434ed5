"""A volume's way to a node: record the epoch, make the replicas ready, record who starts, assemble."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial

from replication.control import insync
from replication.control.executor import PREPARE, Executor
from replication.control.first_look import FirstLook
from replication.control.lifecycle import has_booted, note_marked
from replication.control.records import Records
from replication.control.starting import Start, are_enough, choose_start, order_members, would_do
from replication.errors import AlreadyExists, Conflict, TrilithError, Unavailable, Unsupported
from replication.model import NO_LIMITS, ArrayReport, Attachment, Prepared, Versioned, Volume


class Attaching:
    """Called under the volume's lock, with the record as it was read there."""

    def __init__(self, records: Records, executor: Executor, first_look: FirstLook) -> None:
        self._records = records
        self._executor = executor
        self._first_look = first_look

    def attach(self, volume: Volume, node: str, *, readonly: bool) -> str:
        """The device's path on `node`. AlreadyExists when it is there, but not with this `readonly`."""
        device = self._find_device(volume, node)
        if device is None:
            self._first_look.require_recent(volume)
            return self._begin(volume.id, node, readonly=readonly, upkeep=False)
        if volume.readonly != readonly:
            how = "read-only" if volume.readonly else "writable"
            raise AlreadyExists(f"volume {volume.name} is attached to node {node} already, {how}")
        return device

    def attach_for_upkeep(self, volume: Volume, node: str) -> None:
        """For ourselves: nobody can write to it."""
        self._first_look.require_recent(volume)
        self._begin(volume.id, node, readonly=True, upkeep=True)

    def scrub(self, volume: Volume, *, repair: bool) -> None:
        self._executor.scrub(volume, repair=repair)
        self._records.tell(volume, "scrub", "members are made equal" if repair else "members are compared")

    def find_report(self, volume: Volume) -> ArrayReport | None:
        return None if volume.consumer is None else self._executor.find_array(volume)

    def undo(self, volume: Volume) -> None:
        """Nobody has been told of this attachment. What cannot be reached now is ended by the next epoch.

        Record first. Conflict when it says that the volume is attached: then the store did the last swap, and
        only its answer was lost. An array whose exports were taken away would wait for ever.
        """
        self._records.change(volume.id, lambda v: insync.undo_attach(v, volume.epoch))
        if volume.consumer is not None:
            self._abandon(volume, volume.consumer)
        self._executor.release_all(volume)
        self._records.tell(volume, "undone", f"attachment to node {volume.consumer}, epoch {volume.epoch}")

    def _find_device(self, volume: Volume, node: str) -> str | None:
        """Attached there already: its device, if it still has one."""
        if volume.attachment is not Attachment.ATTACHED or volume.consumer != node:
            return None
        array = self._executor.find_array(volume)
        if array is not None and not array.device:
            raise Unavailable(f"the array of volume {volume.name} on node {node} has no device yet")
        return None if array is None else array.device

    def _begin(self, volume_id: str, node: str, *, readonly: bool, upkeep: bool) -> str:
        begun = self._records.change(
            volume_id, lambda v: replace(insync.begin_attach(v, node), readonly=readonly, upkeep=upkeep)
        )
        try:
            return self._assemble(begun)
        except TrilithError:
            with suppress(Conflict):
                self.undo(begun.volume)
            raise

    def _assemble(self, begun: Versioned) -> str:
        volume = begun.volume
        replicas = insync.in_sync(volume)
        answers = self._executor.prepare_all(begun, replicas, PREPARE, partial(are_enough, volume))
        start = choose_start(volume, answers)
        if not volume.upkeep and would_do(volume, start, answers):
            require_enough(volume, len(start.ready))
        admitted = self._records.change(volume.id, partial(_admit, begun, start))
        self._tell_left_out(volume, start)
        if not volume.upkeep:
            require_enough(volume, len(insync.in_sync(admitted.volume)))
        prepared = {key: answer for key, answer in answers.items() if isinstance(answer, Prepared)}
        device = self._executor.attach(admitted, order_members(admitted.volume, prepared))
        self.bound(volume)
        boot = self._find_boot(volume, prepared)
        self._records.change(
            volume.id,
            lambda v: replace(note_marked(insync.finish_attach(v, volume.epoch)), consumer_boot=boot),
            ("attached", f"to node {volume.consumer} as {device}, epoch {volume.epoch}"),
        )
        if admitted.volume.resync_source is not None:
            self._note_resync(volume)
        return device

    def _note_resync(self, volume: Volume) -> None:
        """It may have ended by now. What its agent told of that before it was recorded has not been heard."""
        with suppress(TrilithError):  # the end of the next one, or of the attachment, is heard
            report = self.find_report(volume)
            if report is not None and report.resync_done:
                self._records.change(volume.id, lambda v: insync.resync_done(v, volume.epoch))

    def bound(self, volume: Volume) -> None:
        """Set its limits on its consumer. Where there are no workloads to be bounded, that is only told."""
        try:
            self._executor.set_limits(volume)
        except Unsupported as error:
            if volume.limits != NO_LIMITS:
                self._records.tell(volume, "not-bounded", str(error))

    def _find_boot(self, volume: Volume, prepared: Mapping[str, Prepared]) -> str:
        """The consumer's. Its own replica's answer has it; else it is asked."""
        own = [r.id for r in volume.replicas if r.node == volume.consumer and r.id in prepared]
        if own:
            return prepared[own[0]].boot_id
        try:
            return self.read_boot(volume)
        except Unavailable:
            return ""

    def read_boot(self, volume: Volume) -> str:
        """The boot that its consumer is in now."""
        return self._executor.boot_of_consumer(volume)

    def has_lost_array(self, volume: Volume) -> bool:
        """To a boot, or to a detachment done late, after it was refused and taken back.

        FailedPrecondition when it is there and in use, and its agent only cannot look at it.
        """
        if not has_booted(volume, self.read_boot(volume)):
            if self.find_report(volume) is not None:
                return False
            self._executor.detach(volume)
        return True

    def _tell_left_out(self, volume: Volume, start: Start) -> None:
        for replica_id, why in start.reasons.items():
            self._records.tell(volume, "left-out", f"replica {replica_id} does not start: {why}")

    def _abandon(self, volume: Volume, node: str) -> None:
        try:
            self._executor.abandon(node, volume.id, volume.epoch)
        except TrilithError as error:
            self._records.tell(volume, "not-abandoned", f"epoch {volume.epoch} on node {node}: {error}")


def _admit(begun: Versioned, start: Start, volume: Volume) -> Volume:
    admitted = insync.admit(volume, begun.volume.epoch, start.ready, start.left_out)
    return insync.mark(admitted, start.ready, begun.version)


def require_enough(volume: Volume, count: int) -> None:
    """Nobody may write on fewer replicas than the settings say; we do not write, and bring others back."""
    if count < volume.min_in_sync:
        wanted = f"min-in-sync-replicas is {volume.min_in_sync}"
        raise Unavailable(f"volume {volume.name}: only {count} replicas in sync can start, {wanted}")
