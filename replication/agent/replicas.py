"""Replicas on this node: made, measured, made ready for an epoch, let go, removed.

The header on the logical volume is what protects it: an epoch below the header's is refused, whatever the
caller's record says, so that a store restored from an old backup cannot bring an old consumer back.
"""

import logging
import threading
import uuid
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from replication.agent import headers
from replication.agent.books import Part, is_whole
from replication.agent.machine import Machine
from replication.agent.names import NQN_PREFIX, ExportName, parse_export_name
from replication.agent.remembered import Remembered
from replication.agent.storage import Place, Storage
from replication.agent.suspects import Suspects
from replication.agent.wiping import Wiping
from replication.errors import (
    DataLoss,
    FailedPrecondition,
    KernelError,
    NotFound,
    StaleEpoch,
    TrilithError,
    Unavailable,
    Unsupported,
)
from replication.kernel import blockdev, direct, header
from replication.kernel.header import Header
from replication.kernel.nvmet import Export
from replication.layout import DATA_OFFSET_BYTES
from replication.model import Prepared, PrepareSpec, ReplicaFacts, ReplicaSpec, Target

FENCE_TIMEOUT = 8.0

_log = logging.getLogger(__name__)


class Replicas:
    """The replica acts of rpc/contract.py. One act at a time for each replica."""

    def __init__(self, machine: Machine, storage: Storage, wiping: Wiping) -> None:
        self._machine = machine
        self._storage = storage
        self._wiping = wiping
        self.suspects = Suspects(machine, storage)
        self._locks: defaultdict[tuple[str, str], threading.Lock] = defaultdict(threading.Lock)
        self._remembered = Remembered(self._find_facts)
        self._ready: dict[tuple[str, str], int] = {}  # for which epoch this agent has made it so last

    def list_facts(self) -> tuple[ReplicaFacts, ...]:
        """Of replicas that are whole and can be read.

        One whose making was interrupted has no header yet; a dead disk leaves the node's other disks to us.
        """
        return self._remembered.list_all(self._storage.list_places())

    def _find_facts(self, place: Place) -> ReplicaFacts | None:
        try:
            head = headers.find(self._machine.tree, place)
            return None if head is None else self._facts(place, head)
        except (DataLoss, KernelError, NotFound):
            return None

    def ensure(self, spec: ReplicaSpec) -> ReplicaFacts:
        """The header is written last: until then the logical volume is nothing, and is made anew."""
        with self._locks[spec.volume_id, spec.replica_id]:
            found = self._storage.find_place(spec.volume_id, spec.replica_id)
            if found is not None and self._find_header(found) is None:
                self._take_away(found)
            self._clear(spec)
            place = self._wiping.with_room(spec.volume_group, lambda: self._ensure_volume(spec))
            head = self._find_header(place) or self._write_header(place, self._new_header(spec))
            if head.size_bytes != spec.size_bytes:
                name = f"replica {spec.replica_id} of {spec.volume_id}"
                raise FailedPrecondition(f"{name} has {head.size_bytes} bytes, not {spec.size_bytes}")
            return self._facts(place, head)

    def _clear(self, spec: ReplicaSpec) -> None:
        """Where every disk is there that it was to lie on, parts that lack others are what a crash left."""
        remains = self._storage.find_remains(spec.volume_id, spec.replica_id)
        if remains and not is_whole(remains):
            for group in (spec.volume_group, *spec.other_groups):
                self._storage.get_volume_group(group)
            self._take_remains_away(spec.volume_id, spec.replica_id)

    def _ensure_volume(self, spec: ReplicaSpec) -> Place:
        ids, size = (spec.volume_id, spec.replica_id), DATA_OFFSET_BYTES + spec.size_bytes
        if not spec.other_groups:
            return self._storage.ensure_volume(*ids, spec.volume_group, size)
        groups = (spec.volume_group, *spec.other_groups)
        return self._storage.ensure_parts(*ids, groups, size, striped=spec.striped)

    def _new_header(self, spec: ReplicaSpec) -> Header:
        return Header(
            cluster=self._machine.cluster,
            volume_id=spec.volume_id,
            replica_id=spec.replica_id,
            generation=1,
            epoch=0,
            record_version=0,
            size_bytes=spec.size_bytes,
            bitmap_chunk_bytes=spec.bitmap_chunk_bytes,
        )

    def remove(self, volume_id: str, replica_id: str, known_version: int | None = None) -> None:
        """StaleEpoch when it was made ready for a record newer than `known_version`."""
        with self._locks[volume_id, replica_id]:
            place = self._storage.find_place(volume_id, replica_id)
            if place is not None:
                if known_version is not None:
                    self._check_known(place, known_version)
                self._take_away(place)
            else:  # its disk is away: of what was on it only this is left
                self._fence(volume_id, replica_id, keep="")
            self._take_remains_away(volume_id, replica_id, known_version)
            self.suspects.settle(volume_id, replica_id)

    def _check_known(self, place: Place, version: int) -> None:
        head = self._find_header(place)
        if head is not None:
            _check_version(head, version)

    def _take_away(self, place: Place) -> None:
        """To be wiped later, unless nobody was ever let at it: then it holds zeroes still."""
        self._check_unused(place)
        self._fence(place.volume_id, place.replica_id, keep="")
        if self._is_untouched(place):
            headers.remove(place)
            self._remembered.forget(place.volume_id, place.replica_id)
            self._storage.remove_volume(place)
        else:
            headers.discard(place)
            self._remembered.forget(place.volume_id, place.replica_id)
            self._storage.discard_volume(place)
            for group in place.groups:
                self._wiping.wake(group)

    def _take_remains_away(self, volume_id: str, replica_id: str, known_version: int | None = None) -> None:
        """Parts that are no replica, because others are missing. One that errs keeps none of the others."""
        parts = self._storage.find_remains(volume_id, replica_id)
        if not parts:
            return
        if known_version is not None:
            self._check_remains_known(parts, known_version)
        self._fence(volume_id, replica_id, keep="")
        self._storage.part(volume_id, replica_id)
        errors = list[TrilithError]()
        for part in parts:
            try:
                header.discard_header(part.device)
                self._storage.discard_parts((part,))
            except (KernelError, NotFound) as error:
                errors.append(error)
            self._wiping.wake(part.volume_group)
        if errors:
            raise errors[0]

    def _check_remains_known(self, parts: Sequence[Part], version: int) -> None:
        for part in parts:
            with suppress(DataLoss, KernelError, NotFound):
                head = header.find_header(part.device)
                if head is not None:
                    _check_version(head, version)

    def take_up_discarded(self) -> None:
        """What an agent before us took away, and did not come to name so. Of a dead disk nothing is known.

        It may have marked the header only: a part that is left when another has been wiped must show it, too.
        """
        for place in self._storage.list_places():
            with suppress(FailedPrecondition, KernelError, NotFound, Unsupported):
                if header.is_discarded(place.device):
                    headers.discard(place)
                    self._storage.discard_volume(place)
        for part in self._storage.list_remains():
            with suppress(FailedPrecondition, KernelError, NotFound, Unsupported):
                if header.is_discarded(part.device):
                    self._storage.discard_parts((part,))

    def _is_untouched(self, place: Place) -> bool:
        """Whoever is let at a replica has made it ready for an epoch first."""
        head = self._find_header(place)
        return head is not None and head.epoch == 0

    def resize(self, volume_id: str, replica_id: str, size_bytes: int) -> ReplicaFacts:
        with self._locks[volume_id, replica_id]:
            place = self._storage.get_place(volume_id, replica_id)
            head = self._get_header(place)
            if head.size_bytes < size_bytes:
                self._zero_rest(place, head)
                size = DATA_OFFSET_BYTES + size_bytes
                extend = partial(self._storage.extend_volume, place, size)
                self._wiping.with_room(place.volume_group, extend)
                self._check_grown(place, size)
                head = self._write_header(place, replace(head, size_bytes=size_bytes))
            for name in self._exports(volume_id, replica_id):
                self._machine.target.revalidate_size(name)
            return self._facts(place, head)

    def _zero_rest(self, place: Place, head: Header) -> None:
        """Behind the data: the end of an extent, or what a growth that was interrupted had added."""
        end = blockdev.size_bytes(self._machine.tree, self._kernel_name(place))
        begin = DATA_OFFSET_BYTES + head.size_bytes
        if begin < end:
            direct.zero_range(place.device, begin, end - begin)

    def _check_grown(self, place: Place, size_bytes: int) -> None:
        """LVM may have been killed between what it writes down and what it tells the kernel."""
        size = blockdev.size_bytes(self._machine.tree, self._kernel_name(place))
        if place.parts and size < size_bytes:
            raise KernelError(f"{place.device} has {size} bytes, {size_bytes} are wanted")

    def prepare(self, spec: PrepareSpec) -> Prepared:
        with self._locks[spec.volume_id, spec.replica_id]:
            place = self._storage.get_place(spec.volume_id, spec.replica_id)
            head = self._get_header(place)
            self._check_epoch(head, spec.epoch)
            self._check_age(head, spec.marked)
            self._check_news(spec)
            name = self._export_name(spec) if spec.consumer else ""
            self._fence(spec.volume_id, spec.replica_id, keep=name)
            version = max(head.record_version, spec.record_version)  # late words make it no older
            refused = self.suspects.has(spec.volume_id, spec.replica_id)  # the fence has drained
            renewed = spec.full_copy and spec.record_version > head.record_version  # told for the first time
            suspect = (head.suspect or refused) and not renewed
            head = replace(head, epoch=spec.epoch, record_version=version, suspect=suspect)
            head = self._write_header(place, head)
            if refused:  # not what has come since: in a word that comes twice it may be in use by now
                self.suspects.settle(spec.volume_id, spec.replica_id)
            self._ready[spec.volume_id, spec.replica_id] = spec.epoch
            target = self._export(spec, place, name)
            return Prepared(self._facts(place, head), self._machine.boot_id, target)

    def mark_suspect(self, volume_id: str, replica_id: str) -> None:
        """Its header says so until all of it has been copied. Repeatable. NotFound while its disk is away."""
        with self._locks[volume_id, replica_id]:
            place = self._storage.get_place(volume_id, replica_id)
            if headers.mark_suspect(place):
                self._remembered.forget(volume_id, replica_id)
                _log.warning("replica %s of %s: its disk refused a write", replica_id, volume_id)
            self.suspects.settle(volume_id, replica_id)

    def find_device(self, volume_id: str, replica_id: str, epoch: int) -> str:
        """Path of its logical volume, for an array of `epoch`. StaleEpoch when it has seen a later one.

        Unavailable unless this agent has made it ready for that: since the one before, its disk may have lost
        power, and have forgotten what it was chosen for. Of others an export, which is gone then, tells it.
        """
        place = self._storage.get_place(volume_id, replica_id)
        self._check_epoch(self._get_header(place), epoch)
        if self._ready.get((volume_id, replica_id)) != epoch:
            lacking = f"was not made ready for epoch {epoch} since this agent began"
            raise Unavailable(f"replica {replica_id} of {volume_id} {lacking}: try again")
        return place.device

    def check_unused(self, volume_id: str, replica_id: str) -> None:
        """FailedPrecondition while an array of this node uses it."""
        self._check_unused(self._storage.get_place(volume_id, replica_id))

    def _check_epoch(self, head: Header, epoch: int) -> None:
        if epoch < head.epoch:
            seen = f"replica {head.replica_id} of {head.volume_id} has seen epoch {head.epoch}"
            raise StaleEpoch(f"{seen}, {epoch} is over")

    def _check_news(self, spec: PrepareSpec) -> None:
        """What comes late would end the export of the attempt after it, which is in use by now."""
        for nqn in self._exports(spec.volume_id, spec.replica_id):
            name = parse_export_name(nqn)
            if name and name.epoch == spec.epoch and name.record_version > spec.record_version:
                raise StaleEpoch(
                    f"replica {spec.replica_id} of {spec.volume_id} is exported for version "
                    f"{name.record_version} of its record, {spec.record_version} is over"
                )

    def _check_age(self, head: Header, marked: int) -> None:
        if head.record_version < marked:
            seen = f"record version {head.record_version} in its header, and has had {marked}"
            raise DataLoss(
                f"replica {head.replica_id} of {head.volume_id} has {seen}: its disk is an old copy of itself"
            )

    def _export_name(self, spec: PrepareSpec) -> str:
        name = ExportName(
            spec.volume_id, spec.replica_id, spec.epoch, spec.record_version, self._machine.boot
        )
        return str(name)

    def _export(self, spec: PrepareSpec, place: Place, nqn: str) -> Target | None:
        consumer = spec.consumer
        if consumer is None:
            return None
        machine = self._machine
        export = Export(
            nqn=nqn,
            device=place.device,
            host_nqn=consumer.host_nqn,
            address=machine.data_address,
            port=machine.data_port,
            namespace_uuid=str(uuid.uuid5(uuid.NAMESPACE_URL, nqn)),
            host_key=consumer.host_key,
            controller_key=consumer.controller_key,
        )
        machine.target.ensure_export(export)
        return Target(
            nqn=nqn,
            address=machine.data_address,
            port=machine.data_port,
            host_nqn=consumer.host_nqn,
            host_key=consumer.host_key,
            controller_key=consumer.controller_key,
        )

    def release(self, volume_id: str, replica_id: str, epoch: int) -> None:
        with self._locks[volume_id, replica_id]:
            for nqn in self._exports(volume_id, replica_id):
                name = parse_export_name(nqn)
                if name is not None and name.epoch <= epoch:
                    self._machine.target.fence(nqn, timeout=FENCE_TIMEOUT)

    def _fence(self, volume_id: str, replica_id: str, *, keep: str) -> None:
        for nqn in self._exports(volume_id, replica_id):
            if nqn != keep:
                self._machine.target.fence(nqn, timeout=FENCE_TIMEOUT)

    def _exports(self, volume_id: str, replica_id: str) -> list[str]:
        prefix = f"{NQN_PREFIX}{volume_id}:{replica_id}:"
        return [export.nqn for export in self._machine.target.list_exports(prefix)]

    def _check_unused(self, place: Place) -> None:
        users = blockdev.holders(self._machine.tree, self._kernel_name(place))
        if users:
            name = f"replica {place.replica_id} of {place.volume_id}"
            raise FailedPrecondition(f"{name} is part of an array of this node ({users[0]})")

    def _kernel_name(self, place: Place) -> str:
        return blockdev.kernel_name(self._machine.tree, place.device)

    def _write_header(self, place: Place, head: Header) -> Header:
        stored = headers.write(place, head)
        self._remembered.forget(place.volume_id, place.replica_id)
        return stored

    def _find_header(self, place: Place) -> Header | None:
        """None also for what an earlier volume left there: a new replica's place holds old bytes."""
        try:
            head = headers.find(self._machine.tree, place)
        except DataLoss:
            return None
        return head if head is not None and self._belongs(head, place) else None

    def _get_header(self, place: Place) -> Header:
        head = headers.read(self._machine.tree, place)
        if not self._belongs(head, place):
            raise DataLoss(
                f"{place.device}: the header is of replica {head.replica_id} of {head.volume_id} "
                f"of cluster {head.cluster}"
            )
        return head

    def _belongs(self, head: Header, place: Place) -> bool:
        known = (self._machine.cluster, place.volume_id, place.replica_id)
        return (head.cluster, head.volume_id, head.replica_id) == known

    def _facts(self, place: Place, head: Header) -> ReplicaFacts:
        return ReplicaFacts(
            volume_id=place.volume_id,
            replica_id=place.replica_id,
            volume_group=place.volume_group,
            other_groups=place.groups[1:],
            size_bytes=head.size_bytes,
            epoch=head.epoch,
            record_version=head.record_version,
            suspect=head.suspect,
            volatile_cache=blockdev.has_volatile_cache(self._machine.tree, self._kernel_name(place)),
        )


def _check_version(head: Header, version: int) -> None:
    if head.record_version > version:
        raise StaleEpoch(
            f"replica {head.replica_id} of volume {head.volume_id} has seen version "
            f"{head.record_version} of its record, and was to be removed as of {version}"
        )
