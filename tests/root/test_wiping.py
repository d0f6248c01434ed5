"""Old bytes on a real disk: of a replica that was deleted, of an earlier agent's, of a wipe cut short."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path

import pytest

from replication.agent.machine import Machine
from replication.agent.replicas import Replicas
from replication.agent.storage import Storage
from replication.agent.wiping import Wiper, Wiping
from replication.kernel import blockdev
from replication.kernel.direct import read_direct, write_direct
from replication.kernel.dm import DeviceMapper
from replication.kernel.lvm import Lvm
from replication.kernel.nvmet import Nvmet
from replication.kernel.run import run
from replication.kernel.sysfs import Tree
from replication.kernel.wholes import Wholes
from replication.layout import DATA_OFFSET_BYTES, HEADER_AREA_BYTES
from replication.model import MIB, PrepareSpec, ReplicaSpec, VolumeGroup
from tests.root.conftest import TAGS
from tests.root.stand import CLOCK, wait
from tests.unit.agent.fake_machine import fake_machine

pytestmark = pytest.mark.root
GROUP = "test2"
OLD, NEW = "v00000000000000aa", "v00000000000000bb"
OLD_BYTES, PIECE = b"old!" * (MIB // 4), 4 * MIB
SIZE, ROOM = 100 * MIB, 300 * MIB


class OneDisk(Storage):
    """The other tests' groups are left alone."""

    def __init__(self, tree: Tree, disk: str) -> None:
        self._disk = disk
        super().__init__(tree, run, CLOCK, Wholes(DeviceMapper(), tree))

    def _candidates(self) -> tuple[str, ...]:
        return (self._disk,)


@pytest.fixture
def machine(tree: Tree) -> Machine:
    made = fake_machine(tree)
    return replace(made, runner=run, target=Nvmet(tree, made.blocking))


@pytest.fixture(scope="module")
def narrow(lvm: Lvm) -> Iterator[Lvm]:
    """The group has little room, which is quickly looked through."""
    lvm.ensure_logical_volume(GROUP, "rest", lvm.get_volume_group(GROUP).free_bytes - ROOM, TAGS)
    yield lvm
    lvm.remove_logical_volume(GROUP, "rest")
    lvm._lvm("vgchange", "--deltag", "trilith.wiped", GROUP)


@pytest.fixture
def storage(tree: Tree, narrow: Lvm) -> OneDisk:
    (disk,) = narrow.get_volume_group(GROUP).disks
    return OneDisk(tree, disk)


@pytest.fixture
def wiping(machine: Machine, storage: Storage) -> Iterator[Wiping]:
    """Stopped when all is wiped, for the tests that come after."""
    made = Wiping(machine, storage)
    yield made
    made.follow()
    wait_until_wiped(storage)
    made.stop()


@pytest.fixture
def replicas(machine: Machine, storage: Storage, wiping: Wiping) -> Replicas:
    return Replicas(machine, storage, wiping)


def group_of(storage: Storage) -> VolumeGroup:
    (group,) = storage.list_volume_groups()
    return group


def make(replicas: Replicas, volume_id: str, size_bytes: int) -> str:
    """Its device."""
    replicas.ensure(ReplicaSpec(volume_id, "r0", GROUP, size_bytes, 65536))
    return replicas._storage.get_place(volume_id, "r0").device


def write_old(tree: Tree, device: str, begin: int) -> None:
    for offset in range(begin, blockdev.size_bytes(tree, blockdev.kernel_name(tree, device)), MIB):
        write_direct(device, offset, OLD_BYTES)


def use(tree: Tree, replicas: Replicas, volume_id: str, size_bytes: int) -> None:
    """A replica full of a user's bytes."""
    device = make(replicas, volume_id, size_bytes)
    replicas.prepare(PrepareSpec(volume_id, "r0", 1, 1, None))
    write_old(tree, device, DATA_OFFSET_BYTES)


def count_old_bytes(tree: Tree, device: str) -> int:
    """Those behind the header that are not 0."""
    size = blockdev.size_bytes(tree, blockdev.kernel_name(tree, device))
    pieces = (read_direct(device, offset, PIECE) for offset in range(0, size, PIECE))
    first = next(pieces)[HEADER_AREA_BYTES:]
    return sum(len(piece) - piece.count(0) for piece in chain((first,), pieces))


def wait_until_wiped(storage: Storage) -> None:
    wait(lambda: group_of(storage).reserved_bytes == 0, "everything is wiped", timeout=100)


def all_of(storage: Storage) -> int:
    """Bytes of data of a replica that takes all that is or will be free."""
    group = group_of(storage)
    return group.free_bytes + group.reserved_bytes - DATA_OFFSET_BYTES


@pytest.fixture
def earlier_agent(tree: Tree, narrow: Lvm) -> None:
    """It freed what it had not wiped, and knew nothing of the tag."""
    left = narrow.ensure_logical_volume(GROUP, f"{OLD}_r0", SIZE, TAGS)
    write_old(tree, blockdev.device_path(tree, left.number), 0)
    narrow.remove_logical_volume(GROUP, left.name)
    narrow._lvm("vgchange", "--deltag", "trilith.wiped", GROUP)


@pytest.mark.usefixtures("earlier_agent")
def test_what_an_earlier_agent_left_is_wiped_before_it_is_used(
    tree: Tree, storage: Storage, wiping: Wiping, replicas: Replicas
) -> None:
    wiping.follow()
    device = make(replicas, NEW, all_of(storage))
    assert count_old_bytes(tree, device) == 0
    replicas.remove(NEW, "r0")
    assert group_of(storage).reserved_bytes == 0


