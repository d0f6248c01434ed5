"""What volume groups of ours hold, as values: what a change means for them is known before it is made."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from replication.agent.names import (
    PartName,
    is_dirty_name,
    logical_volume_name,
    parse_logical_volume_name,
    parse_part_name,
)
from replication.errors import FailedPrecondition, NotFound, NotWiped, OutOfSpace
from replication.kernel import lvm_report
from replication.kernel.lvm import Command
from replication.model import VolumeGroup

TAG = "trilith"
POOL_TAG = "trilith.pool."
WIPED_TAG = "trilith.wiped"  # what is free holds zeroes

Key = tuple[str, str]
"""A volume group and a logical volume in it."""


@dataclass(frozen=True, slots=True)
class Part:
    """One of the logical volumes of a replica that lies on several disks."""

    volume_group: str
    name: PartName

    @property
    def key(self) -> Key:
        return self.volume_group, str(self.name)

    @property
    def device(self) -> str:
        return f"/dev/{self.volume_group}/{self.name}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a replica lies; `parts` are those that `device` is put together from, none on one disk."""

    volume_id: str
    replica_id: str
    volume_group: str  # the first one
    device: str
    parts: tuple[Part, ...] = ()

    @property
    def groups(self) -> tuple[str, ...]:
        return tuple(part.volume_group for part in self.parts) or (self.volume_group,)

    @property
    def keys(self) -> tuple[Key, ...]:
        """Its logical volumes."""
        single = (self.volume_group, logical_volume_name(self.volume_id, self.replica_id))
        return tuple(part.key for part in self.parts) or (single,)


@dataclass(frozen=True, slots=True)
class Dirty:
    """A logical volume of old bytes."""

    name: str
    size_bytes: int
    device: str


