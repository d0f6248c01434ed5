"""The disks of this node: which are ours, which could be, and the logical volumes on them.

Read from LVM once, and again when a change did not go as it should: LVM's tools are slow, and nobody else
changes volume groups with our tag. Changes that wait for each other are made by one run of LVM (docs: ADR
0011).

Free extents hold zeroes. What may hold old bytes is a logical volume of its own, dirty, until it has been
wiped (agent/wiping.py). Of a group without the tag WIPED_TAG nothing is known: none of it is free.
"""

import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial

from replication.agent.books import (
    POOL_TAG,
    TAG,
    WIPED_TAG,
    Books,
    Change,
    Dirty,
    Key,
    Place,
    Plan,
    pool_of,
)
from replication.agent.discovery import Discovery
from replication.agent.names import logical_volume_name, new_dirty_name
from replication.agent.together import Together
from replication.clock import Clock
from replication.errors import (
    AlreadyExists,
    CommandFailed,
    FailedPrecondition,
    InvalidRequest,
    KernelError,
    NotFound,
    TrilithError,
)
from replication.kernel import lvm_report
from replication.kernel.disks import FoundDisk
from replication.kernel.lvm import (
    Command,
    Lvm,
    format_add_tag,
    format_create,
    format_reduce,
    format_remove,
    format_rename,
    round_up,
)
from replication.kernel.run import Runner
from replication.kernel.sysfs import Tree
from replication.model import Disk, VolumeGroup

__all__ = ["Dirty", "Place", "Storage"]

NAMED_AT_ONCE = 4  # whoever wants a replica made waits for it
LVM_FOLDER = "/run/trilith/lvm"


class Storage:
    """Safe to use from several threads; changes go one after the other.

    What there is, is told without waiting for a change under way: values are replaced as a whole.
    """

    def __init__(self, tree: Tree, runner: Runner, clock: Clock) -> None:
        self._runner = runner
        self._folder = tree.path(LVM_FOLDER)
        self._discovery = Discovery(tree, runner, clock)
        self._lock = threading.RLock()  # of changes: held while LVM runs
        self._mutex = threading.Lock()
        self._lvm = self._make_lvm(())
        self._books = Books()
        self._places: dict[tuple[str, str], Place] = {}
        self._unsettled: set[str] = set()  # groups that a change may or may not have changed
        self._together = Together(self._lock, self._serve)
        self._read(self._candidates())
        self._activate()

    def _make_lvm(self, disks: Sequence[str]) -> Lvm:
        return Lvm(self._runner, disks, self._folder)

    def _candidates(self) -> tuple[str, ...]:
        found = self._discovery.look()
        return tuple(disk.path for disk in found if disk.signature == "LVM2_member")

    def _read(self, devices: tuple[str, ...]) -> None:
        """From LVM, of `devices` those that carry our tag.

        A group that LVM does not show stays known: its disk errs. Only `remove_pool` takes one away.
        """
        everything = self._make_lvm(devices).list_volume_groups() if devices else ()
        shown = tuple(group for group in everything if TAG in group.tags)
        known = self._books.learn(shown, ())
        self._lvm = self._make_lvm(tuple(disk for group in known.groups for disk in group.disks))
        volumes = self._lvm.list_logical_volumes() if known.groups else ()
        self._write(lambda books: books.learn(shown, volumes))

    def _write(self, step: Callable[[Books], Books]) -> None:
        """Who changes volume groups does not keep others from discarding."""
        with self._mutex:
            self._books = step(self._books)
            self._places = self._books.find_places()

    def _activate(self) -> None:
        for group, name in self._books.sizes:
            self._lvm.activate(group, name)

    def refresh(self) -> None:
        """Find what others did to our volume groups, too."""
        candidates = self._candidates()
        with self._lock:
            self._read(candidates)

    def list_volume_groups(self) -> tuple[VolumeGroup, ...]:
        books = self._books
        return tuple(books.describe(group) for group in books.groups)

    def find_volume_group(self, name: str) -> VolumeGroup | None:
        return next((group for group in self.list_volume_groups() if group.name == name), None)

    def list_places(self) -> tuple[Place, ...]:
        return tuple(self._places.values())

    def list_disks(self) -> tuple[Disk, ...]:
        """Every local disk, whether it is usable, and which volume group of ours is on it."""
        by_disk = {disk: group for group in self._books.groups for disk in group.disks}
        return tuple(_describe_disk(disk, by_disk.get(disk.path)) for disk in self._discovery.list())

    def ensure_pool(self, pool: str, disks: tuple[str, ...]) -> tuple[VolumeGroup, ...]:
        with self._lock:
            known = {disk: group for group in self._books.groups for disk in group.disks}
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
        lvm = self._make_lvm((*known, *fresh))
        for path in fresh:
            lvm.ensure_volume_group(group_name(found[path]), path, frozenset({TAG, POOL_TAG + pool}))
        if fresh:
            self._read((*known, *fresh))
            self._discovery.forget()

    def remove_pool(self, pool: str) -> None:
        with self._lock:
            ours = [group for group in self._books.groups if pool_of(group) == pool]
            names = {group.name for group in ours}
            left = [place for place in self._places.values() if place.volume_group in names]
            if left:
                volumes = ", ".join(sorted({place.volume_id for place in left}))
                raise FailedPrecondition(f"pool {pool} still holds replicas of {volumes}")
            for group in ours:
                if self._lvm.find_volume_group(group.name):  # else an attempt that seemed to fail did it
                    self._remove_group(group.name)
                self._write(partial(Books.without_group, name=group.name))
            self._discovery.forget()

    def _remove_group(self, group: str) -> None:
        for name in self._books.list_old(group):
            self.cut(group, name, 0)
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
        key = (group, logical_volume_name(volume_id, replica_id))
        self._together.call(Change(group, lambda books: _plan_volume(books, key, size_bytes)))
        return self.get_place(volume_id, replica_id)

    def extend_volume(self, place: Place, size_bytes: int) -> None:
        """By zeroes. NotWiped when these have to be written first."""
        group, name = _key(place)
        with self._lock:
            home = self._books.get_group(group)
            grown = round_up(size_bytes, home.extent_bytes) - self._books.sizes.get((group, name), 0)
            self._books.require_room(home, grown)
            with self._changing(group):
                extended = self._lvm.extend(group, name, size_bytes)
                self._write(lambda books: books.resize((group, name), extended.size_bytes))

    def remove_volume(self, place: Place) -> None:
        """Only what holds nothing but zeroes."""
        self.cut(*_key(place), 0)

    def discard_volume(self, place: Place) -> None:
        """It is a replica no more, and its header says so; it is to be wiped. Waits for nobody."""
        self._write(lambda books: books.discard(frozenset({_key(place)})))

    def name_discarded(self, group: str) -> None:
        """Some of them, so that whoever looks at LVM alone knows what they are, and a wiper may begin."""
        if any(home == group for home, _ in self._books.discarded):
            self._together.call(Change(group, partial(_plan_names, group=group)))

    def list_dirty(self, group: str) -> tuple[Dirty, ...]:
        return self._books.list_dirty(group)

    def doubt_free_space(self, group: str) -> None:
        """What is free on a disk that is new to us, or to this way of keeping it, is to be wiped.

        The tag comes last: until then nothing of the group is free. Repeatable.
        """
        self._together.call(Change(group, partial(_plan_doubt, group=group)))

    def cut(self, group: str, name: str, size_bytes: int) -> None:
        """All behind the first `size_bytes` of a volume is free; it must be zeroes, and stable."""
        self._together.call(Change(group, lambda books: _plan_cut(books, (group, name), size_bytes)))

    def _serve(self, changes: Sequence[Change]) -> list[TrilithError | None]:
        """Each one's error. Those of one group stand or fall together, and are then made one by one."""
        errors: dict[int, TrilithError | None] = {}
        for group in dict.fromkeys(change.group for change in changes):
            numbers = [number for number, change in enumerate(changes) if change.group == group]
            errors.update(zip(numbers, self._serve_group([changes[n] for n in numbers]), strict=True))
        return [errors[number] for number in range(len(changes))]

    def _serve_group(self, changes: Sequence[Change]) -> list[TrilithError | None]:
        try:
            return self._make(changes)
        except (CommandFailed, FailedPrecondition) as error:
            if len(changes) == 1:
                return [error]
        except TrilithError as error:  # nobody would fare better alone
            return [error] * len(changes)
        return [self._serve_group([change])[0] for change in changes]

    def _make(self, changes: Sequence[Change]) -> list[TrilithError | None]:
        """By one run of LVM. The errors of those that cannot be made; raises what that run raises."""
        group = changes[0].group
        self._settle(group)
        before = books = self._books
        commands, errors = list[Command](), list[TrilithError | None]()
        for change in changes:
            try:
                more, books = change.plan(books)
            except TrilithError as error:
                errors.append(error)
            else:
                commands += more
                errors.append(None)
        if commands:
            with self._changing(group):
                self._lvm.change(commands)
        self._write(lambda now: books.discard(now.discarded - before.discarded))
        return errors

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
        volumes = self._lvm.list_logical_volumes()
        self._write(lambda books: books.learn((found,), volumes))