def test_not_one_old_byte_is_in_a_replica_made_right_after_one_was_deleted(
    tree: Tree, storage: Storage, wiping: Wiping, replicas: Replicas
) -> None:
    wiping.follow()
    use(tree, replicas, OLD, SIZE)
    deleted = timed(lambda: replicas.remove(OLD, "r0"))
    assert group_of(storage).reserved_bytes >= SIZE
    begun = CLOCK.now()
    device = make(replicas, NEW, all_of(storage))
    waited = CLOCK.now() - begun
    print(f"deleted in {deleted:.2f} s; the next one, made of what was wiped for it, in {waited:.2f} s")
    assert count_old_bytes(tree, device) == 0
    replicas.remove(NEW, "r0")


def test_a_wipe_that_is_cut_short_is_taken_up_by_the_next_agent(
    tree: Tree, machine: Machine, storage: OneDisk, replicas: Replicas
) -> None:
    """One piece is free, the next is zeroed and not cut off yet; the new agent finds a reboot's state."""
    use(tree, replicas, OLD, SIZE)
    replicas.remove(OLD, "r0")
    interrupted = Wiper(machine, storage, group_of(storage))
    interrupted.want(object(), group_of(storage).free_bytes + MIB)
    while group_of(storage).reserved_bytes > SIZE:
        interrupted.step()
    interrupted.step()
    for dirty in storage.list_dirty(GROUP):
        storage._lvm._lvm("lvchange", "-an", f"{GROUP}/{dirty.name}")
    later = OneDisk(tree, group_of(storage).disk)
    assert group_of(later) == group_of(storage)
    assert group_of(later).reserved_bytes
    next_wiping = Wiping(machine, later)
    next_wiping.follow()
    device = make(Replicas(machine, later, next_wiping), NEW, all_of(later))
    assert count_old_bytes(tree, device) == 0
    Replicas(machine, later, next_wiping).remove(NEW, "r0")
    next_wiping.stop()
    storage._read((group_of(storage).disk,))


@pytest.fixture
def huge(tmp_path: Path) -> Iterator[str]:
    """A disk of 2 TiB in a file without content, so that all of it is wiped."""
    run(("modprobe", "loop"), timeout=20)
    with (tmp_path / "disk").open("wb") as file:
        file.truncate(2 << 40)
    disk = run(("losetup", "--find", "--show", str(tmp_path / "disk")), timeout=20).strip()
    lvm = Lvm(run, (disk,))
    lvm.ensure_volume_group("huge", disk, TAGS | {"trilith.wiped"})
    yield disk
    for left in lvm.list_logical_volumes():
        lvm.remove_logical_volume("huge", left.name)
    lvm.remove_volume_group("huge")
    run(("losetup", "--detach", disk), timeout=20)


def timed(act: Callable[[], object]) -> float:
    begun = CLOCK.now()
    act()
    return CLOCK.now() - begun


def test_a_replica_of_a_tebibyte_comes_and_goes_as_quickly_as_a_small_one(
    tree: Tree, machine: Machine, huge: str
) -> None:
    storage = OneDisk(tree, huge)
    replicas = Replicas(machine, storage, Wiping(machine, storage))
    made, gone = {}, {}
    for number, size in enumerate((256 * MIB, 1 << 40)):
        spec = ReplicaSpec(f"v{number}", "r0", "huge", size, 1 << 26)
        made[size] = timed(partial(replicas.ensure, spec))
        replicas.prepare(PrepareSpec(spec.volume_id, "r0", 1, 1, None))
        gone[size] = timed(partial(replicas.remove, spec.volume_id, "r0"))
    small, large = made
    print(f"made in {made[small]:.2f} s and, of 1 TiB, {made[large]:.2f} s")
    print(f"deleted in {gone[small]:.2f} s and, of 1 TiB, {gone[large]:.2f} s")
    assert made[large] < 2 * made[small] + 1
    assert gone[large] < 2 * gone[small] + 1
    assert group_of(storage).reserved_bytes > large


def test_who_uses_a_disk_that_is_being_wiped_waits_for_a_piece_at_most(
    tree: Tree, lvm: Lvm, storage: Storage, wiping: Wiping, replicas: Replicas
) -> None:
    wiping.follow()
    use(tree, replicas, OLD, 2 * SIZE)
    wait_until_wiped(storage)
    used = blockdev.device_path(tree, lvm.ensure_logical_volume(GROUP, "used", 16 * MIB, TAGS).number)
    quiet = measure_writes(used)
    replicas.remove(OLD, "r0")
    wiped = measure_writes(used)
    lvm.remove_logical_volume(GROUP, "used")
    wait_until_wiped(storage)
    storage._read((group_of(storage).disk,))
    print(
        f"mean and longest write: {quiet[0]:.4f} and {quiet[1]:.3f} s, while it is wiped "
        f"{wiped[0]:.4f} and {wiped[1]:.3f} s"
    )
    assert wiped[1] < quiet[1] + 1


def measure_writes(device: str) -> tuple[float, float]:
    """Mean and longest, of 4 KiB each with its flush, in some seconds."""
    took, until = [], CLOCK.now() + 6
    while CLOCK.now() < until:
        took.append(timed(lambda: write_direct(device, 0, bytes(4096))))
    return sum(took) / len(took), max(took)
