"""Signs that cost little to read: while none of them has changed, an array needs no closer look.

Attributes are held open. On an emulated machine a closer look costs ten times as much, and most rounds find
nothing. With many arrays even the signs cost too much to be read in each round. md tells itself when an
array's state changes, and a connection is mostly lost with all others to its peer: so one array of each peer
is glanced at in each round, and the rest takes turns.
"""

from collections.abc import Iterable, Sequence

from replication.agent.assembled import Assembled
from replication.agent.turns import choose_turn
from replication.errors import KernelError, NotFound
from replication.kernel.md_state import array_path, member_path
from replication.kernel.sysfs import Attribute, Tree

_WRITABLE = frozenset({"active", "active-idle", "clean"})  # md goes from one to the other with every pause
_ENDED = "ended"


class Glances:
    """One for each array, made anew when another array has its name or it has other members.

    The files of an array that was stopped go on saying nothing, also when the volume is assembled again.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._all: dict[str, Glance] = {}
        self._told: frozenset[str] = frozenset()

    def follow(self, arrays: Iterable[Assembled]) -> None:
        """These and no others."""
        now = {array.volume_id: array for array in arrays}
        for volume_id, glance in tuple(self._all.items()):
            if volume_id not in now or not glance.shows(now[volume_id]):
                self.forget(volume_id)
        for volume_id, array in now.items():
            if volume_id not in self._all:
                self._all[volume_id] = Glance(self._tree, array)

    def has_changed(self, array: Assembled) -> bool:
        """Since it was asked last; true the first time. Of an array that is followed."""
        return self._all[array.volume_id].has_changed()

    def find_changed(self, arrays: Sequence[Assembled], number: int) -> frozenset[str]:
        """Volumes whose arrays have changed, as far as is looked in round `number`. All are followed."""
        watched = {array.volume_id for array in arrays if self._is_urgent(array)}
        watched |= choose_sentinels(arrays)
        found = {
            array.volume_id for array in arrays if array.volume_id in watched and self.has_changed(array)
        }
        others = arrays if found else choose_turn(arrays, number)
        rest = [array for array in others if array.volume_id not in watched]
        return frozenset(found.union(array.volume_id for array in rest if self.has_changed(array)))

    def _is_urgent(self, array: Assembled) -> bool:
        """Not seen yet, or md has told of it: that it was read makes md tell of the next change."""
        return self._all[array.volume_id].new or array.volume_id in self._told

    def hear(self, descriptors: Iterable[int]) -> None:
        """Those of `list_states` that md has told of."""
        ready = frozenset(descriptors)
        self._told = frozenset(name for name, glance in self._all.items() if glance.descriptor in ready)

    def forget(self, volume_id: str) -> None:
        """Look with new eyes at the next round."""
        glance = self._all.pop(volume_id, None)
        if glance is not None:
            glance.close()

    def list_states(self) -> list[Attribute]:
        """The attributes to be polled: md tells of their changes."""
        return [glance.array_state for glance in self._all.values() if glance.array_state is not None]


class Glance:
    """The signs of one array with the members that it has now."""

    def __init__(self, tree: Tree, array: Assembled) -> None:
        self._array = array
        self._members = _list_members(array)
        opened = {name: found for name in _list_signs(array) if (found := _open(tree, name)) is not None}
        self.array_state = opened.get(_state_name(array))  # None when the array was gone already
        self._attributes = tuple(opened.values())
        self._last: tuple[str, ...] | None = None

    def shows(self, array: Assembled) -> bool:
        """Whether it was made for this very array, and its members are the same."""
        return array is self._array and _list_members(array) == self._members

    @property
    def new(self) -> bool:
        """Nobody has asked yet."""
        return self._last is None

    @property
    def descriptor(self) -> int | None:
        return None if self.array_state is None else self.array_state.fileno()

    def has_changed(self) -> bool:
        """Since it was asked last; true the first time."""
        now = tuple(map(_read, self._attributes))
        changed, self._last = now != self._last, now
        return changed

    def close(self) -> None:
        for attribute in self._attributes:
            attribute.close()


def choose_sentinels(arrays: Iterable[Assembled]) -> set[str]:
    """A volume for each peer: when that peer is lost, its array shows it."""
    by_address = {
        joint.remote.address: array.volume_id
        for array in arrays
        for joint in tuple(array.members.values())
        if joint.remote is not None and not joint.released
    }
    return set(by_address.values())


def _list_members(array: Assembled) -> tuple[tuple[str, str], ...]:
    """What decides which signs it has."""
    joints = tuple(array.members.values())
    return tuple((joint.kname, joint.remote.controller if joint.remote else "") for joint in joints)


def _list_signs(array: Assembled) -> tuple[str, ...]:
    base = array_path(array.volume_id)
    joints = tuple(array.members.values())
    members = [f"{member_path(array.volume_id, joint.kname)}/state" for joint in joints]
    connections = [f"/sys/class/nvme/{joint.remote.controller}/state" for joint in joints if joint.remote]
    return (_state_name(array), f"{base}/sync_action", f"{base}/resync_start", *members, *connections)


def _state_name(array: Assembled) -> str:
    return f"{array_path(array.volume_id)}/array_state"


def _open(tree: Tree, name: str) -> Attribute | None:
    try:
        return Attribute(tree, name)
    except NotFound:
        return None


def _read(attribute: Attribute) -> str:
    try:
        text = attribute.read()
    except (NotFound, KernelError):  # what it belonged to is gone
        return _ENDED
    return "writable" if text in _WRITABLE else text