def _plan_volume(books: Books, key: Key, size_bytes: int) -> Plan:
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


def _plan_names(books: Books, group: str) -> Plan:
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


def _plan_doubt(books: Books, group: str) -> Plan:
    home = books.get_group(group)
    if WIPED_TAG in home.tags:
        return (), books
    commands, free = [format_add_tag(group, WIPED_TAG)], home.free_bytes
    if free:
        name = new_dirty_name()
        commands.insert(0, format_create(group, name, free, frozenset({TAG})))
        books = books.resize((group, name), free)
    return tuple(commands), books.add_tag(group, WIPED_TAG)


def _plan_cut(books: Books, key: Key, size_bytes: int) -> Plan:
    if books.sizes.get(key, 0) <= size_bytes:
        return (), books
    command = format_reduce(*key, size_bytes) if size_bytes else format_remove(*key)
    return (command,), books.resize(key, size_bytes)


def group_name(disk: FoundDisk) -> str:
    """Of the volume group on a disk: the same on every node and after every boot for the same disk."""
    identity = f"{disk.model}/{disk.serial or disk.path}"
    return f"trilith_{zlib.crc32(identity.encode()):08x}"


def _key(place: Place) -> Key:
    return place.volume_group, logical_volume_name(place.volume_id, place.replica_id)


def _describe_disk(disk: FoundDisk, group: lvm_report.VolumeGroup | None) -> Disk:
    why_not = f"in pool {pool_of(group)} already" if group else disk.why_not
    name = group.name if group else ""
    return Disk(disk.path, disk.serial, disk.model, disk.size_bytes, disk.usable and not group, why_not, name)


def _check_usable(path: str, disk: FoundDisk | None) -> None:
    if disk is None:
        raise InvalidRequest(f"{path} is not a disk of this node")
    if not disk.usable:
        raise FailedPrecondition(f"{path} is not usable: {disk.why_not}")