@dataclass(frozen=True, slots=True)
class Books:
    """`discarded`: logical volumes that are replicas no more, and are not named so yet."""

    groups: tuple[lvm_report.VolumeGroup, ...] = ()
    sizes: Mapping[Key, int] = field(default_factory=lambda: MappingProxyType({}))  # bytes
    discarded: frozenset[Key] = frozenset()

    def get_group(self, name: str) -> lvm_report.VolumeGroup:
        for group in self.groups:
            if group.name == name:
                return group
        raise NotFound(f"there is no volume group {name} on this node's disks")

    def describe(self, group: lvm_report.VolumeGroup) -> VolumeGroup:
        free = group.free_bytes if WIPED_TAG in group.tags else 0
        old = sum(self.sizes[group.name, name] for name in self.list_old(group.name))
        reserved = group.free_bytes - free + old
        return VolumeGroup(group.name, pool_of(group), group.disks[0], group.size_bytes, free, reserved)

    def list_dirty(self, group: str) -> tuple[Dirty, ...]:
        return tuple(
            Dirty(name, size, f"/dev/{group}/{name}")
            for (home, name), size in self.sizes.items()
            if home == group and is_dirty_name(name)
        )

    def list_old(self, group: str) -> tuple[str, ...]:
        """Logical volumes that hold no replica: dirty ones, and those that are not named so yet."""
        return tuple(
            name
            for home, name in self.sizes
            if home == group and (is_dirty_name(name) or (home, name) in self.discarded)
        )

    def require_no_replicas(self, what: str, groups: Collection[str]) -> None:
        """FailedPrecondition while one lies on `groups`, which are `what`, or a part of one."""
        left = self.list_volumes(groups)
        if left:
            raise FailedPrecondition(f"{what} still holds replicas of {', '.join(sorted(left))}")

    def list_volumes(self, groups: Collection[str]) -> frozenset[str]:
        """Those of which a replica lies there, or a part of one."""
        kept = [name for home, name in self.sizes.keys() - self.discarded if home in groups]
        wholes = {ids[0] for ids in map(parse_logical_volume_name, kept) if ids is not None}
        return frozenset(wholes | {part.volume_id for part in map(parse_part_name, kept) if part is not None})

    def find_places(self) -> dict[tuple[str, str], Place]:
        """By volume and replica."""
        places = (parse_place(*key) for key in self.sizes if key not in self.discarded)
        return {(place.volume_id, place.replica_id): place for place in places if place is not None}

    def find_parts(self) -> dict[tuple[str, str], tuple[Part, ...]]:
        """By volume and replica, in order; whether they are all of them is another question."""
        found: dict[tuple[str, str], list[Part]] = {}
        for key in self.sizes:
            name = parse_part_name(key[1])
            if name is not None and key not in self.discarded:
                found.setdefault((name.volume_id, name.replica_id), []).append(Part(key[0], name))
        return {replica: tuple(sorted(parts, key=_order)) for replica, parts in found.items()}

    def require_room(self, home: lvm_report.VolumeGroup, wanted_bytes: int) -> None:
        group = self.describe(home)
        if wanted_bytes <= group.free_bytes:
            return
        left = f"{wanted_bytes} bytes are wanted of {group.disk}, {group.free_bytes} are free"
        if wanted_bytes > group.free_bytes + group.reserved_bytes:
            raise OutOfSpace(f"{left}, and {group.reserved_bytes} will be once they are wiped")
        error = NotWiped(f"{left}; {group.reserved_bytes} are still to be wiped, repeat the call")
        error.wanted_bytes, error.volume_group = wanted_bytes, home.name
        raise error

    def resize(self, key: Key, size_bytes: int) -> "Books":
        """A logical volume has so many bytes; 0: it is gone."""
        grown = size_bytes - self.sizes.get(key, 0)
        groups = (
            replace(group, free_bytes=group.free_bytes - grown) if group.name == key[0] else group
            for group in self.groups
        )
        sizes = {each: size for each, size in {**self.sizes, key: size_bytes}.items() if size}
        return Books(tuple(groups), sizes, self.discarded.intersection(sizes))

    def rename(self, key: Key, new_name: str) -> "Books":
        sizes = {(key[0], new_name) if each == key else each: size for each, size in self.sizes.items()}
        return replace(self, sizes=sizes, discarded=self.discarded - {key})

    def discard(self, keys: frozenset[Key]) -> "Books":
        return replace(self, discarded=(self.discarded | keys).intersection(self.sizes))

    def add_tag(self, name: str, tag: str) -> "Books":
        groups = (
            replace(group, tags=group.tags | {tag}) if group.name == name else group for group in self.groups
        )
        return replace(self, groups=tuple(groups))

    def without_group(self, name: str) -> "Books":
        """Neither is what was on it known any more."""
        sizes = {key: size for key, size in self.sizes.items() if key[0] != name}
        groups = tuple(group for group in self.groups if group.name != name)
        return Books(groups, sizes, self.discarded.intersection(sizes))

    def learn(
        self, groups: Iterable[lvm_report.VolumeGroup], volumes: Iterable[lvm_report.LogicalVolume]
    ) -> "Books":
        """What LVM says of `groups`; of others we know what we knew."""
        shown = {group.name: group for group in groups}
        listed = {group.name: group for group in self.groups} | shown
        sizes = {key: size for key, size in self.sizes.items() if key[0] not in shown}
        for volume in volumes:
            if volume.group in shown and TAG in volume.tags:
                sizes[volume.group, volume.name] = volume.size_bytes
        return Books(tuple(listed.values()), sizes, self.discarded.intersection(sizes))


Plan = tuple[tuple[Command, ...], Books]
"""What LVM has to do, which is nothing when it is so already; and what the books say then."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be made of a volume group. `plan` raises when that cannot be."""

    group: str
    plan: Callable[[Books], Plan]


def is_whole(parts: Sequence[Part]) -> bool:
    """Each of them, once, and all of one making."""
    first = parts[0].name
    return [part.name for part in parts] == [
        replace(first, number=number) for number in range(1, first.count + 1)
    ]


def _order(part: Part) -> tuple[int, str]:
    return part.name.number, part.volume_group


def pool_of(group: lvm_report.VolumeGroup) -> str:
    tags = (tag.removeprefix(POOL_TAG) for tag in sorted(group.tags) if tag.startswith(POOL_TAG))
    return next(tags, "")


def parse_place(group: str, name: str) -> Place | None:
    ids = parse_logical_volume_name(name)
    return Place(*ids, group, f"/dev/{group}/{name}") if ids else None
