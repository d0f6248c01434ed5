"""The disks of this node: which are ours, which could be, and the logical volumes on them.

Read from LVM once, and again when a change did not go as it should: LVM's tools are slow, and nobody else
changes volume groups with our tag.

Free extents hold zeroes. What may hold old bytes is a logical volume of its own, dirty, until it has been
wiped (agent/wiping.py). Of a group without the tag _WIPED_TAG nothing is known: none of it is free.
"""

import threading
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from replication.agent.discovery import Discovery
from replication.agent.names import (
    is_dirty_name,
    logical_volume_name,
    new_dirty_name,
    parse_logical_volume_name,
)
from replication.clock import Clock
from replication.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidRequest,
    KernelError,
    NotFound,
    NotWiped,
    OutOfSpace,
    TrilithError,
)
from replication.kernel import lvm_report
from replication.kernel.disks import FoundDisk
from replication.kernel.lvm import Lvm, round_up
from replication.kernel.run import Runner
from replication.kernel.sysfs import Tree
from replication.model import Disk, VolumeGroup

_TAG = "trilith"
_POOL_TAG = "trilith.pool."
_WIPED_TAG = "trilith.wiped"  # what is free holds zeroes


@dataclass(frozen=True, slots=True)
class Place:
    """Where a replica lies."""

    volume_id: str
    replica_id: str
    volume_group: str
    device: str


@dataclass(frozen=True, slots=True)
class Dirty:
    """A logical volume of old bytes."""

    name: str
    size_bytes: int
    device: str


