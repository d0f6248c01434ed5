"""Looks at every array of this node, all the time: what is lost goes up the stream, what may go on is let go.

Woken by md when an array's state changes, and twice a second for what no file tells: hold layers,
connections, peers. It never takes an array's lock for longer than a look, so that one array's long
operation delays no other.
"""

import itertools
import logging
import os
import select
import socket
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from replication.agent.assembled import Arrays, Assembled
from replication.agent.flush import bitmap_covers
from replication.agent.glance import Glances
from replication.agent.judge import SILENT_AFTER, Observation, judge
from replication.agent.machine import Machine
from replication.agent.members import Joint, Members
from replication.agent.probe import Prober
from replication.agent.release import let_go, list_lost, retry_path
from replication.agent.reports import Reports
from replication.agent.reshaping import let_writes_go_on
from replication.agent.slowness import Paces
from replication.agent.yielding import take_turns
from replication.errors import NotFound, TimedOut, TrilithError
from replication.kernel.blockdev import SECTOR_BYTES
from replication.kernel.md_members import set_write_mostly
from replication.kernel.md_state import SCRUBS, SYNCS, ArrayState, device_of, read_array
from replication.model import ArrayReport, MemberHealth, MemberReport
from replication.trouble import in_trouble
from replication.tuning import WRITE_LATENCY_BOUND

_log = logging.getLogger(__name__)

INTERVAL = 0.5
HURRY = 0.1  # while a connection has just been lost, and the next looks decide what that means
HURRIED_FOR = 1.0
RETRY_EVERY = 2.0  # seconds between attempts to use a failed path again
_CONNECT_TIMEOUT = 0.2
_TIDY_TIMEOUT = 0.1


