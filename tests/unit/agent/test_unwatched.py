"""Reads through members that nobody watches yet do not wait for ever."""

import threading
from collections.abc import Callable, Iterator

import pytest

from replication.agent import unwatched
from replication.agent.assembled import Arrays, Assembled
from replication.agent.attachment import Attachments
from replication.agent.machine import Machine
from replication.agent.members import Joint, Members
from replication.agent.names import HoldName
from replication.agent.rejoin import rejoin
from replication.agent.unwatched import Unwatched
from replication.clock import SystemClock, wait_until
from replication.errors import KernelError, Unavailable
from replication.kernel import bitmap, md
from replication.kernel.dm import DeviceMapper
from replication.kernel.hold import HoldLayer
from replication.kernel.md import ArraySpec, MemberSpec
from replication.kernel.md_state import find_array
from replication.layout import BITMAP_SPACE_BYTES
from replication.model import AttachSpec, CopyMode, Member, RejoinSpec
from tests.unit.agent.fake_machine import fake_machine
from tests.unit.kernel.fake_dm import FakeControl
from tests.unit.kernel.fake_md import FakeMd

MIB = 1 << 20
VOLUME = "v1"
CHUNK = 65536
FOR_EVER = 3.0  # seconds, for a test


class Fixed(Members):
    """Replica rN is dm-N, its hold layer is there."""

    def __init__(self) -> None:
        self.removed: list[str] = []

    def join(self, name: HoldName, member: Member, *, joined: bool) -> Joint:
        return Joint(member.replica_id, str(name), f"dm-{member.replica_id[1:]}", "", None, joined=joined)

    def remove(self, hold: str, nqn: str) -> None:
        self.removed.append(hold)

    def find_holds(self, volume_id: str = "") -> Iterator[tuple[HoldName, object]]:  # type: ignore[override]
        return iter(())


@pytest.fixture
def holds(tree: FakeMd) -> Iterator[HoldLayer]:
    control = FakeControl()
    made = HoldLayer(DeviceMapper(control), tree)
    for number in range(3):
        made.ensure(str(HoldName(VOLUME, f"r{number}", 1)), "259:0", 64 * MIB)
    yield made
    control.close()


@pytest.fixture
def machine(tree: FakeMd, holds: HoldLayer) -> Machine:
    return fake_machine(tree, holds)


@pytest.fixture
def lost(holds: HoldLayer, monkeypatch: pytest.MonkeyPatch) -> str:
    """r2: what is read of it waits until its hold layer lets go."""
    name = str(HoldName(VOLUME, "r2", 1))

    def read(path: str, *_: int) -> bytes:
        if path == "/dev/dm-2":
            wait_until(lambda: not holds.read(name).queueing, "an end", timeout=FOR_EVER, clock=SystemClock())
            raise KernelError("read: Input/output error")
        return bytes(BITMAP_SPACE_BYTES)

    monkeypatch.setattr(bitmap, "read_direct", read)
    monkeypatch.setattr(unwatched, "SECONDS", 0.2)
    return name


def test_an_attachment_whose_member_is_lost_on_the_way_fails(
    machine: Machine, tree: FakeMd, lost: str
) -> None:
    members = Fixed()
    spec = AttachSpec(
        volume_id=VOLUME,
        epoch=1,
        record_version=3,
        size_bytes=60 * MIB,
        bitmap_chunk_bytes=CHUNK,
        replica_count=3,
        members=tuple(Member(f"r{number}", None) for number in range(3)),
        resync=False,
        readonly=False,
    )
    with pytest.raises(KernelError):
        Attachments(machine, Arrays(), members).attach(spec)
    assert lost in members.removed
    assert find_array(tree, VOLUME) is None


def test_a_member_that_is_lost_while_it_returns_is_let_go(machine: Machine, tree: FakeMd, lost: str) -> None:
    others = (MemberSpec("253:0", 0), MemberSpec("253:1", 1))
    md.assemble(tree, ArraySpec(VOLUME, 3, 60 * MIB, CHUNK, others, resync=False))
    md.activate(tree, VOLUME)
    array = Assembled(VOLUME, 1, {}, write_mostly_settled=True)
    members = Fixed()
    spec = RejoinSpec(VOLUME, 1, 7, Member("r2", None), CopyMode.BITMAP, resumable=False)
    with pytest.raises(KernelError):
        rejoin(machine, members, array, spec)
    assert members.removed == [lost]
    assert array.members == {}


def guard(machine: Machine, act: Callable[[], object]) -> bool:
    """Whether the hold layer holds still, in the end."""
    name = str(HoldName(VOLUME, "r2", 1))
    with Unwatched(machine, [Joint("r2", name, "dm-2", "", None)]):
        act()
    SystemClock().sleep(0.3)
    return machine.holds.read(name).queueing


def test_what_is_in_time_is_left_alone(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unwatched, "SECONDS", 0.2)
    assert guard(machine, lambda: None)


def test_what_was_let_go_is_no_member(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though all that was asked of it was answered."""
    monkeypatch.setattr(unwatched, "SECONDS", 0.1)
    late = threading.Event()
    with pytest.raises(Unavailable, match=r"r2 did not answer within 0\.1 s"):
        guard(machine, lambda: late.wait(1.0))
