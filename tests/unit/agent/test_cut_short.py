"""An agent is killed between two steps of bringing a member back: the next one finds what it left."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from replication.agent.assembled import Arrays, Assembled
from replication.agent.members import Members
from replication.agent.names import HoldName
from replication.agent.node import read_back_arrays
from replication.agent.rejoin import rejoin
from replication.agent.release import clear_away
from replication.agent.reports import Reports
from replication.errors import FailedPrecondition
from replication.kernel import bitmap, md
from replication.kernel.direct import read_direct
from replication.kernel.dm import DeviceMapper
from replication.kernel.hold import HoldLayer
from replication.kernel.md import ArraySpec, MemberSpec
from replication.kernel.md_state import read_array
from replication.kernel.nvme import NvmeHost
from replication.layout import BITMAP_OFFSET_BYTES, BITMAP_SPACE_BYTES
from replication.model import CopyMode, Member, MemberHealth, RejoinSpec
from tests.unit.agent.fake_machine import fake_machine
from tests.unit.agent.mortal_kernel import MortalControl, MortalMd
from tests.unit.agent.test_rejoining import Looking

MIB = 1 << 20
VOLUME = "v00000000000000aa"
SIZE, CHUNK = 60 * MIB, 65536
LAYER = 4  # changes that make its hold layer; before them there is nothing to drop
STEPS = range(17)  # one more than it has


@dataclass
class Stand:
    """An array of r0 and r1 with one bit set; r2 is here, too, and was away."""

    tree: MortalMd
    members: Members
    version: int = 6

    def bring_back(self, array: Assembled) -> None:
        self.version += 1
        spec = RejoinSpec(VOLUME, 4, self.version, Member("r2", None), CopyMode.BITMAP)
        with array.lock:
            rejoin(self.members._machine, self.members, array, spec)

    def start(self) -> Assembled:
        """A new agent."""
        (array,) = read_back_arrays(self.members._machine, self.members)
        return array

    def health(self, array: Assembled) -> MemberHealth | None:
        watcher = Looking(self.members._machine, Arrays([array]), Reports())
        watcher._members = self.members
        return {m.replica_id: m.health for m in watcher.look(array).members}.get("r2")

    def is_copied(self) -> bool:
        return self.tree.read(f"/sys/block/md_{VOLUME}/md/sync_action") == "recover"


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    tree = MortalMd(tmp_path)
    for minor in range(6):
        for name, major in ((f"dm-{minor}", 253), (f"sd{minor}", 8)):
            tree.add_block_device(name, f"{major}:{minor}", 64 * MIB)
            area = bytes(BITMAP_OFFSET_BYTES) + b"\x08".ljust(BITMAP_SPACE_BYTES, b"\0")
            tree.path(f"/dev/{name}").write_bytes(area)
    monkeypatch.setattr(bitmap, "read_direct", lambda path, *where: read_direct(str(tree.path(path)), *where))
    control = MortalControl(tree.life)
    holds = HoldLayer(DeviceMapper(control), tree)
    for number in range(2):
        holds.ensure(str(HoldName(VOLUME, f"r{number}", 4)), f"8:{number}", 64 * MIB)
    specs = tuple(MemberSpec(f"253:{slot}", slot) for slot in range(2))
    md.assemble(tree, ArraySpec(VOLUME, 3, SIZE, CHUNK, specs, resync=False))
    md.activate(tree, VOLUME)
    machine = replace(fake_machine(tree, holds), host=NvmeHost(tree))
    yield Stand(tree, Members(machine, lambda _, replica_id, __: f"/dev/sd{replica_id[1:]}"))
    control.close()


def kill(stand: Stand, steps: int) -> None:
    """While it brings r2 back, unless it is done by then."""
    array = stand.start()
    stand.tree.life.cut_short(lambda: stand.bring_back(array), steps)


def find_rest(steps: int) -> MemberHealth | None:
    """What the next agent says of it."""
    return MemberHealth.DROPPED if steps >= LAYER else None


def scrub(stand: Stand) -> None:
    """What ends a freeze, as an expansion does."""
    md.start_check(stand.tree, VOLUME)


@pytest.mark.parametrize("steps", STEPS)
def test_nobody_counts_what_was_only_about_to_be_copied(stand: Stand, steps: int) -> None:
    """md calls a member in sync before it has its slot."""
    kill(stand, steps)
    array, copied = stand.start(), stand.is_copied()
    if not copied:
        scrub(stand)
    assert stand.health(array) is (MemberHealth.RECOVERING if copied else find_rest(steps))
    assert copied == (steps == STEPS[-1])


@pytest.mark.parametrize("steps", STEPS)
def test_what_was_cut_short_is_known_for_that_and_begun_again(stand: Stand, steps: int) -> None:
    kill(stand, steps)
    if stand.is_copied():
        return
    array = stand.start()
    assert stand.health(array) is find_rest(steps)
    with suppress(FailedPrecondition):  # set bits were taken for a resync owed, which comes first
        stand.bring_back(array)
    if not stand.is_copied():
        assert read_array(stand.tree, VOLUME).sync_action == "idle"
        stand.tree.put(f"/sys/block/md_{VOLUME}/md/resync_start", "none")
        stand.bring_back(array)
    assert stand.is_copied()
    assert stand.health(array) is MemberHealth.RECOVERING


def test_what_lost_its_slot_with_an_error_waits_for_the_record(stand: Stand) -> None:
    stand.bring_back(stand.start())
    base = f"/sys/block/md_{VOLUME}/md"
    stand.tree.write(f"{base}/dev-dm-2/state", "faulty")
    stand.tree.put(f"{base}/dev-dm-2/slot", "none")
    array = stand.start()
    assert stand.health(array) is MemberHealth.LOST
    clear_away(stand.members._machine, stand.members, array)
    assert stand.health(array) is MemberHealth.LOST
