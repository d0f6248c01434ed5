"""The disks of a fake node, one volume group each: replicas with headers, and no more room than there is."""

import threading
from dataclasses import dataclass, field, replace

from replication.control.placement import EXTENT_BYTES, space_bytes
from replication.errors import (
    DataLoss,
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    NotWiped,
    OutOfSpace,
    StaleEpoch,
    Unavailable,
)
from replication.layout import grow, split
from replication.model import GIB, Ailment, Disk, ReplicaFacts, ReplicaSpec, VolumeGroup
from tests.fakes.arrays import FakeArray, FakeExport

Key = tuple[str, str]  # volume, replica


@dataclass(kw_only=True)
class FakeDisks:
    """`calls` names every call that reached the node."""

    name: str
    disk_bytes: int = 100 * GIB
    more_disks: tuple[str, ...] = ()  # device paths; each as large as the first
    exchanged: tuple[str, ...] = ()  # those of them where another disk is by now
    reserved_bytes: int = 0  # still to be wiped: for nobody to have, until a test says that it is
    silent: bool = False
    heard: set[str] = field(default_factory=set)  # peers that it has heard
    ended: bool = False  # its agent has ended; its kernel goes on
    volatile_cache: bool = False
    ailments: tuple[Ailment, ...] = ()
    suspect: set[Key] = field(default_factory=set)
    pools: dict[str, tuple[str, ...]] = field(default_factory=dict)
    replicas: dict[Key, ReplicaFacts] = field(default_factory=dict)
    ready: set[Key] = field(default_factory=set)  # made so since the boot
    parts: dict[Key, dict[str, int]] = field(default_factory=dict)  # of replicas on several disks: bytes
    striped: set[Key] = field(default_factory=set)
    exports: dict[Key, FakeExport] = field(default_factory=dict)
    arrays: dict[str, FakeArray] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    _mutex: threading.RLock = field(default_factory=threading.RLock)

    def ensure_disk_pool(self, pool: str, disks: tuple[str, ...]) -> tuple[VolumeGroup, ...]:
        self._called("ensure_disk_pool")
        if not disks or not set(disks) <= set(self._paths):
            raise FailedPrecondition(f"{disks} on {self.name}: no such disk")
        if any(self._owner(path) not in {"", pool} for path in disks):
            raise FailedPrecondition(f"{disks} on {self.name} belong to another pool")
        self.pools[pool] = tuple(dict.fromkeys((*self.pools.get(pool, ()), *disks)))
        return tuple(group for group in self._groups() if group.pool == pool)

    def remove_disk_pool(self, pool: str) -> None:
        self._called("remove_disk_pool")
        groups = {group.name for group in self._groups() if group.pool == pool}
        if any(not groups.isdisjoint(facts.groups) for facts in self.replicas.values()):
            raise FailedPrecondition(f"pool {pool} on {self.name} holds replicas")
        self.pools.pop(pool, None)

    def remove_disk(self, volume_group: str) -> None:
        self._called("remove_disk")
        held = [key for key, facts in self.replicas.items() if volume_group in facts.groups]
        if held and any(self._group_name(path) == volume_group for path in self._paths):
            raise FailedPrecondition(f"{volume_group} on {self.name} holds replicas")
        self.replicas = {key: facts for key, facts in self.replicas.items() if key not in held}
        for pool, paths in self.pools.items():
            self.pools[pool] = tuple(path for path in paths if self._group_name(path) != volume_group)

    def examine_storage(self) -> tuple[Ailment, ...]:
        self._called("examine_storage")
        return self.ailments

    def ensure_replica(self, spec: ReplicaSpec) -> ReplicaFacts:
        self._called("ensure_replica")
        key = (spec.volume_id, spec.replica_id)
        with self._mutex:
            if key not in self.replicas:
                self._take(spec)
                self.replicas[key] = _new_replica(spec, volatile_cache=self.volatile_cache)
            if self.replicas[key].size_bytes != spec.size_bytes:
                raise FailedPrecondition(f"replica {key} has another size")
        return self._facts(key)

    def remove_replica(self, volume_id: str, replica_id: str, known_version: int | None = None) -> None:
        self._called("remove_replica")
        found, array = self.replicas.get((volume_id, replica_id)), self.arrays.get(volume_id)
        if found is not None and known_version is not None and found.record_version > known_version:
            raise StaleEpoch(f"replica {replica_id} has seen version {found.record_version}")
        if array is not None and array.has_member(replica_id):
            raise FailedPrecondition(f"an array of {volume_id} on {self.name} uses it")
        self.exports.pop((volume_id, replica_id), None)
        self.replicas.pop((volume_id, replica_id), None)

    def resize_replica(self, volume_id: str, replica_id: str, size_bytes: int) -> ReplicaFacts:
        self._called("resize_replica")
        found = self._get((volume_id, replica_id))
        if size_bytes < found.size_bytes:
            raise InvalidRequest(f"replica {replica_id} never shrinks")
        more = {found.volume_group: space_bytes(size_bytes) - space_bytes(found.size_bytes)}
        if found.other_groups:
            more = self._grow((volume_id, replica_id), space_bytes(size_bytes))
        for group, more_bytes in more.items():
            self._require_room(group, more_bytes)
        for group, more_bytes in more.items() if found.other_groups else ():
            self.parts[volume_id, replica_id][group] += more_bytes
        self.replicas[volume_id, replica_id] = replace(found, size_bytes=size_bytes)
        return self._facts((volume_id, replica_id))

    def _take(self, spec: ReplicaSpec) -> None:
        """OutOfSpace where there is no room."""
        names, needed = (spec.volume_group, *spec.other_groups), space_bytes(spec.size_bytes)
        if len(names) == 1:
            self._require_room(spec.volume_group, needed)
            return
        free = [group.free_bytes for name in names for group in self._groups() if group.name == name]
        sizes = split(needed, free, striped=spec.striped)
        if sizes is None:
            raise OutOfSpace(f"{needed} bytes do not fit on {', '.join(names)} of {self.name}")
        self.parts[spec.volume_id, spec.replica_id] = dict(zip(names, sizes, strict=True))
        self.striped |= {(spec.volume_id, spec.replica_id)} if spec.striped else set()

    def _grow(self, key: Key, needed: int) -> dict[str, int]:
        """By group, how much more it takes."""
        parts = self.parts[key]
        grown = grow(needed, tuple(parts.values()), striped=key in self.striped)
        return {name: now - then for (name, then), now in zip(parts.items(), grown, strict=True)}

    @property
    def _path(self) -> str:
        return "/dev/nvme0n1"

    def _called(self, call: str) -> None:
        self.calls.append(call)
        if self.silent or self.ended:
            raise Unavailable(f"node {self.name} does not answer")

    @property
    def _paths(self) -> tuple[str, ...]:
        return (self._path, *self.more_disks)

    def _owner(self, path: str) -> str:
        return next((pool for pool, paths in self.pools.items() if path in paths), "")

    def _group_name(self, path: str) -> str:
        if path == self._path:
            return f"vg-{self.name}"
        return f"vg-{self.name}-{path.rpartition('/')[2]}{'-new' if path in self.exchanged else ''}"

    def _disks(self) -> tuple[Disk, ...]:
        return tuple(self._disk(path) for path in self._paths)

    def _disk(self, path: str) -> Disk:
        owner, serial = self._owner(path), f"serial-{self.name}"
        group, why = self._group_name(path), "belongs to a pool" if owner else ""
        return Disk(path, serial, "fake", self.disk_bytes, not owner, why, group)

    def _groups(self) -> tuple[VolumeGroup, ...]:
        return tuple(self._group(pool, path) for pool, paths in self.pools.items() for path in paths)

    def _group(self, pool: str, path: str) -> VolumeGroup:
        name, size, reserved = self._group_name(path), self.disk_bytes, self.reserved_bytes
        return VolumeGroup(name, pool, path, size, size - self._used(name) - reserved, reserved)

    def _used(self, group: str) -> int:
        ours = [(key, facts) for key, facts in tuple(self.replicas.items()) if group in facts.groups]
        return sum(
            self.parts[key][group] if facts.other_groups else space_bytes(facts.size_bytes)
            for key, facts in ours
        )

    def _require_room(self, group: str, more_bytes: int) -> None:
        free = self.disk_bytes - self._used(group) - self.reserved_bytes
        if free < more_bytes <= free + self.reserved_bytes:
            raise NotWiped(f"{group}: {self.reserved_bytes} bytes are still to be wiped")
        if more_bytes % EXTENT_BYTES or more_bytes > free:
            raise OutOfSpace(f"{more_bytes} bytes do not fit on {self.name}: {free} are free")

    def _facts(self, key: Key) -> ReplicaFacts:
        return replace(self._get(key), suspect=key in self.suspect)

    def _get(self, key: Key) -> ReplicaFacts:
        if key not in self.replicas:
            raise NotFound(f"no replica {key[1]} of volume {key[0]} on {self.name}")
        return self.replicas[key]

    def _raise_epoch(self, key: Key, epoch: int, record_version: int, marked: int = 0) -> None:
        found = self._get(key)
        if epoch < found.epoch:
            raise StaleEpoch(f"epoch {epoch} of {key} on {self.name}: its header has {found.epoch}")
        if found.record_version < marked:
            raise DataLoss(f"{key} on {self.name} has record version {found.record_version}, had {marked}")
        version = max(found.record_version, record_version)
        self.replicas[key] = replace(found, epoch=epoch, record_version=version)
        self.ready.add(key)

    def _require_ready(self, key: Key, epoch: int) -> None:
        if self._get(key).epoch != epoch:
            raise StaleEpoch(f"{key} on {self.name} is not prepared for epoch {epoch}")
        if key not in self.ready:
            raise Unavailable(f"{key} on {self.name} was made ready before the boot")


def _new_replica(spec: ReplicaSpec, *, volatile_cache: bool) -> ReplicaFacts:
    return ReplicaFacts(
        volume_id=spec.volume_id,
        replica_id=spec.replica_id,
        volume_group=spec.volume_group,
        size_bytes=spec.size_bytes,
        epoch=0,
        record_version=0,
        suspect=False,
        volatile_cache=volatile_cache,
        other_groups=spec.other_groups,
    )
