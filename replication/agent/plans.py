"""What LVM is told for a change of volume groups, and what the books say then. Pure.

Each plan takes the books as they are, and raises when the change cannot be made.
"""

from collections.abc import Sequence

from replication.agent.books import TAG, WIPED_TAG, Books, Key, Part, Place, Plan
from replication.agent.names import PartName, new_dirty_name
from replication.errors import AlreadyExists, OutOfSpace
from replication.kernel.lvm import (
    Command,
    format_add_tag,
    format_create,
    format_reduce,
    format_remove,
    format_rename,
    round_up,
)
from replication.layout import grow, split

NAMED_AT_ONCE = 4  # whoever wants a replica made waits for it


def plan_volume(books: Books, key: Key, size_bytes: int) -> Plan:
    home = books.get_group(key[0])
    rename, books = _plan_discarded(books, key) if key in books.discarded else ((), books)
    found, wanted = books.sizes.get(key), round_up(size_bytes, home.extent_bytes)
    if found is None:
        books.require_room(home, wanted)
        create = format_create(*key, wanted, frozenset({TAG}))
        return (*rename, create), books.resize(key, wanted)
    if found != wanted:
        raise AlreadyExists(f"logical volume {key[0]}/{key[1]} has {found} bytes, not {wanted}")
    return (), books


def name_parts(volume_id: str, replica_id: str, groups: Sequence[str], *, striped: bool) -> tuple[Part, ...]:
    """Of a replica that lies on several disks, in order."""
    return tuple(
        Part(group, PartName(volume_id, replica_id, number, len(groups), striped))
        for number, group in enumerate(groups, start=1)
    )


def plan_parts(books: Books, parts: Sequence[Part], size_bytes: int) -> Plan:
    """All of a replica's, which together take `size_bytes` besides their own areas."""
    commands: tuple[Command, ...] = ()
    for part in parts:
        more, books = _plan_discarded(books, part.key)
        commands += more
    for part, size in zip(parts, _choose_sizes(books, parts, size_bytes), strict=True):
        commands += (format_create(*part.key, size, frozenset({TAG})),)
        books = books.resize(part.key, size)
    return commands, books


def _choose_sizes(books: Books, parts: Sequence[Part], size_bytes: int) -> tuple[int, ...]:
    """As what is free now allows; else as what will be free, and NotWiped."""
    homes = [books.get_group(part.volume_group) for part in parts]
    groups, striped = [books.describe(home) for home in homes], parts[0].name.striped
    now = split(size_bytes, [group.free_bytes for group in groups], striped=striped)
    if now is not None:
        return now
    later = split(size_bytes, [group.free_bytes + group.reserved_bytes for group in groups], striped=striped)
    if later is None:
        left = ", ".join(f"{g.free_bytes + g.reserved_bytes} of {g.disk}" for g in groups)
        how = "the same of each of" if striped else "of"
        raise OutOfSpace(
            f"{size_bytes} bytes are wanted {how} several disks; free, or being wiped, are {left}"
        )
    for home, size in zip(homes, later, strict=True):
        books.require_room(home, size)
    return later


def holds(books: Books, parts: Sequence[Part], size_bytes: int) -> bool:
    """Whether they are as large as those that are made for so much."""
    made = split(size_bytes, [2 * size_bytes] * len(parts), striped=parts[0].name.striped)
    return made is not None and sum(made) == sum(books.sizes[part.key] for part in parts)


def choose_growth(books: Books, place: Place, size_bytes: int) -> dict[Key, int]:
    """How large each of its logical volumes has to be for so much."""
    if not place.parts:
        extent = books.get_group(place.volume_group).extent_bytes
        return {place.keys[0]: round_up(size_bytes, extent)}
    sizes = [books.sizes[key] for key in place.keys]
    grown = grow(size_bytes, sizes, striped=place.parts[0].name.striped)
    return dict(zip(place.keys, grown, strict=True))


def plan_names(books: Books, group: str) -> Plan:
    keys = sorted(key for key in books.discarded if key[0] == group)
    commands: tuple[Command, ...] = ()
    for key in keys[:NAMED_AT_ONCE]:
        more, books = _plan_discarded(books, key)
        commands += more
    return commands, books


def _plan_discarded(books: Books, key: Key) -> Plan:
    if key not in books.discarded:
        return (), books
    dirty = new_dirty_name()
    return (format_rename(*key, dirty),), books.rename(key, dirty)


def plan_doubt(books: Books, group: str) -> Plan:
    home = books.get_group(group)
    if WIPED_TAG in home.tags:
        return (), books
    commands, free = [format_add_tag(group, WIPED_TAG)], home.free_bytes
    if free:
        name = new_dirty_name()
        commands.insert(0, format_create(group, name, free, frozenset({TAG})))
        books = books.resize((group, name), free)
    return tuple(commands), books.add_tag(group, WIPED_TAG)


def plan_cut(books: Books, key: Key, size_bytes: int) -> Plan:
    if books.sizes.get(key, 0) <= size_bytes:
        return (), books
    command = format_reduce(*key, size_bytes) if size_bytes else format_remove(*key)
    return (command,), books.resize(key, size_bytes)
