"""What is changed on a running array, as md's attributes show it."""

import pytest

from replication.agent.assembled import Assembled
from replication.agent.machine import Machine
from replication.agent.members import Members
from replication.agent.tuning import UNBOUNDED, scrub, tune
from replication.errors import FailedPrecondition
from replication.kernel import md
from replication.kernel.md import ArraySpec, MemberSpec
from replication.tuning import Tuning
from tests.unit.agent.fake_machine import fake_machine, no_local
from tests.unit.kernel.fake_md import FakeMd

MIB = 1 << 20


def assemble(tree: FakeMd, *, resync: bool = False) -> Assembled:
    members = tuple(MemberSpec(f"253:{minor}", minor) for minor in range(3))
    md.assemble(tree, ArraySpec("v1", 3, 32 * MIB, 65536, members, resync=resync))
    md.activate(tree, "v1")
    return Assembled("v1", 1, {})


def at(tree: FakeMd) -> tuple[Machine, Members]:
    machine = fake_machine(tree)
    return machine, Members(machine, no_local)


def read(tree: FakeMd, attribute: str) -> str:
    return tree.read(f"/sys/block/md_v1/md/{attribute}")


def test_room_is_made_and_taken_away_when_nobody_needs_it(tree: FakeMd) -> None:
    array = assemble(tree)
    for slots, there in ((4, "4"), (3, "3"), (2, "3")):
        tune(*at(tree), array, Tuning(slots))
        assert read(tree, "raid_disks") == there
    assert array.tuning == Tuning(2)


def test_a_copy_is_bounded_or_not(tree: FakeMd) -> None:
    array = assemble(tree)
    for bytes_per_second, kib in ((7 << 20, 7 << 10), (0, UNBOUNDED >> 10)):
        tune(*at(tree), array, Tuning(3, bytes_per_second))
        assert read(tree, "sync_speed_max") == str(kib)


def test_members_are_compared_or_made_equal(tree: FakeMd) -> None:
    array = assemble(tree)
    for repair, word in ((False, "check"), (True, "repair")):
        scrub(tree, array, repair=repair)
        assert read(tree, "sync_action") == word


def test_nothing_is_compared_while_a_resync_is_owed(tree: FakeMd) -> None:
    with pytest.raises(FailedPrecondition, match="owes a resync"):
        scrub(tree, assemble(tree, resync=True), repair=False)
