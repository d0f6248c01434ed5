"""Attach and detach: an array assembled from the record's in-sync members, and taken apart again."""

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from replication.agent.assembled import Arrays, Assembled
from replication.agent.eviction import evict
from replication.agent.flush import FLUSH_TIMEOUT, TIME_BASE, flush
from replication.agent.machine import Machine
from replication.agent.members import Joint, Members
from replication.agent.names import HoldName
from replication.agent.release import break_off
from replication.agent.unwatched import Unwatched, unheld
from replication.errors import FailedPrecondition, StaleEpoch, TrilithError
from replication.kernel import md
from replication.kernel.bitmap import Ranges, read_bits, unite
from replication.kernel.hold import HoldState
from replication.kernel.md_members import release_pending
from replication.kernel.md_state import ArrayState, device_of, find_array, read_members
from replication.model import AttachSpec, Member, PrepareSpec

LET_GO_TIMEOUT = 5.0


class Attachments:
    """`attach`, `detach` and `abandon` of rpc/contract.py, one at a time for each volume.

    Whoever makes a replica of this node ready for another epoch holds `lock` too: else an attach that is on
    its way could put the replica into an old epoch's array after that.
    """

    def __init__(self, machine: Machine, arrays: Arrays, members: Members) -> None:
        self._machine = machine
        self._arrays = arrays
        self._members = members
        self._locks: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)

    def lock(self, volume_id: str) -> threading.RLock:
        return self._locks[volume_id]

    def attach(self, spec: AttachSpec) -> str:
        with self.lock(spec.volume_id):
            return self._attach(spec)

    def _attach(self, spec: AttachSpec) -> str:
        there = self._arrays.find(spec.volume_id)
        if there is not None and there.epoch == spec.epoch:
            return device_of(spec.volume_id)
        if there is not None and there.epoch > spec.epoch:
            raise StaleEpoch(
                f"volume {spec.volume_id} is attached here in epoch {there.epoch}, not {spec.epoch}"
            )
        self.abandon(spec.volume_id, spec.epoch)
        joints = self._join_all(spec)
        try:
            with unheld(self._machine, joints):
                bits = _unite_bits(joints, spec.size_bytes, spec.bitmap_chunk_bytes)
            with Unwatched(self._machine, joints):
                self._assemble(spec, joints, unite((bits, list_marked(spec))))
        except TrilithError:
            self._take_apart(spec.volume_id, joints)
            raise
        members = {joint.replica_id: joint for joint in joints}
        array = Assembled(spec.volume_id, spec.epoch, members, spec.record_version)
        array.write_mostly_settled = not spec.resync
        self._arrays.put(array)
        return device_of(spec.volume_id)

    def _join_all(self, spec: AttachSpec) -> list[Joint]:
        with ThreadPoolExecutor(len(spec.members), thread_name_prefix="join") as pool:
            futures = [pool.submit(self._join, spec, member) for member in spec.members]
        joints = [future.result() for future in futures if future.exception() is None]
        failures = [error for future in futures if (error := future.exception()) is not None]
        if failures:
            self._take_apart(spec.volume_id, joints)
            raise failures[0]
        return joints if spec.resync else sorted(joints, key=lambda joint: joint.remote is not None)

    def _join(self, spec: AttachSpec, member: Member) -> Joint:
        return self._members.join(
            HoldName(spec.volume_id, member.replica_id, spec.epoch), member, joined=False
        )

    def _assemble(self, spec: AttachSpec, joints: list[Joint], bits: Ranges) -> None:
        array = md.ArraySpec(
            name=spec.volume_id,
            raid_disks=spec.replica_count,
            component_size_bytes=spec.size_bytes,
            bitmap_chunk_bytes=spec.bitmap_chunk_bytes,
            members=choose_members(joints, resync=spec.resync),
            resync=spec.resync,
            set_bits=bits,
        )
        md.assemble(self._machine.tree, array, self._machine.clock)
        md.activate(self._machine.tree, spec.volume_id, time_base_seconds=TIME_BASE)

    def _take_apart(self, volume_id: str, joints: list[Joint]) -> None:
        md.stop(self._machine.tree, volume_id, self._machine.clock)
        for joint in joints:
            self._members.remove(joint.hold, joint.remote.nqn if joint.remote else "")

    def detach(self, volume_id: str, epoch: int) -> None:
        """Every member is flushed first: after a clean detach a power cut loses nothing."""
        with self.lock(volume_id):
            self._detach(volume_id, epoch)

    def _detach(self, volume_id: str, epoch: int) -> None:
        array = self._arrays.find(volume_id)
        if array is not None and array.epoch > epoch:
            raise StaleEpoch(f"volume {volume_id} is attached here in epoch {array.epoch}, not {epoch}")
        if array is None:
            self.abandon(volume_id, epoch)
            return
        with array.changing():
            kept = [joint for joint in array.members.values() if not joint.released]
            _do_at_once([partial(flush, self._machine, joint, timeout=FLUSH_TIMEOUT) for joint in kept])
            md.stop(self._machine.tree, volume_id, self._machine.clock)
            self._arrays.remove(volume_id)
        self._remove_members(volume_id, epoch)

    def abandon(self, volume_id: str, epoch: int) -> None:
        """Nobody counts who could see an acknowledgement: its users are killed before anything is let go."""
        with self.lock(volume_id):
            self._abandon(volume_id, epoch)

    def _abandon(self, volume_id: str, epoch: int) -> None:
        array = self._arrays.find(volume_id)
        if array is not None and array.epoch > epoch:
            return
        state = find_array(self._machine.tree, volume_id)
        if state is not None:
            evict(self._machine, device_of(volume_id))
            self._fail_held(state, epoch)
            self._patiently(lambda: md.stop(self._machine.tree, volume_id, self._machine.clock))
        self._arrays.remove(volume_id)
        self._remove_members(volume_id, epoch)

    def _fail_held(self, array: ArrayState, epoch: int) -> None:
        """In an array that was left half built nothing is held; to let go there would start it."""
        for name, state in self._members.find_holds(array.name):
            if name.epoch <= epoch:
                joint = self._members.read_back(name, state)
                self._machine.holds.release(state.name)
                break_off(self._machine, joint)
        if array.activated:
            everyone = frozenset(member.kname for member in read_members(self._machine.tree, array.name))
            release_pending(self._machine.tree, array.name, everyone)

    def _patiently(self, act: Callable[[], None]) -> None:
        """Again while something is open: users that were killed let go, a flush under way ends."""
        clock = self._machine.clock
        deadline = clock.now() + LET_GO_TIMEOUT
        while True:
            try:
                act()
            except FailedPrecondition:
                if clock.now() >= deadline:
                    raise
                clock.sleep(0.1)
            else:
                return

    def _remove_members(self, volume_id: str, epoch: int) -> None:
        """At once: what the kernel does to end a connection is mostly waiting."""
        found = [each for each in self._members.find_holds(volume_id) if each[0].epoch <= epoch]
        _do_at_once([partial(self._remove_member, *each) for each in found])

    def _remove_member(self, name: HoldName, state: HoldState) -> None:
        joint = self._members.read_back(name, state)
        nqn = joint.remote.nqn if joint.remote else ""
        self._patiently(partial(self._members.remove, joint.hold, nqn))


