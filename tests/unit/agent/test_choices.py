from dataclasses import replace

import pytest

from replication.agent.assembled import Assembled
from replication.agent.attachment import check_owner, choose_members, list_marked
from replication.agent.members import Joint, Remote, parse_remote
from replication.agent.rejoin import choose_slot
from replication.errors import FailedPrecondition, StaleEpoch
from replication.kernel.md_state import ArrayState, MemberState
from replication.kernel.nvme import Controller
from replication.model import AttachSpec, Consumer, PrepareSpec

CHUNK = 65536
REMOTE = Remote("nqn", "nvme1", "10.0.0.2", 4420)


def joint(replica_id: str, remote: Remote | None) -> Joint:
    return Joint(replica_id, f"hold-{replica_id}", kname=f"dm-{replica_id}", below="", remote=remote)


def test_remote_members_are_write_mostly_so_that_reads_stay_local() -> None:
    members = choose_members([joint("r0", None), joint("r1", REMOTE)], resync=False)
    assert [(m.device, m.slot, m.write_mostly) for m in members] == [
        ("/dev/dm-r0", 0, False),
        ("/dev/dm-r1", 1, True),
    ]


def test_the_source_of_a_resync_is_read_from_even_when_it_is_remote() -> None:
    members = choose_members([joint("r1", REMOTE), joint("r0", None), joint("r2", REMOTE)], resync=True)
    assert [(m.slot, m.write_mostly) for m in members] == [(0, False), (1, False), (2, True)]


def test_what_is_new_counts_as_marked_whatever_the_bitmaps_say() -> None:
    spec = AttachSpec("v1", 2, 7, 9 * CHUNK - 1, CHUNK, 3, (), resync=False)
    assert list_marked(spec) == ()
    assert list_marked(replace(spec, marked_from=4 * CHUNK)) == ((4, 8),)


@pytest.mark.parametrize(("epoch", "consumer"), [(3, Consumer("host")), (2, None)])
def test_a_replica_is_for_this_nodes_own_array_or_for_one_of_another_epoch(
    epoch: int, consumer: Consumer | None
) -> None:
    there = Assembled("v1", 2, {})
    check_owner(there, PrepareSpec("v1", "r0", epoch, 9, consumer))
    check_owner(None, PrepareSpec("v1", "r0", 2, 9, Consumer("host")))
    with pytest.raises(StaleEpoch, match="attached here in epoch 2, and nowhere else"):
        check_owner(there, PrepareSpec("v1", "r0", 2, 9, Consumer("host")))


def array(*slots: int | None) -> ArrayState:
    members = tuple(MemberState(f"dm-{n}", frozenset(), slot, 0, 0) for n, slot in enumerate(slots))
    return ArrayState("v1", "active", 3, 0, "idle", None, 0, None, 0, 0, 0, members)


@pytest.mark.parametrize(("slots", "free"), [((0, 1), 2), ((0, 2), 1), ((1, 2, None), 0)])
def test_a_returning_member_gets_the_slot_that_nobody_has(slots: tuple[int | None, ...], free: int) -> None:
    assert choose_slot(array(*slots)) == free


def test_a_complete_array_has_no_slot_to_give() -> None:
    with pytest.raises(FailedPrecondition, match="all of its 3"):
        choose_slot(array(0, 1, 2))


def test_a_connection_is_read_back_from_sysfs() -> None:
    address = "traddr=10.0.0.2,trsvcid=4420,src_addr=10.0.0.1"
    assert parse_remote(Controller("nvme1", "nqn", "live", address, "host")) == REMOTE
