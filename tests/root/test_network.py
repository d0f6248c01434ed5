"""NVMe over TCP through loopback, both ends on this machine."""

import contextlib
import os
import signal
from dataclasses import replace

import pytest

from replication.agent import unwatched
from replication.agent.machine import Machine
from replication.agent.members import Joint, parse_remote
from replication.agent.release import break_off
from replication.agent.unwatched import Unwatched, unheld
from replication.control.keys import new_key
from replication.errors import FailedPrecondition, KernelError, TimedOut, Unavailable
from replication.kernel import blockdev
from replication.kernel.direct import read_direct
from replication.kernel.md_members import fail_member, release_pending
from replication.kernel.nvme import Connection
from replication.kernel.nvmet import Nvmet
from replication.layout import DATA_OFFSET_BYTES
from tests.root.stand import CHUNK, CLOCK, DATA, PREFIX, Replica, Stand, Write, count, wait
from tests.unit.agent.fake_machine import fake_machine

pytestmark = pytest.mark.root


@pytest.fixture
def remote(stand: Stand) -> Replica:
    return stand.replicas[2]


def test_both_ends_can_authenticate(stand: Stand) -> None:
    assert stand.target.has_authentication()
    assert stand.host.has_authentication()


def test_an_export_is_seen_as_it_is(stand: Stand, remote: Replica) -> None:
    state = stand.target.find_export(remote.nqn)
    assert state is not None
    assert (state.device, state.enabled) == (remote.disk, True)
    assert (state.host_nqns, state.ports) == ((f"{remote.nqn}:host",), (("127.0.0.1", 4420),))
    kname = stand.host.get_namespace(remote.nqn)
    assert blockdev.size_bytes(stand.tree, kname) == remote.sectors * 512
    stand.export(remote)
    assert stand.host.ensure_connected(stand.connection(remote)) == kname
    assert [each.nqn for each in stand.host.list_controllers(PREFIX)].count(remote.nqn) == 1


def test_without_the_key_nobody_gets_in(stand: Stand, remote: Replica) -> None:
    connection = stand.connection(remote)
    stand.holds.remove(remote.hold)
    stand.host.disconnect(remote.nqn)
    for attempt in (
        replace(connection, host_key="", controller_key=""),
        replace(connection, host_nqn=f"{PREFIX}stranger"),
    ):
        with pytest.raises(KernelError) as caught:
            stand.host.ensure_connected(attempt)
        assert "DHHC" not in str(caught.value)
    assert stand.host.find_controller(remote.nqn) is None
    stand.host.ensure_connected(connection)


@pytest.mark.parametrize("host_is_wrong", [True, False])
def test_a_wrong_key_is_refused(stand: Stand, remote: Replica, host_is_wrong: bool) -> None:
    """The kernel takes the time-out of admin commands for it (60 s), during which it connects to nobody."""
    name = "/sys/module/nvme_core/parameters/admin_timeout"
    normal = stand.tree.read(name)
    stand.holds.remove(remote.hold)
    stand.host.disconnect(remote.nqn)
    stand.tree.write(name, 5)
    right, key = stand.connection(remote), new_key()
    wrong = replace(right, host_key=key) if host_is_wrong else replace(right, controller_key=key)
    try:
        with pytest.raises(KernelError) as caught:
            stand.host.ensure_connected(wrong, timeout=40)
    finally:
        stand.tree.write(name, normal)
    assert "DHHC" not in str(caught.value)
    assert stand.host.find_controller(remote.nqn) is None


def test_what_differs_is_refused(stand: Stand, remote: Replica) -> None:
    with pytest.raises(FailedPrecondition, match="connected as"):
        stand.host.ensure_connected(replace(stand.connection(remote), host_nqn="other"))
    remote.keys = (new_key(), new_key())
    with pytest.raises(FailedPrecondition, match="another key"):
        stand.export(remote)


def test_an_address_without_a_target_is_an_error(stand: Stand) -> None:
    with pytest.raises(Unavailable, match="Connection refused"):
        stand.host.ensure_connected(Connection(f"{PREFIX}none", "127.0.0.1", 4499, f"{PREFIX}host"))


