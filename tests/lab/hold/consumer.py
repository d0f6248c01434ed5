"""Inside a machine: an array of members with or without hold layers, losing members and getting them back."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from replication.clock import SystemClock, wait_until
from replication.errors import FailedPrecondition, NotFound, TimedOut
from replication.kernel import bitmap, blockdev, md, md_members
from replication.kernel.dm import DeviceMapper
from replication.kernel.hold import HoldLayer
from replication.kernel.md_state import array_path, device_of, read_array
from replication.kernel.nvme import Connection, NvmeHost
from replication.kernel.sockets import break_connections
from replication.kernel.sysfs import Tree
from tests.lab.hold.writers import CHUNK_BYTES, Writers

_STUCK = ("live", "resetting", "new")
_ALONE = 1  # one more write of each writer than was under way: writes go on


@dataclass(frozen=True, slots=True)
class Plan:
    """A member to be. `device` of a local one, or where to connect to."""

    name: str
    device: str = ""
    nqn: str = ""
    address: str = ""
    port: int = 0
    layer: bool = True


@dataclass(frozen=True, slots=True)
class Joined:
    """A member as it is now. `hold` is "" without a layer, `controller` for a local member."""

    plan: Plan
    kname: str
    hold: str
    controller: str


class Consumer:
    """One array on this machine."""

    def __init__(self, tree: Tree, mapper: DeviceMapper, volume: str, size_bytes: int) -> None:
        self._tree = tree
        self._holds = HoldLayer(mapper, tree)
        self._host = NvmeHost(tree)
        self._clock = SystemClock()
        self._volume = volume
        self._size_bytes = size_bytes
        self._members: dict[str, Joined] = {}
        self._dropped: set[str] = set()  # kernel names of those that the record does not count
        self.device = device_of(volume)
        self.writers: Writers | None = None

    def attach(self, plans: list[Plan]) -> None:
        """Assemble from members in sync; the bitmaps of all of them are carried over."""
        for plan in plans:
            self._members[plan.name] = self._join(plan)
        joined = [self._members[plan.name] for plan in plans]
        specs = [
            md.MemberSpec(f"/dev/{each.kname}", slot, bool(each.plan.nqn)) for slot, each in enumerate(joined)
        ]
        union = bitmap.unite(self._read_bits(each) for each in joined)
        spec = md.ArraySpec(self._volume, 3, self._size_bytes, CHUNK_BYTES, tuple(specs), False, union)
        md.assemble(self._tree, spec)
        md.activate(self._tree, self._volume, time_base_seconds=1)

    def _join(self, plan: Plan) -> Joined:
        below = self._connect(plan) if plan.nqn else blockdev.kernel_name(self._tree, plan.device)
        controller = self._host.find_controller(plan.nqn) if plan.nqn else None
        name = controller.name if controller else ""
        if not plan.layer:
            return Joined(plan, below, "", name)
        hold = f"{self._volume}-{plan.name}"
        number, size = blockdev.number(self._tree, below), blockdev.size_bytes(self._tree, below)
        return Joined(plan, self._holds.ensure(hold, number, size), hold, name)

    def _connect(self, plan: Plan) -> str:
        host_nqn = f"nqn.2026-01.io.test:{self._volume}"
        return self._host.ensure_connected(Connection(plan.nqn, plan.address, plan.port, host_nqn))

    def _read_bits(self, member: Joined) -> bitmap.Ranges:
        return bitmap.read_bits(f"/dev/{member.kname}", self._size_bytes, CHUNK_BYTES)

    def start_writers(self) -> None:
        self.writers = Writers(self.device)
        self._wait(lambda: read_array(self._tree, self._volume).write_pending, "the first write")
        md.acknowledge_writes(self._tree, self._volume)

    def _wait(self, condition: Callable[[], bool], what: str, timeout: float = 20.0) -> None:
        wait_until(condition, what, timeout=timeout, clock=self._clock, interval=0.05)

    def state(self) -> str:
        """For people: what md, the layers and the controllers say."""
        array = read_array(self._tree, self._volume)
        members = {each.kname: ",".join(sorted(each.flags)) for each in array.members}
        return f"{array.array_state} {members} {[self._describe(each) for each in self._members.values()]}"

    def _describe(self, member: Joined) -> str:
        state = self._find_controller_state(member) if member.controller else "local"
        hold = self._holds.find(member.hold) if member.hold else None
        path = "no layer" if hold is None else f"path {hold.path_active} held {hold.in_flight}"
        return f"{member.plan.name}: {state}, {path}"

    def _find_controller_state(self, member: Joined) -> str:
        try:
            return self._host.read_state(member.controller)
        except NotFound:
            return "gone"

    def drop(self, names: list[str], timeout: float) -> dict[str, object]:
        """The record has changed: the release, until writes go on or `timeout`."""
        assert self.writers is not None
        started, before = self._clock.now(), self.writers.counts()
        for name in names:
            self._fail(self._members[name])
        failing = self._clock.now() - started
        self._dropped |= {self._members[name].kname for name in names}
        passes = 0
        unrecorded: tuple[str, ...] = ()
        while not self._goes_on(before) and self._clock.now() - started < timeout:
            unrecorded = md_members.release_pending(self._tree, self._volume, frozenset(self._dropped))
            passes += 1
            self._clock.sleep(0.05)
        return {
            "seconds": self._clock.now() - started,
            "goes_on": self._goes_on(before),
            "passes": passes,
            "failing": failing,
            "unrecorded": unrecorded,
        }

    def _goes_on(self, before: list[int]) -> bool:
        assert self.writers is not None
        return all(now > then + _ALONE for now, then in zip(self.writers.counts(), before, strict=True))

    def _fail(self, member: Joined) -> None:
        with suppress(NotFound):
            md_members.fail_member(self._tree, self._volume, member.kname)
        if member.hold:
            self._holds.release(member.hold)
        if member.controller:
            self._break_off(member)

    def _break_off(self, member: Joined) -> None:
        """Also of one that is connecting: its attempt ends at once, and the deletion need not wait for it."""
        plan = member.plan
        try:
            if self._host.read_state(member.controller) in _STUCK:
                self._host.stop_holding(member.controller)
            break_connections(plan.address, plan.port)
            self._host.delete_controller(member.controller, timeout=0.01)
        except NotFound:  # refused, and gone by itself
            return
        except TimedOut:  # the deletion continues in its own thread; an attempt that began just now ends here
            break_connections(plan.address, plan.port)

    def fail_unrecorded(self, name: str) -> None:
        """What must never be: the member's requests come back as errors before anything is recorded."""
        member = self._members[name]
        self._host.stop_holding(member.controller)
        break_connections(member.plan.address, member.plan.port)

    def reinstate(self, name: str) -> None:
        """Its path is back; without this the layer would hold for ever, as it never tries by itself."""
        member = self._members[name]
        self._wait(lambda: self._host.read_state(member.controller) == "live", "the reconnection")
        self._holds.reinstate(member.hold, self._holds.read(member.hold).path)

    def forget(self, name: str) -> None:
        """Take away what is left of a dropped member."""
        member = self._members.pop(name)
        self._wait(lambda: self._removed(member), f"the requests of {name} to end")
        self._dropped.discard(member.kname)  # the next may be called the same
        if member.plan.nqn:
            self._host.disconnect(member.plan.nqn)

    def _removed(self, member: Joined) -> bool:
        try:
            md_members.remove_member(self._tree, self._volume, member.kname)
            if member.hold:
                self._holds.remove(member.hold)
        except FailedPrecondition:
            return False
        return True

    def rejoin(self, plan: Plan, speed: int) -> int:
        """Begin the recovery of a member in a free slot; how many chunks its own bitmap had marked.

        No member is write_mostly meanwhile, so that a read of what is not copied yet would be seen.
        """
        member = self._members[plan.name] = self._join(plan)
        own = self._read_bits(member)
        md_members.add_bits(self._tree, self._volume, bitmap.format_set_bits(own))
        state = read_array(self._tree, self._volume)
        slot = next(slot for slot in range(3) if slot not in {each.slot for each in state.members})
        number = blockdev.number(self._tree, member.kname)
        md_members.re_add_member(self._tree, self._volume, md.MemberSpec(number, slot), bitmap=True)
        for each in state.members:
            if not each.faulty:
                md_members.set_write_mostly(self._tree, self._volume, each.kname, on=False)
        self._tree.write(f"{array_path(self._volume)}/sync_speed_min", 1)  # KiB/s: md never goes below it
        md.limit_sync_speed(self._tree, self._volume, speed)
        md_members.start_recovery(self._tree, self._volume)
        return bitmap.count_chunks(own)

    def read_while_recovering(self) -> dict[str, int]:
        """Every known block once; `recovering` is 1 when the recovery had not ended after that."""
        assert self.writers is not None
        count, stale = self.writers.read_back(self.device)
        going = read_array(self._tree, self._volume).sync_action == "recover"
        return {"reads": count, "stale": stale, "recovering": int(going)}

    def finish_recovery(self, degraded: int) -> None:
        """The record counts the member again from now on: what waits at the recovery's end may go.

        At that end md turns to write-pending once more, since the set of members has changed.
        """
        self._tree.write(f"{array_path(self._volume)}/sync_speed_min", "system")
        md.limit_sync_speed(self._tree, self._volume, 1 << 40)
        self._wait(lambda: self._is_done(degraded), "the recovery to end", timeout=60)
        md_members.release_pending(self._tree, self._volume, frozenset(self._dropped))

    def _is_done(self, degraded: int) -> bool:
        state = read_array(self._tree, self._volume)
        return state.sync_action == "idle" and state.degraded == degraded

    def detach(self) -> None:
        self._wait(self._stopped, "the array to stop")
        for name in tuple(self._members):
            member = self._members.pop(name)
            if member.hold:
                self._holds.release(member.hold)
                self._holds.remove(member.hold)
            if member.plan.nqn:
                self._host.disconnect(member.plan.nqn)

    def _stopped(self) -> bool:
        try:
            md.stop(self._tree, self._volume)
        except FailedPrecondition:
            return False
        return True
