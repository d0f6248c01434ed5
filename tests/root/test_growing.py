"""Arrays that grow, on a real kernel."""

from dataclasses import replace
from threading import Thread

import pytest

from replication.errors import FailedPrecondition
from replication.kernel import bitmap, md, md_members, md_state
from tests.root.stand import CHUNK, CLOCK, DATA, Replica, Stand, Write, count, wait

pytestmark = pytest.mark.root
LARGER = DATA + (32 << 20)


def test_growing_keeps_the_chunk_and_what_is_there(local: Stand) -> None:
    local.start()
    local.write(0, b"1")
    local.grow(LARGER)
    md.grow(local.tree, local.name, LARGER)
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
    growing = Thread(target=md.grow, args=(local.tree, local.name, LARGER), daemon=True)
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
        md.grow(local.tree, local.name, 1 << 40)
