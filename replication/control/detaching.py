"""A volume's way back from a node: with its consent, or by the fence when it does not answer."""

from collections.abc import Sequence

from replication.control import insync
from replication.control.executor import FENCE, Executor
from replication.control.first_look import FirstLook
from replication.control.parallel import errors_of
from replication.control.rebuild import find_running
from replication.control.records import Records
from replication.control.reporting import follow
from replication.control.starting import list_sure
from replication.errors import FailedPrecondition, NotFound, Unavailable
from replication.model import ArrayReport, Attachment, Replica, Versioned, Volume


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
            there = [r for r in insync.in_sync(found.volume) if self._is_in_cluster(r.node)]
            if there:  # the last detach may have failed just there
                self._fence(found, there)

    def finish(self, volume: Volume) -> None:
        """From DETACHING, however far it came. A machine that crashed has no array: that is no clean end."""
        try:
            found = self._executor.ask_consumer(volume)
        except (Unavailable, NotFound):
            self._force(volume)
        else:
            array = find_running(found, volume)
            if array is not None:
                self._follow(volume, array)
            self._stop(volume, "" if array is None else found.boot_id)

    def _follow(self, volume: Volume, array: ArrayReport) -> None:
        """What only the array knows would end with it: who lacks what it acknowledged, and who has it all."""
        step = follow(str(volume.consumer), array, asked=True)
        if step(volume) != volume:
            self._records.change(volume.id, step)

    def _stop(self, volume: Volume, boot: str) -> None:
        """`boot` is the one in which its array was there; "": it was not."""
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
            self._end(volume, clean=self._is_still_in(volume, boot))

    def _is_still_in(self, volume: Volume, boot: str) -> bool:
        """Else the array may have ended in a crash just before, and nobody has flushed anything."""
        try:
            return bool(boot) and self._executor.boot_of_consumer(volume) == boot
        except Unavailable:
            return False

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
        """Record first; then one fenced replica of the old epoch is enough: its writes need the record.

        Where none is elsewhere, the node itself has to have left the cluster: that only a person can say.
        """
        if not insync.can_fence(volume) and self._is_in_cluster(str(volume.consumer)):
            only = f"the only replica in sync of volume {volume.name} is there, so it cannot be fenced"
            raise Unavailable(f"node {volume.consumer} does not answer, and {only}")
        self._first_look.require_recent(volume, silent=volume.consumer)
        fenced = self._records.change(volume.id, insync.fence)
        self._records.tell(
            volume, "fenced", f"node {volume.consumer} does not answer; epoch {volume.epoch} over"
        )
        if insync.can_fence(volume):
            self._leave_behind(str(volume.consumer), fenced)

    def _is_in_cluster(self, node: str) -> bool:
        try:
            self._records.store.get_node(node)
        except NotFound:
            return False
        return True

    def _leave_behind(self, node: str, fenced: Versioned) -> None:
        """Its own replica, where another has all that was acknowledged for sure; else the next start decides.

        It alone may have what the others' disks have refused: its array acknowledged some of that (ADR 0020).
        """
        others = [r for r in insync.in_sync(fenced.volume) if r.node != node]
        sure, epoch = self._fence(fenced, others), fenced.volume.epoch
        self._records.change(fenced.volume.id, lambda v: insync.leave_behind(v, epoch, node, sure))

    def _fence(self, record: Versioned, replicas: Sequence[Replica]) -> tuple[str, ...]:
        """Those that answered and lack nothing for sure. One that answers is enough for the fence."""
        volume = record.volume
        answers = self._executor.prepare_all(record, replicas, FENCE, lambda a: bool(list_sure(volume, a)))
        errors = errors_of(answers)
        if len(errors) == len(answers):
            named = "; ".join(f"{replica}: {error}" for replica, error in sorted(errors.items()))
            raise Unavailable(f"the last consumer of volume {volume.name} cannot be fenced: {named}")
        return list_sure(volume, answers)
