"""A dropped member gives back what it keeps; others on the same target go on."""

import fcntl
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from replication.agent.machine import Machine
from replication.agent.members import Joint, parse_remote
from replication.agent.release import break_off
from replication.kernel import nvme
from replication.layout import DATA_OFFSET_BYTES
from tests.root.stand import CLOCK, Replica, Stand, Write, count, wait
from tests.unit.agent.fake_machine import fake_machine

pytestmark = pytest.mark.root

MANY = 300  # more than a connection takes: the rest waits for a place in its queues
SOON = 20.0  # seconds, where 1 is the goal: processors are emulated and shared; time-outs are 30 and 60
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


@pytest.fixture(autouse=True)
def rare_switches() -> Iterator[None]:
    """Threads that wait for the interpreter wake up at each interval: hundreds fill an emulated processor."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(0.5)
    yield
    sys.setswitchinterval(usual)


@pytest.fixture
def machine(stand: Stand) -> Machine:
    return replace(fake_machine(stand.tree, stand.holds), host=stand.host)


@pytest.mark.parametrize("how", ["hangs", "errs"])
def test_a_member_is_let_go_alone(
    stand: Stand, machine: Machine, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """The other one's disk hangs, so that it surely has writes under way.

    Whose a connection is may take longer to say where processors are emulated and shared.
    """
    monkeypatch.setattr(nvme, "_ANSWERS_WITHIN", 5.0)
    other, lost = stand.replicas[1:]
    stand.mapper.suspend(other.fault)
    spared = write_to(other, 8)
    if how == "hangs":
        stand.mapper.suspend(lost.fault)
    else:
        stand.err(lost)
    held = write_to(lost, MANY)
    CLOCK.sleep(1)
    assert count(held) + count(spared) == 0
    assert let_go(stand, machine, lost, held) < SOON
    stand.mapper.resume(other.fault)
    wait(lambda: count(spared) == len(spared), "the other one's writes")
    state = stand.holds.read(other.hold)
    assert (state.path_active, state.fail_count) == (True, 0)
    if how == "hangs":
        stand.mapper.resume(lost.fault)
    wait(lambda: stand.host.find_controller(lost.nqn) is None, "the controller to go")
    stand.holds.remove(lost.hold)
    stand.connect(lost)
    assert stand.host.find_controller(lost.nqn) is not None


def test_a_member_whose_peer_is_silent_is_let_go_all_the_same(stand: Stand, machine: Machine) -> None:
    lost = stand.replicas[2]
    stand.mapper.suspend(lost.fault)
    held = write_to(lost, MANY)
    CLOCK.sleep(1)
    with silence():
        assert stand.host.read_state(controller_of(stand, lost)) == "live"
        assert let_go(stand, machine, lost, held) < SOON
    stand.mapper.resume(lost.fault)
    wait(lambda: stand.host.find_controller(lost.nqn) is None, "the controller to go")


def write_to(replica: Replica, number: int) -> list[Write]:
    """Through its hold layer."""
    device = f"/dev/{replica.member}"
    return [Write(device, DATA_OFFSET_BYTES + 4096 * index, b"1") for index in range(number)]


def controller_of(stand: Stand, replica: Replica) -> str:
    controller = stand.host.find_controller(replica.nqn)
    assert controller is not None
    return controller.name


def let_go(stand: Stand, machine: Machine, replica: Replica, held: list[Write]) -> float:
    """Seconds until the last of the writes has come back."""
    controller = stand.host.find_controller(replica.nqn)
    assert controller is not None
    joint = Joint("r2", replica.hold, replica.member, "", parse_remote(controller))
    began = CLOCK.now()
    stand.holds.release(replica.hold)
    break_off(machine, joint)
    wait(lambda: not any(write.is_alive() for write in held), "what it keeps")
    assert count(held) == 0
    return CLOCK.now() - began


@contextmanager
def silence() -> Iterator[None]:
    """Nothing arrives on either side of loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        asked = struct.pack("16sH14x", b"lo", 0)
        (flags,) = struct.unpack_from("H", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, asked), 16)
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags & ~_IFF_UP))
        try:
            yield
        finally:
            fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags))
