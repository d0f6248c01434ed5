"""The disks of this node: which are ours, which could be, and the logical volumes on them.

Read from LVM once, and again when a change did not go as it should: LVM's tools are slow, and nobody else
changes volume groups with our tag. Changes that wait for each other are made by one run of LVM (docs: ADR
0011).

Free extents hold zeroes. What may hold old bytes is a logical volume of its own, dirty, until it has been
wiped (agent/wiping.py). Of a group without the tag WIPED_TAG nothing is known: none of it is free.

A replica that lies on several disks is a place only while all of its parts are there and put together; what
there is of any other is its remains, which nobody is given to use (docs: ADR 0018).
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

from replication.agent.books import (
    POOL_TAG,
    TAG,
    Books,
    Change,
    Dirty,
    Key,
    Part,
    Place,
    is_whole,
    pool_of,
)
from replication.agent.discovery import Discovery, check_usable, describe_disk, group_name
from replication.agent.names import logical_volume_name, whole_name
from replication.agent.plans import (
    choose_growth,
    holds,
    name_parts,
    plan_cut,
    plan_doubt,
    plan_names,
    plan_parts,
    plan_volume,
)
from replication.agent.together import Together
from replication.clock import Clock
from replication.errors import (
    AlreadyExists,
    CommandFailed,
    FailedPrecondition,
    KernelError,
    NotFound,
    TrilithError,
)
from replication.kernel.lvm import Command, Lvm
from replication.kernel.run import Runner
from replication.kernel.sysfs import Tree
from replication.kernel.wholes import Wholes
from replication.model import Disk, VolumeGroup

__all__ = ["Dirty", "Part", "Place", "Storage"]

LVM_FOLDER = "/run/trilith/lvm"
_log = logging.getLogger(__name__)


class Storage:
    """Safe to use from several threads; changes go one after the other.

    What there is, is told without waiting for a change under way: values are replaced as a whole.
    """

    def __init__(self, tree: Tree, runner: Runner, clock: Clock, wholes: Wholes) -> None:
        self._runner = runner
        self._wholes = wholes
        self._folder = tree.path(LVM_FOLDER)
        self._discovery = Discovery(tree, runner, clock)
        self._lock = threading.RLock()  # of changes: held while LVM runs
        self._mutex = threading.Lock()
        self._lvm = self._make_lvm(())
        self._books = Books()
        self._places: dict[tuple[str, str], Place] = {}
        self._joined: dict[tuple[str, str], Place] = {}  # those of several parts that have been put together
        self._unsettled: set[str] = set()  # groups that a change may or may not have changed
        self._together = Together(self._lock, self._serve)
        self._read(self._candidates())
        self._activate()
        self._join_all()

    def _make_lvm(self, disks: Sequence[str]) -> Lvm:
        return Lvm(self._runner, disks, self._folder)

    def _candidates(self) -> tuple[str, ...]:
        return tuple(disk.path for disk in self._discovery.look() if disk.signature == "LVM2_member")

    def _read(self, devices: tuple[str, ...]) -> None:
        """From LVM, of `devices` those that carry our tag.

        A group that LVM does not show stays known: its disk errs. Only `_remove_group` takes one away.
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
            self._places = self._find_places()

    def _find_places(self) -> dict[tuple[str, str], Place]:
        books = self._books
        kept = books.sizes.keys() - books.discarded
        joined = {key: place for key, place in self._joined.items() if kept.issuperset(place.keys)}
        return joined | books.find_places()

    def _activate(self) -> None:
        errors = self._lvm.activate_all(self._books.sizes) if self._books.sizes else {}
        for group, error in errors.items():
            _log.warning("what is on %s cannot be used: %s", group, error)

    def _join_all(self) -> None:
        """What lacks a part, or is made of others than we find, is left as it is: nobody may use it."""
        for key, parts in self._books.find_parts().items():
            if key not in self._places and is_whole(parts):
                try:
                    self._join(parts)
                except TrilithError as error:
                    _log.warning("replica %s of %s is not put together: %s", key[1], key[0], error)

    def _join(self, parts: tuple[Part, ...]) -> Place:
        """Repeatable; lets it grow with its parts."""
        name = parts[0].name
        key, devices = (name.volume_id, name.replica_id), [part.device for part in parts]
        device = self._wholes.ensure(whole_name(*key), devices, striped=name.striped)
        place = Place(*key, parts[0].volume_group, device, parts)
        with self._mutex:
            self._joined[key] = place
            self._places = self._find_places()
        return place

    def part(self, volume_id: str, replica_id: str) -> None:
        """Its parts are none of a device any more. FailedPrecondition while it is open; repeatable."""
        self._wholes.remove(whole_name(volume_id, replica_id))
        with self._mutex:
            self._joined.pop((volume_id, replica_id), None)
            self._places = self._find_places()

    def refresh(self) -> None:
        """Find what others did to our volume groups, too."""
        candidates = self._candidates()
        with self._lock:
            self._read(candidates)
            self._join_all()

    def list_volume_groups(self) -> tuple[VolumeGroup, ...]:
        books = self._books
        return tuple(books.describe(group) for group in books.groups)

    def find_volume_group(self, name: str) -> VolumeGroup | None:
        return next((group for group in self.list_volume_groups() if group.name == name), None)

    def get_volume_group(self, name: str) -> VolumeGroup:
        return self._books.describe(self._books.get_group(name))

    def list_places(self) -> tuple[Place, ...]:
        return tuple(self._places.values())

    def list_disks(self) -> tuple[Disk, ...]:
        """Every local disk, whether it is usable, and which volume group of ours is on it."""
        by_disk = {disk: group for group in self._books.groups for disk in group.disks}
        return tuple(describe_disk(disk, by_disk.get(disk.path)) for disk in self._discovery.list())

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
            check_usable(path, found.get(path))
        lvm = self._make_lvm((*known, *fresh))
        for path in fresh:
            lvm.ensure_volume_group(group_name(found[path]), path, frozenset({TAG, POOL_TAG + pool}))
        if fresh:
            self._discovery.forget()
            self._read((*known, *fresh))

    def remove_pool(self, pool: str) -> None:
        with self._lock:
            names = [group.name for group in self._books.groups if pool_of(group) == pool]
            self._books.require_no_replicas(f"pool {pool}", names)
            for name in names:
                self._remove_group(name)

    def remove_disk(self, group: str) -> None:
        """It has no signature afterwards; of one that is away nothing is known any more."""
        with self._lock:
            found = self._lvm.find_volume_group(group)
            if found is not None:
                self._books.require_no_replicas(f"disk {found.disks[0]}", [group])
            self._remove_group(group)

    def _remove_group(self, group: str) -> None:
        """Where LVM does not show it, an attempt that seemed to fail did it, or its disk is away."""
        if self._lvm.find_volume_group(group):
            for name in self._books.list_old(group):
                self.cut(group, name, 0)
            with self._changing(group):
                self._lvm.remove_volume_group(group)
        # a label alone is what an attempt left that ended halfway, unless replicas were known there
        for disk in () if self._books.list_volumes([group]) else self._discovery.look():
            if group_name(disk) == group and disk.signature == "LVM2_member":
                self._make_lvm((disk.path,)).remove_label(disk.path)
        self._write(partial(Books.without_group, name=group))
        self._discovery.forget()

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
        self._together.call(Change(group, lambda books: plan_volume(books, key, size_bytes)))
        return self.get_place(volume_id, replica_id)

    def ensure_parts(
        self, volume_id: str, replica_id: str, groups: tuple[str, ...], size_bytes: int, *, striped: bool
    ) -> Place:
        """As `ensure_volume`, of a part in each of `groups`."""
        parts = name_parts(volume_id, replica_id, groups, striped=striped)
        with self._lock:
            found = self._books.find_parts().get((volume_id, replica_id), ())
            if not found:
                self._make_parts(parts, size_bytes)
            elif found != parts or not holds(self._books, parts, size_bytes):
                named = ", ".join(f"{part.volume_group}/{part.name}" for part in found)
                raise AlreadyExists(
                    f"of replica {replica_id} of {volume_id} there is {named}, not what is asked"
                )
            return self._join(parts)

    def _make_parts(self, parts: tuple[Part, ...], size_bytes: int) -> None:
        for part in parts:
            self._settle(part.volume_group)
        before = self._books
        commands, books = plan_parts(before, parts, size_bytes)
        with ExitStack() as stack:
            for part in parts:
                stack.enter_context(self._changing(part.volume_group))
            self._lvm.change(commands)
        self._write(lambda now: books.discard(now.discarded - before.discarded))

    def list_remains(self) -> tuple[Part, ...]:
        """Parts of replicas that are not whole, or are not put together."""
        found = self._books.find_parts()
        return tuple(part for key, parts in found.items() if key not in self._places for part in parts)

    def find_remains(self, volume_id: str, replica_id: str) -> tuple[Part, ...]:
        named = (part for part in self.list_remains() if part.name.volume_id == volume_id)
        return tuple(part for part in named if part.name.replica_id == replica_id)

    def extend_volume(self, place: Place, size_bytes: int) -> None:
        """By zeroes. NotWiped when these have to be written first."""
        with self._lock:
            wanted = choose_growth(self._books, place, size_bytes)
            for (group, name), size in wanted.items():
                grown = size - self._books.sizes.get((group, name), 0)
                self._books.require_room(self._books.get_group(group), grown)
            for key, size in wanted.items():
                self._extend(key, size)
            if place.parts:
                self._join(place.parts)

    def _extend(self, key: Key, size_bytes: int) -> None:
        group, name = key
        with self._changing(group):
            extended = self._lvm.extend(group, name, size_bytes)
            self._write(lambda books: books.resize(key, extended.size_bytes))

    def remove_volume(self, place: Place) -> None:
        """Only what holds nothing but zeroes."""
        if place.parts:
            self.part(place.volume_id, place.replica_id)
        for group, name in reversed(place.keys):
            self.cut(group, name, 0)

    def discard_volume(self, place: Place) -> None:
        """It is a replica no more, and its header says so; it is to be wiped. Waits for nobody."""
        if place.parts:
            self.discard_parts(place.parts)
        else:
            self._write(lambda books: books.discard(frozenset(place.keys)))

    def discard_parts(self, parts: Sequence[Part]) -> None:
        """Of one replica, whole or not. FailedPrecondition while what they made up together is open."""
        name = parts[0].name
        with self._lock:  # nobody puts them together again in between
            self.part(name.volume_id, name.replica_id)
            self._write(lambda books: books.discard(frozenset(part.key for part in parts)))

    def name_discarded(self, group: str) -> None:
        """Some of them, so that whoever looks at LVM alone knows what they are, and a wiper may begin."""
        if any(home == group for home, _ in self._books.discarded):
            self._together.call(Change(group, partial(plan_names, group=group)))

    def list_dirty(self, group: str) -> tuple[Dirty, ...]:
        return self._books.list_dirty(group)

    def doubt_free_space(self, group: str) -> None:
        """What is free on a disk that is new to us, or to this way of keeping it, is to be wiped.

        The tag comes last: until then nothing of the group is free. Repeatable.
        """
        self._together.call(Change(group, partial(plan_doubt, group=group)))

    def cut(self, group: str, name: str, size_bytes: int) -> None:
        """All behind the first `size_bytes` of a volume is free; it must be zeroes, and stable."""
        self._together.call(Change(group, lambda books: plan_cut(books, (group, name), size_bytes)))

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
