"""Operations that were cut short: finished, or undone, by whoever gets the volume's lock next."""

from replication.control.attaching import Attaching
from replication.control.detaching import Detaching
from replication.control.lifecycle import Step, choose_step
from replication.control.provisioning import Provisioning
from replication.control.records import Records
from replication.model import Attachment, Versioned, Volume


class Interrupted:
    """Called under the volume's lock: an operation recorded while the lock is free has lost its process."""

    def __init__(
        self, records: Records, provisioning: Provisioning, attaching: Attaching, detaching: Detaching
    ) -> None:
        self._records = records
        self._provisioning = provisioning
        self._attaching = attaching
        self._detaching = detaching

    def settle_attachment(self, volume_id: str) -> Versioned:
        """The record, neither ATTACHING nor DETACHING any more."""
        found = self._records.get(volume_id)
        step = choose_step(found.volume)
        if step not in {Step.UNDO_ATTACH, Step.FINISH_DETACH}:
            return found
        self._do(step, found.volume)
        return self._records.get(volume_id)

    def settle_fence(self, volume_id: str) -> None:
        """The record has given the consumer up; let every replica know that can."""
        found = self._records.get(volume_id)
        if found.volume.attachment is Attachment.DETACHED:
            self._detaching.detach(found)

    def settle(self, volume_id: str) -> None:
        """One step. Raise what stands in its way; it is tried again later."""
        volume = self._records.get(volume_id).volume
        step = choose_step(volume)
        if step is not Step.NOTHING:
            self._records.tell(volume, "interrupted", step)
            self._do(step, volume)

    def _do(self, step: Step, volume: Volume) -> None:
        if step is Step.UNDO_ATTACH:
            self._attaching.undo(volume)
        elif step is Step.FINISH_DETACH:
            self._detaching.finish(volume)
        elif step is Step.FINISH_EXPAND:
            self._provisioning.grow(volume)
        else:
            self._provisioning.delete(volume.id)