def test_a_fence_ends_the_old_consumer_and_holds_its_writes(stand: Stand, remote: Replica) -> None:
    stand.start()
    stand.write(0, b"1")
    stand.target.fence(remote.nqn)
    writes = [Write(stand.device, (chunk + 1) * CHUNK, b"2") for chunk in range(16)]
    CLOCK.sleep(8)
    assert count(writes) == 0
    assert all(member.serving for member in stand.state().members)
    assert read_direct(remote.disk, DATA_OFFSET_BYTES + CHUNK, 4096) == bytes(4096)
    stand.drop(remote)
    wait(lambda: count(writes) == 16, "the writes")
    assert stand.host.find_controller(remote.nqn) is None


def test_a_fenced_replica_returns_under_a_new_name(stand: Stand, remote: Replica) -> None:
    stand.start()
    stand.write(0, b"1")
    stand.target.fence(remote.nqn)
    stand.drop(remote)
    stand.write(3, b"2")
    remote.nqn = remote.nqn.removesuffix(":1") + ":2"
    stand.rejoin(remote, use_bitmap=True)
    assert stand.state().degraded == 0
    assert stand.read(remote, 3) == b"2"
    assert stand.state().find_member(remote.member) is not None


def test_an_export_that_comes_back_before_a_decision_costs_nothing(stand: Stand, remote: Replica) -> None:
    stand.start()
    stand.write(0, b"1")
    link = f"/sys/kernel/config/nvmet/ports/1/subsystems/{remote.nqn}"
    stand.tree.unlink(link)
    writes = [Write(stand.device, (chunk + 1) * CHUNK, b"2") for chunk in range(8)]
    CLOCK.sleep(3)
    assert count(writes) == 0
    stand.export(remote)
    CLOCK.sleep(2)
    if not stand.holds.read(remote.hold).path_active or stand.host.find_controller(remote.nqn) is None:
        stand.connect(remote)
    wait(lambda: count(writes) == 8, "the writes")
    assert stand.state().degraded == 0


def test_a_disk_that_errs_behind_the_target_makes_writes_wait(stand: Stand, remote: Replica) -> None:
    stand.start()
    stand.write(0, b"1")
    stand.err(remote)
    writes = [Write(stand.device, (chunk + 1) * CHUNK, b"2") for chunk in range(8)]
    CLOCK.sleep(4)
    assert count(writes) == 0
    assert all(member.serving for member in stand.state().members)
    stand.drop(remote)
    wait(lambda: count(writes) == 8, "the writes")
    stand.heal(remote)


def test_a_fence_waits_for_what_the_disk_has_not_ended(stand: Stand, remote: Replica) -> None:
    """The disk is frozen (suspended below the namespace), with a write on its way."""
    stand.mapper.suspend(remote.fault)
    write = Write(f"/dev/{remote.member}", DATA_OFFSET_BYTES, b"2")
    CLOCK.sleep(1)
    for _ in range(2):
        with pytest.raises(TimedOut, match="fence"):
            stand.target.fence(remote.nqn, timeout=2)
    another_agent = Nvmet(stand.tree, is_open=stand.mapper.is_open)
    with pytest.raises(TimedOut):
        another_agent.fence(remote.nqn, timeout=2)
    assert count([write]) == 0
    assert stand.mapper.is_open(remote.disk)
    stand.mapper.resume(remote.fault)
    stand.target.fence(remote.nqn, timeout=10)
    assert not stand.mapper.is_open(remote.disk)
    assert read_direct(remote.disk, DATA_OFFSET_BYTES, 4096) == b"2" * 4096
    stand.holds.release(remote.hold)
    stand.host.disconnect(remote.nqn)
    wait(lambda: not write.is_alive(), "the write")


def test_a_lost_member_whose_target_is_frozen_can_be_dropped(stand: Stand, remote: Replica) -> None:
    """By the steps of the release path: faulty, held no more, its connection broken, -blocked, active."""
    stand.start()
    stand.write(0, b"1")
    stand.mapper.suspend(remote.fault)
    writes = [Write(stand.device, (chunk + 1) * CHUNK, b"2") for chunk in range(4)]
    CLOCK.sleep(1)
    machine, joint = unwatch(stand, remote)
    fail_member(stand.tree, stand.name, remote.member)
    stand.holds.release(remote.hold)
    break_off(machine, joint)
    release_pending(stand.tree, stand.name, frozenset({remote.member}))
    other = stand.replicas[1]
    wait(lambda: count(writes) == len(writes) or retry(stand, other), "the writes", timeout=60)
    stand.mapper.resume(remote.fault)