class Storage:
    """Safe to use from several threads; changes go one after the other.

    What there is, is told without waiting for a change under way: values are replaced as a whole.
    """

    def __init__(self, tree: Tree, runner: Runner, clock: Clock) -> None:
        self._runner = runner
        self._discovery = Discovery(tree, runner, clock)
        self._lock = threading.RLock()
        self._lvm = Lvm(runner, ())
        self._groups: tuple[lvm_report.VolumeGroup, ...] = ()
        self._sizes: dict[tuple[str, str], int] = {}  # bytes, by group and logical volume
        self._places: dict[tuple[str, str], Place] = {}
        self._unsettled: set[str] = set()  # groups that a change may or may not have changed
        self._read(self._candidates())
        self._activate()

    def _candidates(self) -> tuple[str, ...]:
        found = self._discovery.look()
        return tuple(disk.path for disk in found if disk.signature == "LVM2_member")

    def _read(self, devices: tuple[str, ...]) -> None:
        """From LVM, of `devices` those that carry our tag.

        A group that LVM does not show stays known: its disk errs. Only `remove_pool` takes one away.
        """
        everything = Lvm(self._runner, devices).list_volume_groups() if devices else ()
        shown = tuple(group for group in everything if _TAG in group.tags)
        names = {group.name for group in shown}
        hidden = tuple(group for group in self._groups if group.name not in names)
        kept = {key: size for key, size in self._sizes.items() if key[0] not in names}
        self._groups = (*shown, *hidden)
        self._lvm = Lvm(self._runner, tuple(disk for group in self._groups for disk in group.disks))
        volumes = self._lvm.list_logical_volumes() if self._groups else ()
        ours = (volume for volume in volumes if volume.group in names and _TAG in volume.tags)
        self._learn(kept | {(volume.group, volume.name): volume.size_bytes for volume in ours})

    def _learn(self, sizes: Mapping[tuple[str, str], int]) -> None:
        self._sizes = dict(sizes)
        places = (_parse_place(group, name) for group, name in sizes)
        self._places = {(place.volume_id, place.replica_id): place for place in places if place is not None}

    def _activate(self) -> None:
        for group, name in self._sizes:
            self._lvm.activate(group, name)

    def refresh(self) -> None:
        """Find what others did to our volume groups, too."""
        candidates = self._candidates()
        with self._lock:
            self._read(candidates)

    def list_volume_groups(self) -> tuple[VolumeGroup, ...]:
        return tuple(self._describe(group) for group in self._groups)

    def find_volume_group(self, name: str) -> VolumeGroup | None:
        return next((group for group in self.list_volume_groups() if group.name == name), None)

    def _describe(self, group: lvm_report.VolumeGroup) -> VolumeGroup:
        free = group.free_bytes if _WIPED_TAG in group.tags else 0
        reserved = group.free_bytes - free + sum(dirty.size_bytes for dirty in self.list_dirty(group.name))
        return VolumeGroup(group.name, pool_of(group), group.disks[0], group.size_bytes, free, reserved)

    def list_places(self) -> tuple[Place, ...]:
        return tuple(self._places.values())

    def list_disks(self) -> tuple[Disk, ...]:
        """Every local disk, whether it is usable, and which volume group of ours is on it."""
        by_disk = {disk: group for group in self._groups for disk in group.disks}
        return tuple(_describe_disk(disk, by_disk.get(disk.path)) for disk in self._discovery.list())

    def ensure_pool(self, pool: str, disks: tuple[str, ...]) -> tuple[VolumeGroup, ...]:
        with self._lock:
            known = {disk: group for group in self._groups for disk in group.disks}
            fresh = tuple(path for path in disks if path not in known)
            for path in disks:
                if path in known and pool_of(known[path]) != pool:
                    raise FailedPrecondition(f"{path} belongs to pool {pool_of(known[path])}, not {pool}")
            self._take(pool, fresh, tuple(known))
            return tuple(group for group in self.list_volume_groups() if group.pool == pool)

    def _take(self, pool: str, fresh: tuple[str, ...], known: tuple[str, ...]) -> None:
        found = {disk.path: disk for disk in self._discovery.look()} if fresh else {}
        for path in fresh:
            _check_usable(path, found.get(path))
        lvm = Lvm(self._runner, (*known, *fresh))
        for path in fresh:
            lvm.ensure_volume_group(group_name(found[path]), path, frozenset({_TAG, _POOL_TAG + pool}))
        if fresh:
            self._read((*known, *fresh))
            self._discovery.forget()

    def remove_pool(self, pool: str) -> None:
        with self._lock:
            ours = [group for group in self._groups if pool_of(group) == pool]
            names = {group.name for group in ours}
            left = [place for place in self._places.values() if place.volume_group in names]
            if left:
                volumes = ", ".join(sorted({place.volume_id for place in left}))
                raise FailedPrecondition(f"pool {pool} still holds replicas of {volumes}")
            for group in ours:
                if self._lvm.find_volume_group(group.name):  # else an attempt that seemed to fail did it
                    self._remove_group(group.name)
                self._groups = tuple(each for each in self._groups if each.name != group.name)
            self._discovery.forget()

    def _remove_group(self, group: str) -> None:
        for dirty in self.list_dirty(group):
            self.cut(group, dirty.name, 0)
        with self._changing(group):
            self._lvm.remove_volume_group(group)

    def find_place(self, volume_id: str, replica_id: str) -> Place | None:
        return self._places.get((volume_id, replica_id))

    def get_place(self, volume_id: str, replica_id: str) -> Place:
        place = self.find_place(volume_id, replica_id)
        if place is None:
            raise NotFound(f"replica {replica_id} of volume {volume_id} is not on this node")
        return place

    def ensure_volume(self, volume_id: str, replica_id: str, group: str, size_bytes: int) -> Place:
        """A logical volume; a new one is of zeroes. NotWiped when these have to be written first."""
        with self._lock:
            home, name = self._get_group(group), logical_volume_name(volume_id, replica_id)
            found, wanted = self._sizes.get((group, name)), round_up(size_bytes, home.extent_bytes)
            if found is None:
                self._require_room(home, wanted)
                self._create(home, name, wanted)
            elif found != wanted:
                raise AlreadyExists(f"logical volume {group}/{name} has {found} bytes, not {wanted}")
            return self.get_place(volume_id, replica_id)

    def _get_group(self, name: str) -> lvm_report.VolumeGroup:
        for group in self._groups:
            if group.name == name:
                return group
        raise NotFound(f"there is no volume group {name} on this node's disks")

    def _require_room(self, home: lvm_report.VolumeGroup, wanted_bytes: int) -> None:
        group = self._describe(home)
        if wanted_bytes <= group.free_bytes:
            return
        left = f"{wanted_bytes} bytes are wanted of {group.disk}, {group.free_bytes} are free"
        if wanted_bytes > group.free_bytes + group.reserved_bytes:
            raise OutOfSpace(f"{left}, and {group.reserved_bytes} will be once they are wiped")
        error = NotWiped(f"{left}; {group.reserved_bytes} are still to be wiped, repeat the call")
        error.wanted_bytes = wanted_bytes
        raise error

    def _create(self, home: lvm_report.VolumeGroup, name: str, size_bytes: int) -> None:
        with self._changing(home.name):
            self._lvm.create_logical_volume(home, name, size_bytes, frozenset({_TAG}))
            self._resized(home.name, name, size_bytes)

    def _resized(self, group: str, name: str, size_bytes: int) -> None:
        """What a change that was made means; 0 bytes: removed."""
        grown = size_bytes - self._sizes.get((group, name), 0)
        self._groups = tuple(
            replace(each, free_bytes=each.free_bytes - grown) if each.name == group else each
            for each in self._groups
        )
        self._learn({key: size for key, size in {**self._sizes, (group, name): size_bytes}.items() if size})

    def extend_volume(self, place: Place, size_bytes: int) -> None:
        """By zeroes. NotWiped when these have to be written first."""
        with self._lock:
            home, name = self._get_group(place.volume_group), logical_volume_name(*_ids(place))
            grown = round_up(size_bytes, home.extent_bytes) - self._sizes.get((home.name, name), 0)
            self._require_room(home, grown)
            with self._changing(home.name):
                extended = self._lvm.extend(home.name, name, size_bytes)
                self._resized(home.name, name, extended.size_bytes)

    def remove_volume(self, place: Place) -> None:
        """Only what holds nothing but zeroes."""
        with self._lock, self._changing(place.volume_group):
            name = logical_volume_name(*_ids(place))
            self._lvm.remove_logical_volume(place.volume_group, name)
            self._resized(place.volume_group, name, 0)

    def discard_volume(self, place: Place) -> None:
        """It is a replica no more, and is to be wiped."""
        with self._lock, self._changing(place.volume_group):
            group, name, dirty = place.volume_group, logical_volume_name(*_ids(place)), new_dirty_name()
            self._lvm.rename(group, name, dirty)
            size = self._sizes[group, name]
            self._learn({k: v for k, v in self._sizes.items() if k != (group, name)} | {(group, dirty): size})

    def list_dirty(self, group: str) -> tuple[Dirty, ...]:
        return tuple(
            Dirty(name, size, f"/dev/{group}/{name}")
            for (home, name), size in self._sizes.items()
            if home == group and is_dirty_name(name)
        )

    def doubt_free_space(self, group: str) -> None:
        """What is free on a disk that is new to us, or to this way of keeping it, is to be wiped.

        The tag comes last: until then nothing of the group is free. Repeatable.
        """
        with self._lock, self._changing(group):
            home = self._get_group(group)
            if _WIPED_TAG in home.tags:
                return
            if home.free_bytes:
                name = new_dirty_name()
                self._lvm.create_logical_volume(home, name, home.free_bytes, frozenset({_TAG}))
                self._resized(group, name, home.free_bytes)
            self._lvm.add_tag(group, _WIPED_TAG)
            self._groups = tuple(
                replace(each, tags=each.tags | {_WIPED_TAG}) if each.name == group else each
                for each in self._groups
            )

    def cut(self, group: str, name: str, size_bytes: int) -> None:
        """All behind the first `size_bytes` of a dirty volume is free; it must be zeroes, and stable."""
        with self._lock, self._changing(group):
            if size_bytes:
                self._lvm.reduce(group, name, size_bytes)
            else:
                self._lvm.remove_logical_volume(group, name)
            self._resized(group, name, size_bytes)

    @contextmanager
    def _changing(self, group: str) -> Iterator[None]:
        """Around a change: when it fails nobody knows what it did, so this group is read anew.

        Now, or before its next change: a disk that errs for a moment costs no more than that.
        """
        self._settle(group)
        self._unsettled.add(group)
        try:
            yield
        except TrilithError:
            with suppress(TrilithError):
                self._settle(group)
            raise
        self._unsettled.discard(group)

    def _settle(self, group: str) -> None:
        if group in self._unsettled:
            self._read_again(group)
            self._unsettled.discard(group)

    def _read_again(self, group: str) -> None:
        """KernelError when LVM does not show it: NotFound would say that what is on it is gone."""
        found = self._lvm.find_volume_group(group)
        if found is None:
            raise KernelError(f"LVM does not show volume group {group}: does its disk answer?")
        volumes = (v for v in self._lvm.list_logical_volumes() if v.group == group and _TAG in v.tags)
        self._groups = tuple(found if each.name == group else each for each in self._groups)
        others = {key: size for key, size in self._sizes.items() if key[0] != group}
        self._learn(others | {(group, volume.name): volume.size_bytes for volume in volumes})


