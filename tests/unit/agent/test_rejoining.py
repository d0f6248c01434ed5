"""A member comes back into a running array: never while a resync is owed, and with its own bits."""

from pathlib import Path

import pytest

from replication.agent.assembled import Assembled
from replication.agent.members import Joint, Members
from replication.agent.names import HoldName
from replication.agent.rejoin import rejoin
from replication.errors import FailedPrecondition
from replication.kernel import bitmap, md
from replication.kernel.direct import read_direct
from replication.kernel.md import ArraySpec, MemberSpec
from replication.layout import BITMAP_OFFSET_BYTES, BITMAP_SPACE_BYTES
from replication.model import CopyMode, Member, RejoinSpec
from tests.unit.agent.fake_machine import fake_machine
from tests.unit.kernel.fake_md import FakeMd

MIB = 1 << 20
VOLUME = "v1"
CHUNK = 65536


class Returning(Members):
    """The only member that can be joined is dm-2."""

    def __init__(self) -> None:
        pass

    def join(self, name: HoldName, member: Member, *, joined: bool) -> Joint:
        return Joint(member.replica_id, str(name), "dm-2", "", None, joined=joined)

    def remove(self, hold: str, nqn: str) -> None:
        pass


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeMd:
    """Devices lie in the tree; the one function that opens them by their absolute path looks there too."""
    fake = FakeMd(tmp_path)
    for minor in range(3):
        fake.add_block_device(f"dm-{minor}", f"253:{minor}", 64 * MIB)
        mark(fake, minor, b"")
    monkeypatch.setattr(bitmap, "read_direct", lambda path, *where: read_direct(str(fake.path(path)), *where))
    return fake


def mark(tree: FakeMd, minor: int, bits: bytes) -> None:
    area = bytes(BITMAP_OFFSET_BYTES) + bits.ljust(BITMAP_SPACE_BYTES, b"\0")
    tree.path(f"/dev/dm-{minor}").write_bytes(area)


def assemble(tree: FakeMd, *, resync: bool = False) -> Assembled:
    members = (MemberSpec("253:0", 0), MemberSpec("253:1", 1))
    md.assemble(tree, ArraySpec(VOLUME, 3, 60 * MIB, CHUNK, members, resync=resync))
    md.activate(tree, VOLUME)
    joints = {f"r{number}": Joint(f"r{number}", "", f"dm-{number}", "", None) for number in range(2)}
    return Assembled(VOLUME, 1, joints)


def bring_back(tree: FakeMd, array: Assembled, copy: CopyMode, *, resumable: bool = False) -> None:
    spec = RejoinSpec(VOLUME, 1, 7, Member("r2", None), copy, resumable)
    rejoin(fake_machine(tree), Returning(), array, spec)


def test_its_own_bits_are_added_to_the_arrays(tree: FakeMd) -> None:
    """A write of a consumer that was fenced may have reached it alone, and marked nobody else's bitmap."""
    array = assemble(tree)
    mark(tree, 0, b"\x01")
    mark(tree, 2, b"\x08")
    bring_back(tree, array, CopyMode.BITMAP)
    assert tree.set_bits == ["3"]
    assert array.recovery_bytes == 2 * CHUNK
    assert tree.read("/sys/block/md_v1/md/sync_action") == "recover"
    assert array.members["r2"].joined


def test_a_full_copy_asks_no_bitmap(tree: FakeMd) -> None:
    array = assemble(tree)
    mark(tree, 2, b"\x08")
    bring_back(tree, array, CopyMode.FULL)
    assert tree.set_bits == []
    assert array.recovery_bytes == 60 * MIB


def test_a_full_copy_that_is_to_be_resumed_marks_everything_first(tree: FakeMd) -> None:
    bring_back(tree, assemble(tree), CopyMode.FULL, resumable=True)
    assert tree.set_bits == [f"0-{60 * MIB // CHUNK - 1}"]
    states = [value for name, value in tree.written if name.endswith("dev-dm-2/state")]
    assert "insync" in states


def test_nobody_returns_while_a_resync_is_owed(tree: FakeMd) -> None:
    array = assemble(tree, resync=True)
    with pytest.raises(FailedPrecondition, match="owes a resync"):
        bring_back(tree, array, CopyMode.BITMAP)
    assert "r2" not in array.members