class Watcher:
    """One thread for all arrays."""

    def __init__(self, machine: Machine, arrays: Arrays, members: Members, reports: Reports) -> None:
        self._machine = machine
        self._arrays = arrays
        self._members = members
        self._reports = reports
        self._prober = Prober(self._addresses, machine.clock, INTERVAL)
        self._glances = Glances(machine.tree)
        self._paces = Paces(machine.tree)
        self._events = machine.holds.arm_events()
        self.first_sequence = int(machine.clock.now() * 1000)  # above those of every agent before us
        self._sequence = itertools.count(self.first_sequence)
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        self._prober.start()
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        self.wake()
        self._thread.join()
        self._prober.stop()

    def wake(self) -> None:
        """Look now: an array came, went or was changed."""
        self._prober.wake()
        os.write(self._wake_write, b"x")

    def _addresses(self) -> Iterator[str]:
        for joint in _list_remote(self._arrays.list_all()):
            if joint.remote is not None:
                yield joint.remote.address

    def look_at_all(self) -> None:
        for array in self._arrays.list_all():
            self._look_safely(array)

    def _run(self) -> None:
        for number in itertools.count():
            if self._stopping:
                return
            events = self._holds_changed()
            arrays = self._arrays.list_all()
            self._glances.follow(arrays)
            self._paces.sample(list(_list_remote(arrays)), self._machine.clock.now())
            changed = self._glances.find_changed(arrays, number)
            silent = self._prober.list_silent(SILENT_AFTER)
            for array in arrays:
                if events or array.volume_id in changed or self._needs_look(array, silent):
                    self._look_safely(array)
            self._wait(choose_pause(arrays, self._machine.clock.now()))

    def _holds_changed(self) -> bool:
        """Whether device-mapper has had an event since last time: perhaps a hold layer's path failed."""
        happened = bool(select.select([self._events], [], [], 0)[0])
        if happened:
            self._events = self._machine.holds.arm_events()
        return happened

    def _needs_look(self, array: Assembled, silent: Collection[str]) -> bool:
        """What neither signs nor md tell: it was restless, or a peer is silent or slow."""
        if array.restless:
            return True
        if not silent and not self._paces.any_slow:
            return False
        joints = [joint for joint in tuple(array.members.values()) if joint.remote is not None]
        bound = latency_bound(array)
        slow = bound and any(self._paces.seconds(joint) >= bound for joint in joints)
        return bool(slow) or any(joint.remote.address in silent for joint in joints if joint.remote)

    def _wait(self, timeout: float | None) -> None:
        """For a change that the kernel tells of, `wake`, or `timeout` seconds; None is for ever."""
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        poll.register(self._events, select.POLLIN)
        for state in self._glances.list_states():
            poll.register(state.fileno(), select.POLLPRI | select.POLLERR)
        ready = poll.poll(None if timeout is None else timeout * 1000)
        self._glances.hear(descriptor for descriptor, _ in ready)
        if select.select([self._wake_read], [], [], 0)[0]:
            os.read(self._wake_read, 4096)

    def _look_safely(self, array: Assembled) -> None:
        """A look that came to nothing is repeated: what it should have seen may be what a write waits for."""
        try:
            self.look(array)
        except NotFound:  # being taken apart
            self._glances.forget(array.volume_id)
        except TrilithError:
            _log.exception("volume %s: cannot look at its array", array.volume_id)
            self._glances.forget(array.volume_id)

    def look(self, array: Assembled) -> ArrayReport:
        """See what there is to see now, and publish it. Raises NotFound when the array is gone.

        Several threads may look at once. Who was overtaken has seen more, perhaps: it is looked at again.
        """
        state = read_array(self._machine.tree, array.volume_id)
        if state.write_pending:
            let_go(self._machine, array)
        report = self._make_report(array, state)
        array.report = report
        array.restless = is_restless(array, report)
        self._retry_paths(array)
        if self._arrays.find(array.volume_id) is array and not self._reports.publish(report):
            array.restless = True
        with suppress(TrilithError):  # then it runs, or stands still until the next look
            take_turns(self._machine.tree, array, report.activity, self._machine.clock.now())
        self._tidy(array, state)
        return report

    def _make_report(self, array: Assembled, state: ArrayState) -> ArrayReport:
        sequence = next(self._sequence)
        joints = tuple(array.members.values())
        members = tuple(self._report_member(array, joint, state, sequence) for joint in joints)
        lost = any(member.health is MemberHealth.LOST for member in members)
        now = self._machine.clock.now()
        array.held_since = (array.held_since or now) if lost else None
        recovering = state.sync_action in SYNCS and state.progress is not None
        total = state.component_size_bytes if state.is_scrubbed else array.recovery_bytes
        part = state.progress.done_bytes / state.progress.total_bytes if state.progress else 1.0
        return ArrayReport(
            volume_id=array.volume_id,
            epoch=array.epoch,
            record_version=array.record_version,
            members=members,
            resync_done=not state.resync_owed,
            held_seconds=now - array.held_since if array.held_since else 0.0,
            recovery_total_bytes=total,
            recovery_done_bytes=int(total * part),
            recovery_bytes_per_second=state.speed_bytes_per_second if recovering else 0,
            device=device_of(array.volume_id),
            sequence=sequence,
            tuning=array.tuning and replace(array.tuning, slots=state.raid_disks),
            activity=state.sync_action,
            mismatched_bytes=state.mismatches * SECTOR_BYTES,
        )

    def _report_member(
        self, array: Assembled, joint: Joint, state: ArrayState, sequence: int
    ) -> MemberReport:
        seen = self._observe(array, joint, state)
        health, reason = judge(seen)
        if health is MemberHealth.LOST and not joint.suspected:
            joint.unheard = seen.silent
            joint.covered = bitmap_covers(joint, self._machine.clock.now())
            joint.suspected, joint.suspected_in = reason, sequence
        if joint.suspected and health is not MemberHealth.DROPPED:
            return MemberReport(joint.replica_id, MemberHealth.LOST, joint.suspected, joint.covered)
        return MemberReport(joint.replica_id, health, attempt=joint.version)

    def _observe(self, array: Assembled, joint: Joint, state: ArrayState) -> Observation:
        member = state.find_member(joint.kname)
        controller = self._read_controller(joint)
        now = self._machine.clock.now()
        joint.unconnected_since = None if controller == "live" else joint.unconnected_since or now
        hold = self._machine.holds.find(joint.hold)
        return Observation(
            joined=joint.joined,
            faulty=member is not None and member.faulty,
            in_sync=member is not None and member.in_sync and state.sync_action != "frozen",
            path_failed=hold is None or not hold.path_active,
            released=joint.released,
            slotless=member is not None and member.slot is None,
            controller=controller,
            unconnected=now - joint.unconnected_since if joint.unconnected_since else 0.0,
            silence=self._prober.silence(joint.remote.address) if joint.remote else 0.0,
            slow=self._paces.seconds(joint) if joint.remote else 0.0,
            bound=latency_bound(array),
            refused=controller != "live" and joint.remote is not None and is_refused(joint),
        )

    def _read_controller(self, joint: Joint) -> str:
        if joint.remote is None:
            return "live"
        try:
            return self._machine.host.read_state(joint.remote.controller)
        except NotFound:
            return "gone"

    def _retry_paths(self, array: Assembled) -> None:
        """Send what is held again to members whose connection has come back.

        It needs no word of the record: nothing is acknowledged without them. One that was recorded stale
        meanwhile is dropped by the confirmation, as it stays suspected.
        """
        now = self._machine.clock.now()
        for joint in tuple(array.members.values()):
            due = now - joint.retried >= RETRY_EVERY
            if joint.suspected and joint.remote is not None and joint.unconnected_since is None and due:
                joint.retried = now
                retry_path(self._machine, array, joint)

    def _tidy(self, array: Assembled, state: ArrayState) -> None:
        """What can wait for a moment when nobody else works on the array.

        In a thread of its own: md does it between writes, and these may wait until we have seen something.
        Not while a member is lost: until somebody has a word about it, all would wait, readers too.
        """
        settle = not array.write_mostly_settled and not state.resync_owed
        key = f"tidy {array.volume_id}"
        if not (settle or array.writes_kept or array.released()) or self._machine.blocking.is_pending(key):
            return
        with suppress(TimedOut):
            act = partial(self._tidy_now, array, settle=settle)
            self._machine.blocking.call(key, act, timeout=_TIDY_TIMEOUT)

    def _tidy_now(self, array: Assembled, *, settle: bool) -> None:
        if not array.lock.acquire(blocking=False):
            return
        try:
            gone = list_lost(self._machine, self._members, array)
            if array.writes_kept:
                let_writes_go_on(self._machine, array)
            if settle and not gone:
                self._settle_write_mostly(array)
        finally:
            array.lock.release()

    def _settle_write_mostly(self, array: Assembled) -> None:
        """The source of a resync must not be write_mostly, even when it is remote; afterwards it is again.

        The array's lock is held: who has returned since the look is in this state.
        """
        state = read_array(self._machine.tree, array.volume_id)
        if state.resync_owed:
            return
        for joint in tuple(array.members.values()):
            member, remote = state.find_member(joint.kname), joint.remote is not None
            if member is not None and member.write_mostly != remote:
                set_write_mostly(self._machine.tree, array.volume_id, joint.kname, on=remote)
        array.write_mostly_settled = True