def _do_at_once(acts: Sequence[Callable[[], None]]) -> None:
    """Each to its end, whatever becomes of the others; then the first one's error is raised."""
    with ThreadPoolExecutor(max(1, len(acts)), thread_name_prefix="member") as pool:
        futures = [pool.submit(act) for act in acts]
    for future in futures:
        future.result()


def _unite_bits(joints: Sequence[Joint], size_bytes: int, chunk_bytes: int) -> Ranges:
    """Md reads the bitmap of one member only, and forgets even that: data-plane facts, "bitmaps"."""
    with ThreadPoolExecutor(len(joints), thread_name_prefix="bits") as pool:
        return unite(
            pool.map(lambda joint: read_bits(f"/dev/{joint.kname}", size_bytes, chunk_bytes), joints)
        )


def check_owner(array: Assembled | None, spec: PrepareSpec) -> None:
    """StaleEpoch where a replica is asked for another node's array of an epoch whose array is here.

    The record cannot mean both: it was restored, and has begun an epoch again. Our array has the replica that
    lies here without any export, so that no fence would end what it writes there.
    """
    if array is not None and array.epoch == spec.epoch and spec.consumer is not None:
        raise StaleEpoch(f"volume {spec.volume_id} is attached here in epoch {array.epoch}, and nowhere else")


def list_marked(spec: AttachSpec) -> Ranges:
    """Chunks of what is new: an array of an earlier epoch may have grown, and not come to marking it."""
    last = -(-spec.size_bytes // spec.bitmap_chunk_bytes) - 1
    return ((spec.marked_from // spec.bitmap_chunk_bytes, last),) if spec.marked_from else ()


def choose_members(joints: list[Joint], *, resync: bool) -> tuple[md.MemberSpec, ...]:
    """Slots in the order given. Remote members are write_mostly, so that reads stay on this node.

    While a resync is owed md copies from the lowest slot that is not write_mostly: the first, even if remote.
    """
    return tuple(
        md.MemberSpec(f"/dev/{joint.kname}", slot, joint.remote is not None and not (resync and slot == 0))
        for slot, joint in enumerate(joints)
    )
