"""An agent is killed between two steps of an attachment: the next one finds what it left."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from replication.agent.assembled import Arrays
from replication.agent.attachment import Attachments
from replication.agent.members import Members
from replication.agent.node import read_back_arrays
from replication.kernel import bitmap
from replication.kernel.apart import Apart
from replication.kernel.direct import read_direct
from replication.kernel.dm import DeviceMapper
from replication.kernel.hold import HoldLayer
from replication.kernel.md_state import find_array, read_array
from replication.kernel.nvme import NvmeHost
from replication.layout import BITMAP_OFFSET_BYTES, BITMAP_SPACE_BYTES
from replication.model import AttachSpec, Member
from tests.unit.agent.fake_machine import fake_machine
from tests.unit.agent.mortal_kernel import MortalControl, MortalMd

MIB = 1 << 20
VOLUME = "v00000000000000aa"
SIZE, CHUNK, SET = 60 * MIB, 65536, b"\x08"
STEPS = range(38)  # one more than an attachment of two members has


@dataclass
class Stand:
    """r0 and r1 are here, with one bit set; r2 is away."""

    tree: MortalMd
    members: Members
    control: MortalControl
    resync: bool = False

    def start(self) -> Attachments:
        """A new agent."""
        machine = self.members._machine
        self.arrays = Arrays(read_back_arrays(machine, self.members))
        return Attachments(machine, self.arrays, self.members)

    def spec(self, epoch: int) -> AttachSpec:
        members = tuple(Member(f"r{number}", None) for number in range(2))
        return AttachSpec(VOLUME, epoch, 7, SIZE, CHUNK, 3, members, resync=self.resync, readonly=False)

    def kill(self, act: Callable[[], object], steps: int) -> None:
        self.tree.life.cut_short(act, steps)

    def list_bits(self) -> list[bytes]:
        """Of every device that ever was a member."""
        paths = sorted(self.tree.path("/dev").glob("dm-*"))
        return [read_direct(str(path), BITMAP_OFFSET_BYTES, 4096)[:1] for path in paths]

    def check_active(self) -> None:
        state = read_array(self.tree, VOLUME)
        assert (state.writable, len(state.members)) == (True, 2)
        assert self.tree.set_bits[-1] == "3"
        assert len(self.control.devices) == 2


@pytest.fixture(params=[False, True], ids=["clean", "resync"])
def stand(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    tree = MortalMd(tmp_path)
    for minor in range(6):
        for name, major in ((f"dm-{minor}", 253), (f"sd{minor}", 8)):
            tree.add_block_device(name, f"{major}:{minor}", 64 * MIB)
        with tree.path(f"/dev/dm-{minor}").open("wb") as area:
            area.seek(BITMAP_OFFSET_BYTES)
            area.write(SET)
            area.truncate(BITMAP_OFFSET_BYTES + BITMAP_SPACE_BYTES)
    monkeypatch.setattr(bitmap, "read_direct", lambda path, *where: read_direct(str(tree.path(path)), *where))
    control = MortalControl(tree.life)
    holds = HoldLayer(DeviceMapper(control), tree)
    apart = cast("Apart", SimpleNamespace(flush=lambda _: None))
    machine = replace(fake_machine(tree, holds), host=NvmeHost(tree), apart=apart)
    members = Members(machine, lambda _, replica_id, __: f"/dev/sd{replica_id[1:]}")
    yield Stand(tree, members, control, resync=request.param)
    control.close()


@pytest.mark.parametrize("steps", STEPS)
def test_an_attachment_cut_short_is_made_by_the_next_one(stand: Stand, steps: int) -> None:
    attachments = stand.start()
    stand.kill(lambda: attachments.attach(stand.spec(4)), steps)
    stand.start().attach(stand.spec(5))
    stand.check_active()
    assert read_array(stand.tree, VOLUME).sync_action == "idle"
    assert set(stand.list_bits()) == {SET}


@pytest.mark.parametrize("steps", STEPS)
def test_an_attachment_cut_short_leaves_nothing_when_it_is_given_up(stand: Stand, steps: int) -> None:
    """Whoever writes `active` to an array that does not run starts it, or is refused (array_state_store).

    What its members' bitmaps mark is marked still: a replica that is away lacks it.
    """
    attachments = stand.start()
    stand.kill(lambda: attachments.attach(stand.spec(4)), steps)
    stand.start().abandon(VOLUME, 4)
    assert find_array(stand.tree, VOLUME) is None
    assert stand.control.devices == {}
    assert set(stand.list_bits()) == {SET}


@pytest.mark.parametrize("steps", STEPS)
def test_an_attachment_cut_short_is_whole_when_it_is_repeated(stand: Stand, steps: int) -> None:
    attachments = stand.start()
    stand.kill(lambda: attachments.attach(stand.spec(4)), steps)
    stand.start().attach(stand.spec(4))
    stand.check_active()


@pytest.mark.parametrize("steps", range(12))
@pytest.mark.parametrize("end", [Attachments.abandon, Attachments.detach])
def test_an_attachment_whose_end_is_cut_short_ends_with_a_repeat(
    stand: Stand, end: Callable[[Attachments, str, int], None], steps: int
) -> None:
    attachments = stand.start()
    attachments.attach(stand.spec(4))
    stand.kill(lambda: end(attachments, VOLUME, 4), steps)
    end(stand.start(), VOLUME, 4)
    assert find_array(stand.tree, VOLUME) is None
    assert stand.control.devices == {}
    assert set(stand.list_bits()) == {SET}