def retry(stand: Stand, replica: Replica) -> bool:
    """As the watcher does, where another one's end has broken this connection, too. Always False."""
    controller = stand.host.find_controller(replica.nqn)
    if controller is not None and controller.live and not stand.holds.read(replica.hold).path_active:
        stand.connect(replica)
    return False


def unwatch(stand: Stand, remote: Replica) -> tuple[Machine, Joint]:
    """An agent's view of it, before any array has it."""
    machine = replace(fake_machine(stand.tree, stand.holds), host=stand.host)
    controller = stand.host.find_controller(remote.nqn)
    assert controller is not None
    return machine, Joint("r2", remote.hold, remote.member, "", parse_remote(controller))


@pytest.mark.parametrize("how", ["fenced", "silent"])
def test_what_is_read_of_a_member_that_nobody_watches_fails_in_the_end(
    stand: Stand, remote: Replica, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Its path fails, and is held; or its connection keeps what it has sent."""
    monkeypatch.setattr(unwatched, "SECONDS", 3.0)
    machine, joint = unwatch(stand, remote)
    if how == "fenced":
        stand.target.fence(remote.nqn)
    else:
        stand.mapper.suspend(remote.fault)
    began = CLOCK.now()
    with pytest.raises(KernelError), Unwatched(machine, [joint]):
        read_direct(f"/dev/{remote.member}", DATA_OFFSET_BYTES, 4096)
    assert CLOCK.now() - began >= 2.5, "it was held"
    if how == "silent":
        stand.mapper.resume(remote.fault)


def test_who_is_killed_while_it_reads_what_a_lost_member_would_hold_ends_all_the_same(
    stand: Stand, remote: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an agent is, over a member that is about to return: before it has ended no other begins."""
    monkeypatch.setattr(unwatched, "PATIENCE", 1)
    machine, joint = unwatch(stand, remote)
    assert joint.remote is not None
    with unheld(machine, [joint]):
        assert not stand.holds.read(remote.hold).queueing
    assert stand.holds.read(remote.hold).queueing
    assert stand.tree.read(f"/sys/class/nvme/{joint.remote.controller}/fast_io_fail_tmo") == "off"
    reader = os.fork()
    if not reader:
        with unheld(machine, [joint]), contextlib.suppress(KernelError):
            stand.target.fence(remote.nqn)
            read_direct(f"/dev/{remote.member}", DATA_OFFSET_BYTES, 4096)
        os._exit(0)
    wait(lambda: holds_nothing(stand, remote), "the reader to have begun")
    os.kill(reader, signal.SIGKILL)
    wait(lambda: os.waitpid(reader, os.WNOHANG)[0] == reader, "the reader's end")
    stand.holds.hold(remote.hold)


def holds_nothing(stand: Stand, replica: Replica) -> bool:
    state = stand.holds.read(replica.hold)
    return not state.queueing and state.in_flight > 0


def test_a_larger_disk_is_seen_by_the_consumer(stand: Stand, remote: Replica) -> None:
    kname = stand.host.get_namespace(remote.nqn)
    stand.enlarge(remote, DATA + (8 << 20))
    stand.target.revalidate_size(remote.nqn)
    wait(lambda: blockdev.size_bytes(stand.tree, kname) == remote.sectors * 512, "the new size")


def test_fencing_and_disconnecting_leave_nothing(stand: Stand) -> None:
    for replica in stand.replicas:
        stand.holds.remove(replica.hold)
    for replica in stand.replicas[1:]:
        for _ in range(2):
            stand.target.fence(replica.nqn)
            stand.host.disconnect(replica.nqn)
    assert stand.target.list_exports(PREFIX) == ()
    assert stand.host.list_controllers(PREFIX) == ()
    stand.target.remove_unused_ports()
    assert stand.tree.names("/sys/kernel/config/nvmet/ports") == ()
    assert stand.tree.names("/sys/kernel/config/nvmet/hosts") == ()
