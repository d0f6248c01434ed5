"""Signs that cost little to read: while none of them has changed, an array needs no closer look.

Attributes are held open. On an emulated machine a closer look costs ten times as much, and most rounds find
nothing.
"""

from collections.abc import Iterable

from replication.agent.assembled import Assembled
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
        self._names = _list_signs(array)
        opened = {name: found for name in self._names if (found := _open(tree, name)) is not None}
        self.array_state = opened.get(_state_name(array))  # None when the array was gone already
        self._attributes = tuple(opened.values())
        self._last: tuple[str, ...] | None = None

    def shows(self, array: Assembled) -> bool:
        """Whether it was made for this very array, and its members are the same."""
        return array is self._array and _list_signs(array) == self._names

    def has_changed(self) -> bool:
        """Since it was asked last; true the first time."""
        now = tuple(map(_read, self._attributes))
        changed, self._last = now != self._last, now
        return changed

    def close(self) -> None:
        for attribute in self._attributes:
            attribute.close()


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
