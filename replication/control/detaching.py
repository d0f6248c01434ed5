"""A volume's way back from a node: with its consent, or by the fence when it does not answer."""

from replication.control import insync
from replication.control.executor import FENCE, Executor
from replication.control.first_look import FirstLook
from replication.control.parallel import errors_of, has_answer
from replication.control.records import Records
from replication.control.restored import catch_up
from replication.errors import FailedPrecondition, NotFound, Unavailable
from replication.model import Attachment, Versioned, Volume


class Detaching:
    """Called under the volume's lock, with the record as it was read there."""

    def __init__(self, records: Records, executor: Executor, first_look: FirstLook) -> None:
        self._records = records
        self._executor = executor
        self._first_look = first_look

    def detach(self, found: Versioned, *, silent: bool = False) -> None:
        """FailedPrecondition while in use. Unavailable when its node is silent and cannot be fenced."""
        if found.volume.attachment is not Attachment.DETACHED:
            changed = self._records.change(found.volume.id, insync.begin_detach).volume
            if silent:
                self._force(changed)
            else:
                self.finish(changed)
        elif found.volume.resync_source is not None:
            self._fence(found)  # the last detach may have failed just there

    def finish(self, volume: Volume) -> None:
        """From DETACHING, however far it came. A machine that crashed has no array: that is no clean end."""
        try:
            array = self._executor.find_array(volume)
        except (Unavailable, NotFound):
            self._force(volume)
        else:
            if array is not None and catch_up(volume, array) != volume:
                # what only the array knows would end with it
                self._records.change(volume.id, lambda v: catch_up(v, array))
            self._stop(volume, present=array is not None)

    def _stop(self, volume: Volume, *, present: bool) -> None:
        try:
            self._executor.detach(volume)
        except FailedPrecondition:
            self._records.change(volume.id, lambda v: insync.undo_detach(v, volume.epoch))
            raise
        except Unavailable:
            if self._answers(volume):
                raise  # slow, not gone: it goes on, and is asked again
            self._force(volume)
        else:
            self._end(volume, clean=present)

    def _end(self, volume: Volume, *, clean: bool) -> None:
        self._executor.release_all(volume)
        how = "" if clean else "; its array was gone already, so a resync is owed"
        self._records.change(
            volume.id,
            lambda v: insync.finish_detach(v, volume.epoch, clean=clean),
            ("detached", f"from node {volume.consumer}, epoch {volume.epoch}{how}"),
        )

    def _answers(self, volume: Volume) -> bool:
        return not errors_of(self._executor.sketch([str(volume.consumer)]))

    def _force(self, volume: Volume) -> None:
        """Record first; then one fenced replica of the old epoch is enough: its writes need the record."""
        if not insync.can_fence(volume):
            only = f"the only replica in sync of volume {volume.name} is there, so it cannot be fenced"
            raise Unavailable(f"node {volume.consumer} does not answer, and {only}")
        self._first_look.require_recent(volume, silent=volume.consumer)
        fenced = self._records.change(volume.id, insync.fence)
        self._records.tell(
            volume, "fenced", f"node {volume.consumer} does not answer; epoch {volume.epoch} over"
        )
        self._fence(fenced)

    def _fence(self, record: Versioned) -> None:
        volume = record.volume
        answers = self._executor.prepare_all(record, insync.in_sync(volume), FENCE, has_answer)
        errors = errors_of(answers)
        if len(errors) == len(answers):
            named = "; ".join(f"{replica}: {error}" for replica, error in sorted(errors.items()))
            raise Unavailable(f"the last consumer of volume {volume.name} cannot be fenced: {named}")
