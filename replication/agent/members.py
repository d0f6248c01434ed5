"""A member of an array: the device below (local volume or NVMe/TCP namespace) and its hold layer.

Everything here can be read back from the kernel after a restart: the hold layer's name says which replica
of which epoch it is, its table says what lies below, and the namespace's subsystem says where that comes
from.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from replication.agent.machine import Machine
from replication.agent.names import NQN_PREFIX, HoldName, parse_export_name, parse_hold_name
from replication.clock import wait_until
from replication.errors import NotFound, TrilithError, Unavailable
from replication.kernel import blockdev
from replication.kernel.hold import HoldState
from replication.kernel.nvme import Connection, Controller
from replication.layout import DATA_OFFSET_BYTES
from replication.model import Member

CONNECT_TIMEOUT = 15.0
RESIZE_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Remote:
    """Where a member's namespace comes from."""

    nqn: str
    controller: str
    address: str
    port: int


@dataclass(slots=True)
class Joint:
    """One member as it stands here. Mutable: the array that owns it changes it under its lock."""

    replica_id: str
    hold: str  # name of the hold layer
    kname: str  # the hold layer's kernel name, which is md's name for the member
    below: str  # kernel name of the device under the hold layer
    remote: Remote | None
    joined: bool = False  # came by a rejoin, or it is not known any more
    version: int = 0  # of the record that it was joined by; 0 where that is not known
    released: bool = False  # its hold layer fails instead of holding: it was dropped
    suspected: str = ""  # why it was reported lost, until the record has answered
    suspected_in: int = 0  # sequence of the first report that called it lost
    unheard: bool = False  # when it was suspected: its node had fallen silent
    covered: bool = False  # when it was suspected: the bitmap marks all that its disk may have forgotten
    flushed: float = 0.0  # when the newest flush that completed was begun
    unconnected_since: float | None = None
    retried: float = 0.0  # when its failed path was last tried again
    broken: bool = False  # since it was dropped its connection has been broken


class Members:
    """Makes members, takes them away, and finds those that are there.

    `find_local` gives the path of the logical volume of a replica on this node that is ready for an epoch, or
    raises NotFound or StaleEpoch.
    """

    def __init__(self, machine: Machine, find_local: Callable[[str, str, int], str]) -> None:
        self._machine = machine
        self._find_local = find_local

    def join(self, name: HoldName, member: Member, *, joined: bool) -> Joint:
        """Connect if remote, and put the hold layer over it. Repeatable; on failure nothing is left."""
        try:
            return self._hold(name, self._below(name, member), joined=joined)
        except TrilithError:
            self.remove(str(name), member.target.nqn if member.target else "")
            raise

    def _below(self, name: HoldName, member: Member) -> str:
        target = member.target
        if target is None:
            path = self._find_local(name.volume_id, name.replica_id, name.epoch)
            return blockdev.kernel_name(self._machine.tree, path)
        connection = Connection(
            nqn=target.nqn,
            address=target.address,
            port=target.port,
            host_nqn=target.host_nqn,
            host_key=target.host_key,
            controller_key=target.controller_key,
        )
        return self._machine.host.ensure_connected(connection, timeout=CONNECT_TIMEOUT)

    def _hold(self, name: HoldName, below: str, *, joined: bool) -> Joint:
        tree = self._machine.tree
        number, size = blockdev.number(tree, below), blockdev.size_bytes(tree, below)
        kname = self._machine.holds.ensure(str(name), number, size)
        return self._describe(name, kname, below, joined=joined)

    def _describe(self, name: HoldName, kname: str, below: str, *, joined: bool) -> Joint:
        remote = self._find_remote(below)
        export = parse_export_name(remote.nqn) if remote else None
        return Joint(
            replica_id=name.replica_id,
            hold=str(name),
            kname=kname,
            below=below,
            remote=remote,
            joined=joined,
            version=export.record_version if export else 0,
            flushed=self._machine.clock.now(),  # nothing has been written through it yet
        )

    def _find_remote(self, below: str) -> Remote | None:
        controller = self._machine.host.find_controller_of(below)
        ours = controller is not None and controller.nqn.startswith(NQN_PREFIX)
        return parse_remote(controller) if controller is not None and ours else None

    def remove(self, hold: str, nqn: str) -> None:
        """Take away the hold layer, then the connection. What is still held fails. Repeatable."""
        if self._machine.holds.find(hold) is not None:
            self._machine.holds.release(hold)
        self._machine.holds.remove(hold)
        if nqn:
            self._machine.host.disconnect(nqn)

    def resize(self, joint: Joint, size_bytes: int) -> None:
        """Let the hold layer show the device's new size, once that has room for `size_bytes` of data."""
        tree, needed = self._machine.tree, DATA_OFFSET_BYTES + size_bytes
        wait_until(
            lambda: self._size_below(joint) >= needed,
            f"replica {joint.replica_id}'s device {joint.below} to grow",
            timeout=RESIZE_TIMEOUT,
            clock=self._machine.clock,
        )
        if blockdev.size_bytes(tree, joint.kname) < needed:
            number, size = blockdev.number(tree, joint.below), blockdev.size_bytes(tree, joint.below)
            self._machine.holds.reload(joint.hold, number, size)

    def _size_below(self, joint: Joint) -> int:
        try:
            return blockdev.size_bytes(self._machine.tree, joint.below)
        except NotFound as error:  # what is asked for is the volume, and that is there
            raise Unavailable(f"replica {joint.replica_id}'s device {joint.below} has gone") from error

    def remove_unfinished(self) -> None:
        """Layers that an agent before us had begun to make: they may keep what is below them open."""
        for listed in self._machine.holds.list_names("trilith-"):
            if parse_hold_name(listed) is not None and self._machine.holds.find(listed) is None:
                self._machine.holds.remove(listed)

    def find_holds(self, volume_id: str = "") -> Iterator[tuple[HoldName, HoldState]]:
        """Every hold layer of ours, or only those of one volume."""
        for listed in self._machine.holds.list_names(f"trilith-{volume_id}"):
            name, state = parse_hold_name(listed), self._machine.holds.find(listed)
            if name is not None and state is not None:
                yield name, state

    def read_back(self, name: HoldName, state: HoldState) -> Joint:
        """The member behind a hold layer that an earlier agent made, and perhaps left asleep."""
        with suppress(TrilithError):  # it is tried again when its array grows or ends
            self._machine.holds.ensure_running(str(name))
            state = self._machine.holds.read(str(name))
        tree = self._machine.tree
        try:
            below = blockdev.kernel_name(tree, state.path)
        except NotFound:  # the device below is gone; the layer holds its number
            below = ""
        joint = self._describe(name, blockdev.kernel_name(tree, state.number), below, joined=True)
        joint.released = not state.queueing
        joint.flushed = -math.inf  # who knows what was written, and cleared from the bitmap, since the last
        return joint


def parse_remote(controller: Controller) -> Remote:
    """From sysfs' `traddr=10.0.0.1,trsvcid=4420,…`."""
    words = dict(word.split("=", 1) for word in controller.address.split(","))
    return Remote(controller.nqn, controller.name, words["traddr"], int(words["trsvcid"]))
