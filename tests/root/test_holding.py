"""The hold layer on a real kernel: what waits, what goes on, what fails."""

import pytest

from replication.errors import FailedPrecondition, KernelError
from replication.kernel import blockdev
from replication.kernel.direct import flush, read_direct
from replication.kernel.events import Uevents
from replication.kernel.hold import HoldState
from replication.layout import DATA_OFFSET_BYTES
from tests.root.stand import CLOCK, DATA, Replica, Stand, Write, wait

pytestmark = pytest.mark.root


@pytest.fixture
def replica(local: Stand) -> Replica:
    return local.replicas[0]


def held_write(stand: Stand, replica: Replica) -> Write:
    """A write that waits because its path has failed."""
    stand.err(replica)
    write = Write(f"/dev/{replica.member}", DATA_OFFSET_BYTES, b"x")
    wait(lambda: not stand.holds.read(replica.hold).path_active, "the path to fail")
    CLOCK.sleep(1)
    assert write.is_alive()
    return write


def end_of(write: Write) -> Write:
    write.join(10)
    assert not write.is_alive(), "the write still waits"
    return write


def test_a_layer_is_what_was_asked_for(local: Stand, replica: Replica) -> None:
    state = local.holds.read(replica.hold)
    below = blockdev.number(local.tree, blockdev.kernel_name(local.tree, replica.disk))
    assert state == HoldState(
        replica.hold, replica.number, below, path_active=True, fail_count=0, queueing=True, in_flight=0,
        event_number=state.event_number, size_bytes=replica.sectors * 512,
    )  # fmt: skip
    assert local.holds.ensure(replica.hold, below, replica.sectors * 512) == replica.member
    with pytest.raises(FailedPrecondition):
        local.holds.ensure(replica.hold, below, 4096)
    assert local.mapper.dependencies(replica.hold) == (below,)


def test_a_layer_that_lets_go_is_made_anew(local: Stand, replica: Replica) -> None:
    """What was to be removed and could not be, perhaps: a member over it would not be held."""
    path = local.holds.read(replica.hold).path
    local.holds.release(replica.hold)
    assert not local.holds.read(replica.hold).queueing
    replica.member = local.holds.ensure(replica.hold, path, replica.sectors * 512)
    replica.number = blockdev.number(local.tree, replica.member)
    assert local.holds.read(replica.hold).queueing


def test_a_write_waits_while_the_disk_errs_and_lands_when_it_is_reinstated(
    local: Stand, replica: Replica
) -> None:
    write = held_write(local, replica)
    state = local.holds.read(replica.hold)
    assert (state.holding, state.in_flight, state.fail_count) == (True, 1, 1)
    local.heal(replica)
    local.holds.reinstate(replica.hold, state.path)
    assert end_of(write).error is None
    assert read_direct(replica.disk, DATA_OFFSET_BYTES, 4096) == b"x" * 4096


def test_a_held_write_fails_when_it_is_released(local: Stand, replica: Replica) -> None:
    write = held_write(local, replica)
    local.holds.release(replica.hold)
    assert end_of(write).error is not None
    assert not local.holds.read(replica.hold).queueing


def test_a_flush_that_is_refused_is_an_error_of_ours(local: Stand, replica: Replica) -> None:
    local.holds.fail_path(replica.hold, local.holds.read(replica.hold).path)
    local.holds.release(replica.hold)
    with pytest.raises(KernelError, match="Input/output error"):
        flush(f"/dev/{replica.member}")


def test_a_held_write_follows_a_new_table_to_another_device(local: Stand, replica: Replica) -> None:
    """A disk or controller that came back under another name."""
    write = held_write(local, replica)
    other = local.replicas[1]
    local.holds.remove(other.hold)
    number = blockdev.number(local.tree, blockdev.kernel_name(local.tree, other.disk))
    local.holds.reload(replica.hold, number, other.sectors * 512)
    assert end_of(write).error is None
    assert read_direct(other.disk, DATA_OFFSET_BYTES, 4096) == b"x" * 4096
    assert local.holds.read(replica.hold).path == number


def test_a_held_write_survives_a_layer_that_grows(local: Stand, replica: Replica) -> None:
    write = held_write(local, replica)
    path = local.holds.read(replica.hold).path
    local.enlarge(replica, DATA + (8 << 20))
    local.holds.reload(replica.hold, path, replica.sectors * 512)
    assert end_of(write).error is None
    assert blockdev.size_bytes(local.tree, replica.member) == DATA_OFFSET_BYTES + DATA + (8 << 20)


def test_a_path_failed_by_hand_holds_too(local: Stand, replica: Replica) -> None:
    path = local.holds.read(replica.hold).path
    local.holds.fail_path(replica.hold, path)
    write = Write(f"/dev/{replica.member}", DATA_OFFSET_BYTES, b"x")
    CLOCK.sleep(1)
    assert write.is_alive()
    local.holds.reinstate(replica.hold, path)
    assert end_of(write).error is None


def test_a_failing_path_is_told_by_event_number_and_uevent(local: Stand, replica: Replica) -> None:
    before = local.holds.read(replica.hold).event_number
    with Uevents() as events:
        write = held_write(local, replica)
        after = local.mapper.wait_event(replica.hold, before, timeout=5)
        seen, lost = events.wait(5)
    assert after > before
    assert not lost
    assert ("PATH_FAILED", replica.hold) in [(each.get("DM_ACTION"), each.get("DM_NAME")) for each in seen]
    local.holds.release(replica.hold)
    end_of(write)


def test_a_layer_in_use_is_not_removed(local: Stand, replica: Replica) -> None:
    device = local.tree.path(f"/dev/{replica.member}")
    with device.open("rb"), pytest.raises(FailedPrecondition, match="open"):
        local.holds.remove(replica.hold)
    for _ in range(2):
        local.holds.remove(replica.hold)
    assert local.holds.find(replica.hold) is None
    assert replica.hold not in local.holds.list_names(local.name)