def pool_of(group: lvm_report.VolumeGroup) -> str:
    tags = (tag.removeprefix(_POOL_TAG) for tag in sorted(group.tags) if tag.startswith(_POOL_TAG))
    return next(tags, "")


def group_name(disk: FoundDisk) -> str:
    """Of the volume group on a disk: the same on every node and after every boot for the same disk."""
    identity = f"{disk.model}/{disk.serial or disk.path}"
    return f"trilith_{zlib.crc32(identity.encode()):08x}"


def _parse_place(group: str, name: str) -> Place | None:
    ids = parse_logical_volume_name(name)
    return Place(*ids, group, f"/dev/{group}/{name}") if ids else None


def _ids(place: Place) -> tuple[str, str]:
    return place.volume_id, place.replica_id


def _describe_disk(disk: FoundDisk, group: lvm_report.VolumeGroup | None) -> Disk:
    why_not = f"in pool {pool_of(group)} already" if group else disk.why_not
    name = group.name if group else ""
    return Disk(disk.path, disk.serial, disk.model, disk.size_bytes, disk.usable and not group, why_not, name)


def _check_usable(path: str, disk: FoundDisk | None) -> None:
    if disk is None:
        raise InvalidRequest(f"{path} is not a disk of this node")
    if not disk.usable:
        raise FailedPrecondition(f"{path} is not usable: {disk.why_not}")
