"""Arrays that grow, on a real kernel."""

from dataclasses import replace
from threading import Thread, Timer

import pytest

from replication.errors import FailedPrecondition, TimedOut
from replication.kernel import bitmap, md, md_members, md_state
from replication.kernel.direct import read_direct
from replication.kernel.sysfs import Tree
from tests.root.stand import CHUNK, CLOCK, DATA, Replica, Stand, Write, count, wait

pytestmark = pytest.mark.root
LARGER = DATA + (32 << 20)


def test_growing_keeps_the_chunk_and_what_is_there(local: Stand) -> None:
    local.start()
    local.write(0, b"1")
    local.grow(LARGER)
    md.grow(local.tree, local.name, LARGER, local.write_in_time)
    state = local.state()
    assert (state.component_size_bytes, state.bitmap_chunk_bytes, state.degraded) == (LARGER, CHUNK, 0)
    last = LARGER // CHUNK - 1
    local.write(last, b"z")
    assert [local.read(replica, last) for replica in local.replicas] == [b"z"] * 3
    assert [local.read(replica, 0) for replica in local.replicas] == [b"1"] * 3


def test_what_grew_while_a_member_is_away_is_known_to_whoever_has_the_array_next(local: Stand) -> None:
    """md marks it in memory alone (__bitmap_resize). It takes a write before the growth to be seen."""
    away = local.replicas[2]
    local.start(0, 1)
    local.write(0, b"1")
    local.grow(LARGER)
    last = LARGER // CHUNK - 1
    local.write(last, b"z")
    bits = bitmap.unite(bitmap.read_bits(each.disk, LARGER, CHUNK) for each in local.replicas[:2])
    assert bits[-1][1] == last
    md.stop(local.tree, local.name)
    md.assemble(local.tree, replace(local.spec(0, 1, bits=bits), component_size_bytes=LARGER))
    md.activate(local.tree, local.name, time_base_seconds=1)
    local.rejoin(away, use_bitmap=True)
    assert local.read(away, last) == b"z"


class KilledError(Exception):
    """By `kill -9`."""


class Dying(Tree):
    """Whoever is about to mark what has grown dies."""

    def write(self, name: str, value: str | int, *, secret: bool = False) -> None:
        if name.endswith("/bitmap_set_bits"):
            raise KilledError
        super().write(name, value, secret=secret)


def test_nothing_is_written_to_what_is_new_before_that_is_marked(local: Stand) -> None:
    """Also when the agent dies in between: the next one marks it, and lets writes go on."""
    local.start()
    local.write(0, b"1")
    local.enlarge_all(LARGER)
    with pytest.raises(KilledError):
        md.grow(Dying(), local.name, LARGER, local.write_in_time)
    assert local.state().component_size_bytes == LARGER
    last = LARGER // CHUNK - 1
    early = Write(local.device, last * CHUNK, b"e")
    CLOCK.sleep(1)
    assert not early.acknowledged
    assert early.error is None
    assert [get_last_marked(each) < last for each in local.replicas] == [True] * 3
    assert md.are_writes_kept(local.tree, local.name)
    md.let_writes_go_on(local.tree, local.name, local.write_in_time)
    assert [get_last_marked(each) for each in local.replicas] == [last] * 3
    wait(lambda: early.acknowledged or local.acknowledge(), "the write to what is new")
    md.grow(local.tree, local.name, LARGER, local.write_in_time)
    local.settle()
    assert [local.read(each, last) for each in local.replicas] == [b"e"] * 3


def get_last_marked(replica: Replica) -> int:
    """-1: none is."""
    return max((last for _, last in bitmap.read_bits(replica.disk, LARGER, CHUNK)), default=-1)


def test_nobody_waits_for_ever_for_what_a_member_keeps(local: Stand) -> None:
    """Neither size nor slots change. Reads go on, also one that came meanwhile; writes when it is back."""
    local.start()
    local.write(0, b"1")
    local.enlarge_all(LARGER)
    silent = local.replicas[2]
    md_members.set_write_mostly(local.tree, local.name, silent.member, on=True)
    local.err(silent)
    kept = Write(local.device, CHUNK, b"2")
    wait(lambda: not local.holds.read(silent.hold).path_active, "the member to keep the write")
    reading = Timer(1, read_direct, (local.device, 0, 4096))
    reading.start()
    with pytest.raises(TimedOut):
        md.grow(local.tree, local.name, LARGER, local.write_in_time)
    assert md_members.release_pending(local.tree, local.name, frozenset()) == ()
    reading.join(20)
    assert not reading.is_alive()
    with pytest.raises(TimedOut):
        md.set_slots(local.tree, local.name, 4, local.write_in_time)
    assert not kept.acknowledged
    state = local.state()
    assert (state.component_size_bytes, state.raid_disks, state.sync_action) == (DATA, 3, "idle")
    assert not md.are_writes_kept(local.tree, local.name)
    local.heal(silent)
    local.holds.reinstate(silent.hold, local.holds.read(silent.hold).path)
    wait(lambda: kept.acknowledged or local.acknowledge(), "the write that was kept")
    md.grow(local.tree, local.name, LARGER, local.write_in_time)
    local.settle()
    local.write(LARGER // CHUNK - 1, b"3")


def test_growing_waits_for_writes_that_failed_and_are_not_told_yet(local: Stand) -> None:
    """In the new bitmap they would be counted down from zero: the next writes there would wait for ever."""
    local.start()
    local.write(0, b"1")
    lost = local.replicas[2]
    local.enlarge_all(LARGER)
    local.holds.release(lost.hold)
    local.err(lost)
    writes = [Write(local.device, chunk * CHUNK, b"2") for chunk in range(8)]
    wait(lambda: has_failed(local, lost), "md to fail the member")
    growing = Thread(target=md.grow, args=(local.tree, local.name, LARGER, local.write_in_time), daemon=True)
    growing.start()
    CLOCK.sleep(2)
    assert count(writes) < len(writes), "what failed first is told later"
    assert growing.is_alive()
    assert md_members.release_pending(local.tree, local.name, frozenset({lost.member})) == ()
    growing.join(20)
    assert not growing.is_alive()
    wait(lambda: count(writes) == len(writes), "the writes that failed on one member")
    for chunk in range(len(writes)):
        local.write(chunk, b"3")
    local.write(LARGER // CHUNK - 1, b"4")


def has_failed(stand: Stand, replica: Replica) -> bool:
    member = stand.state().find_member(replica.member)
    return member is not None and member.faulty


def test_a_size_past_the_end_of_a_device_is_refused(local: Stand) -> None:
    spec = local.spec()
    broken = md.ArraySpec(spec.name, 3, 1 << 40, CHUNK, spec.members, resync=False)
    with pytest.raises(FailedPrecondition, match="too few for 1099511627776 bytes of data"):
        md.assemble(local.tree, broken)
    assert md_state.find_array(local.tree, local.name) is None
    local.start()
    with pytest.raises(FailedPrecondition, match="too few"):
        md.grow(local.tree, local.name, 1 << 40, local.write_in_time)