def choose_pause(arrays: Sequence[Assembled], now: float) -> float | None:
    """Seconds until the next round; None is for ever."""
    if not arrays:
        return None
    lost = (joint.unconnected_since for joint in _list_remote(arrays))
    return HURRY if any(since is not None and now - since < HURRIED_FOR for since in lost) else INTERVAL


def _list_remote(arrays: Iterable[Assembled]) -> Iterator[Joint]:
    for array in arrays:
        for joint in tuple(array.members.values()):
            if joint.remote is not None and not joint.released:
                yield joint


def is_restless(array: Assembled, report: ArrayReport) -> bool:
    """Whether something goes on there that no sign tells the progress of."""
    unconnected = any(joint.unconnected_since for joint in tuple(array.members.values()))
    busy = report.activity in SCRUBS or array.writes_kept or bool(array.released())
    return in_trouble(report) or busy or unconnected


def latency_bound(array: Assembled) -> float:
    """Seconds; 0: none. The default holds until somebody says otherwise."""
    return WRITE_LATENCY_BOUND if array.tuning is None else array.tuning.write_latency_bound


def is_refused(joint: Joint) -> bool:
    """Whether the peer's kernel answers a new connection to its target with a reset."""
    if joint.remote is None:
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(_CONNECT_TIMEOUT)
        try:
            probe.connect((joint.remote.address, joint.remote.port))
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False
