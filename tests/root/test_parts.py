"""Replicas that lie on several disks, on a real kernel; and what becomes of them when one is missing."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from replication.agent import headers
from replication.agent.machine import Machine
from replication.agent.replicas import Replicas
from replication.agent.storage import Place, Storage
from replication.agent.wiping import Wiping
from replication.errors import DataLoss, FailedPrecondition, KernelError, NotFound
from replication.kernel import blockdev, header
from replication.kernel.direct import read_direct, write_direct, zero_range
from replication.kernel.dm import DeviceMapper
from replication.kernel.dm_wire import Target
from replication.kernel.lvm import Lvm
from replication.kernel.nvmet import Nvmet
from replication.kernel.run import run
from replication.kernel.sysfs import Tree
from replication.kernel.wholes import Wholes
from replication.layout import DATA_OFFSET_BYTES, PART_AREA_BYTES, STRIPE_BYTES
from replication.model import MIB, Consumer, PrepareSpec, ReplicaSpec
from tests.root.conftest import TAGS
from tests.root.stand import CLOCK, wait
from tests.unit.agent.fake_machine import fake_machine

pytestmark = pytest.mark.root
GROUPS = ("test0", "test1", "test2")
VOLUME, REPLICA = "v00000000000000cc", "r0"
ROOM, SIZE = 64 * MIB, 80 * MIB
STEP = 4 * MIB


class SomeDisks(Storage):
    """Of those given; the others are not there."""

    def __init__(self, tree: Tree, mapper: DeviceMapper, disks: tuple[str, ...]) -> None:
        self.disks = disks
        super().__init__(tree, run, CLOCK, Wholes(mapper, tree))

    def _candidates(self) -> tuple[str, ...]:
        return self.disks


@dataclass
class Agent:
    """What one agent knows, from its disks alone."""

    machine: Machine
    storage: SomeDisks
    replicas: Replicas
    wiping: Wiping

    @property
    def place(self) -> Place:
        return self.storage.get_place(VOLUME, REPLICA)

    def wipe(self) -> None:
        self.wiping.follow()
        wait(lambda: not self.count_reserved(), "everything is wiped", timeout=600)

    def count_reserved(self) -> int:
        return sum(group.reserved_bytes for group in self.storage.list_volume_groups())

    def list_rooms(self) -> list[int]:
        return [group.free_bytes for group in self.storage.list_volume_groups()]


@pytest.fixture(scope="module")
def mapper(tree: Tree) -> DeviceMapper:
    assert tree.exists("/dev/mapper/control")
    return DeviceMapper()


@pytest.fixture(scope="module")
def narrow(tree: Tree, lvm: Lvm) -> Iterator[tuple[str, ...]]:
    """Disks of which each has ROOM left, of zeroes."""
    for group in GROUPS:
        rest = lvm.get_volume_group(group).free_bytes - ROOM
        lvm.ensure_logical_volume(group, "rest", rest, TAGS)
        free = lvm.ensure_logical_volume(group, "free", ROOM, TAGS)
        zero_range(blockdev.device_path(tree, free.number), 0, ROOM)
        lvm.remove_logical_volume(group, "free")
        lvm.add_tag(group, "trilith.wiped")
    yield tuple(lvm.get_volume_group(group).disks[0] for group in GROUPS)
    for group in GROUPS:
        lvm.remove_logical_volume(group, "rest")
        lvm._lvm("vgchange", "--deltag", "trilith.wiped", group)


Starter = Callable[..., Agent]


@pytest.fixture
def start(tree: Tree, mapper: DeviceMapper, narrow: tuple[str, ...]) -> Iterator[Starter]:
    """A new agent; in the end the disks are as they were."""
    target = Nvmet(tree, is_open=mapper.is_open)
    started = []

    def start_one(disks: tuple[str, ...] = narrow) -> Agent:
        fake = replace(fake_machine(tree), boot_id="b007b007", data_address="127.0.0.1")
        machine = replace(fake, runner=run, target=target)
        storage = SomeDisks(tree, mapper, disks)
        wiping = Wiping(machine, storage)
        started.append(Agent(machine, storage, Replicas(machine, storage, wiping), wiping))
        started[-1].replicas.take_up_discarded()
        return started[-1]

    yield start_one
    last = start_one()
    last.replicas.remove(VOLUME, REPLICA)
    last.wipe()
    for each in started:
        each.wiping.stop()
    assert last.list_rooms() == [ROOM] * 3


def make(agent: Agent, *, striped: bool = False, size_bytes: int = SIZE) -> Place:
    groups = GROUPS if striped else GROUPS[:2]
    spec = ReplicaSpec(VOLUME, REPLICA, groups[0], size_bytes, 65536, groups[1:], striped)
    facts = agent.replicas.ensure(spec)
    assert (facts.volume_group, facts.other_groups) == (groups[0], groups[1:])
    return agent.place


def prepare(agent: Agent, epoch: int = 1, version: int = 5, marked: int = 0) -> None:
    agent.replicas.prepare(PrepareSpec(VOLUME, REPLICA, epoch, version, None, marked))


def fill(agent: Agent) -> None:
    """Each MiB of data says which one it is; whoever is let at a replica has made it ready first."""
    prepare(agent)
    place = agent.place
    for number in range(SIZE // MIB):
        write_direct(place.device, DATA_OFFSET_BYTES + number * MIB, bytes([number + 1]) * MIB)


def read_data(place: Place, size_bytes: int = SIZE) -> list[int]:
    """The byte that each MiB is full of."""
    pieces = [read_direct(place.device, DATA_OFFSET_BYTES + n * MIB, MIB) for n in range(size_bytes // MIB)]
    assert all(piece == piece[:1] * MIB for piece in pieces)
    return [piece[0] for piece in pieces]


FILLED = [number + 1 for number in range(SIZE // MIB)]


def boot(mapper: DeviceMapper, lvm: Lvm) -> None:
    """What the kernel forgets when power goes."""
    mapper.remove(f"trilith_{VOLUME}_{REPLICA}")
    for volume in lvm.list_logical_volumes():
        if volume.name.startswith("v"):
            lvm._lvm("lvchange", "-an", f"{volume.group}/{volume.name}")


both = pytest.mark.parametrize(
    "striped",
    [
        pytest.param(False, id="one after the other"),
        pytest.param(True, id="striped", marks=pytest.mark.more),
    ],
)


def test_one_part_follows_the_other(start: Starter) -> None:
    agent = start()
    place = make(agent)
    assert agent.list_rooms() == [0, ROOM - (SIZE + DATA_OFFSET_BYTES - (ROOM - 4 * MIB)) - 4 * MIB, ROOM]
    fill(agent)
    first, second = (part.device for part in place.parts)
    edge = ROOM - PART_AREA_BYTES - DATA_OFFSET_BYTES
    assert read_direct(first, ROOM - MIB, MIB)[0] == edge // MIB
    assert read_direct(second, PART_AREA_BYTES, MIB)[0] == edge // MIB + 1


def test_stripes_go_round_all_disks(start: Starter) -> None:
    agent = start()
    place = make(agent, striped=True)
    fill(agent)
    begin = DATA_OFFSET_BYTES // STRIPE_BYTES
    for stripe in range(begin, begin + 40):
        number, row = stripe % 3, stripe // 3
        piece = read_direct(place.parts[number].device, PART_AREA_BYTES + row * STRIPE_BYTES, STRIPE_BYTES)
        assert piece == bytes([(stripe - begin) // 4 + 1]) * STRIPE_BYTES


@both
def test_a_boot_costs_nothing(start: Starter, mapper: DeviceMapper, lvm: Lvm, striped: bool) -> None:
    agent = start()
    make(agent, striped=striped)
    fill(agent)
    boot(mapper, lvm)
    later = start()
    assert read_data(later.place) == FILLED
    (facts,) = later.replicas.list_facts()
    assert (facts.epoch, facts.record_version, facts.size_bytes) == (1, 5, SIZE)
    assert later.place == agent.place


@both
def test_an_agent_that_starts_again_finds_it_in_use_and_leaves_it_so(start: Starter, striped: bool) -> None:
    agent = start()
    before = make(agent, striped=striped)
    fill(agent)
    with open(before.device, "rb"):  # noqa: PTH123  as a hold layer would
        assert read_data(start().place) == FILLED


@both
def test_it_grows_in_use(tree: Tree, start: Starter, striped: bool) -> None:
    agent = start()
    place = make(agent, striped=striped)
    fill(agent)
    with open(place.device, "rb"):  # noqa: PTH123
        facts = agent.replicas.resize(VOLUME, REPLICA, SIZE + 24 * MIB)
    assert facts.size_bytes == SIZE + 24 * MIB
    assert read_data(agent.place, SIZE + 24 * MIB) == FILLED + [0] * 24
    assert read_data(start().place, SIZE + 24 * MIB) == FILLED + [0] * 24
    assert blockdev.size_bytes(tree, blockdev.kernel_name(tree, place.device)) >= SIZE + 28 * MIB


@both
def test_a_growth_that_was_cut_short_is_gone_on_with(start: Starter, lvm: Lvm, striped: bool) -> None:
    """LVM had done its work on the last disk, and nothing else was done."""
    agent = start()
    place = make(agent, striped=striped)
    fill(agent)
    group, name = place.keys[-1]
    lvm.extend(group, name, lvm.get_logical_volume(group, name).size_bytes + 8 * MIB)
    later = start()
    assert later.replicas.resize(VOLUME, REPLICA, SIZE + 12 * MIB).size_bytes == SIZE + 12 * MIB
    assert read_data(later.place, SIZE + 12 * MIB) == FILLED + [0] * 12


@both
def test_it_is_wiped_when_it_goes(start: Starter, mapper: DeviceMapper, striped: bool) -> None:
    agent = start()
    make(agent, striped=striped)
    fill(agent)
    agent.replicas.remove(VOLUME, REPLICA)
    assert mapper.find(f"trilith_{VOLUME}_{REPLICA}") is None
    assert agent.count_reserved() > SIZE
    agent.wipe()
    assert agent.list_rooms() == [ROOM] * 3
    assert read_data(make(agent, striped=striped)) == [0] * len(FILLED)


@both
def test_without_one_of_its_disks_it_is_no_replica(
    start: Starter, mapper: DeviceMapper, lvm: Lvm, narrow: tuple[str, ...], striped: bool
) -> None:
    """And a replica again, with all that it had, when the disk is back."""
    agent = start()
    make(agent, striped=striped)
    fill(agent)
    for missing in range(2):
        boot(mapper, lvm)
        lacking = start(tuple(disk for number, disk in enumerate(narrow) if number != missing))
        assert lacking.replicas.list_facts() == ()
        with pytest.raises(NotFound):
            prepare(lacking, epoch=2)
        with pytest.raises(NotFound):
            lacking.replicas.find_device(VOLUME, REPLICA, 2)
        with pytest.raises(NotFound, match="no volume group"):
            make(lacking, striped=striped)
        assert mapper.find(f"trilith_{VOLUME}_{REPLICA}") is None
        assert len(lacking.storage.list_remains()) == (2 if striped else 1)
    boot(mapper, lvm)
    assert read_data(start().place) == FILLED


@both
def test_what_is_left_of_one_that_is_replaced_is_wiped_and_so_is_what_comes_back(
    start: Starter, mapper: DeviceMapper, lvm: Lvm, narrow: tuple[str, ...], striped: bool
) -> None:
    agent = start()
    make(agent, striped=striped)
    fill(agent)
    boot(mapper, lvm)
    lacking = start(narrow[1:])
    lacking.replicas.remove(VOLUME, REPLICA, known_version=5)
    lacking.wipe()
    assert lacking.list_rooms() == [ROOM] * 2
    back = start()
    (left,) = back.storage.list_remains()
    assert (left.volume_group, back.storage.find_place(VOLUME, REPLICA)) == ("test0", None)
    back.replicas.remove(VOLUME, REPLICA)
    back.wipe()
    assert back.list_rooms() == [ROOM] * 3


def test_a_part_that_errs_is_as_bad_as_a_dead_disk(start: Starter, mapper: DeviceMapper) -> None:
    agent = start()
    place = make(agent)
    fill(agent)
    group, name = place.keys[1]
    device = f"{group}-{name}"
    table = mapper.table(device)
    mapper.replace_table(device, (Target(0, table[0].sectors, "error", ""),))
    assert agent.replicas.list_facts() == ()
    with pytest.raises(KernelError):
        prepare(agent)
    mapper.replace_table(device, table)
    assert len(agent.replicas.list_facts()) == 1


def test_parts_that_changed_places_are_not_used(start: Starter, mapper: DeviceMapper, lvm: Lvm) -> None:
    place = make(start())
    boot(mapper, lvm)
    (first, one), (second, two) = place.keys
    lvm._lvm("lvrename", first, one, two)
    lvm._lvm("lvrename", second, two, one)
    swapped = start()
    assert swapped.replicas.list_facts() == ()
    with pytest.raises(DataLoss):
        prepare(swapped)


def test_an_old_copy_of_one_of_its_disks_is_known_for_it(start: Starter) -> None:
    agent = start()
    part = make(agent).parts[1].device
    prepare(agent, epoch=1, version=5)
    old = read_direct(part, 0, STEP)
    prepare(agent, epoch=2, version=7)
    write_direct(part, 0, old)
    (facts,) = start().replicas.list_facts()
    assert (facts.epoch, facts.record_version) == (2, 5)
    with pytest.raises(DataLoss, match="old copy of itself"):
        prepare(agent, epoch=2, version=8, marked=7)


def test_a_making_that_was_cut_short_is_made_anew(start: Starter, lvm: Lvm) -> None:
    lvm.ensure_logical_volume("test0", f"{VOLUME}_{REPLICA}_1of2", ROOM, TAGS)
    agent = start()
    assert agent.replicas.list_facts() == ()
    agent.wiping.follow()
    assert read_data(make(agent)) == [0] * len(FILLED)


@pytest.mark.parametrize("marked", [1, 2, 3], ids=["its header", "and one part", "and the other"])
def test_a_removal_that_was_cut_short_is_gone_on_with(start: Starter, marked: int) -> None:
    agent = start()
    place = make(agent)
    fill(agent)
    for device in (place.device, *(part.device for part in place.parts))[:marked]:
        header.discard_header(device)
    later = start()
    assert later.storage.find_place(VOLUME, REPLICA) is None
    later.wipe()
    assert later.list_rooms() == [ROOM] * 3


def test_a_removal_that_was_cut_short_twice_is_gone_on_with(start: Starter, lvm: Lvm) -> None:
    """First when its header was marked; then, by the next agent, when one of its disks was wiped."""
    agent = start()
    place = make(agent)
    fill(agent)
    header.discard_header(place.device)
    start()
    lvm.remove_logical_volume(*place.keys[0])
    last = start()
    assert last.storage.list_remains() == ()
    last.wipe()
    assert last.list_rooms() == [ROOM] * 3


def test_a_removal_of_which_one_disk_is_wiped_already_is_gone_on_with(start: Starter, lvm: Lvm) -> None:
    agent = start()
    place = make(agent)
    headers.discard(place)
    agent.storage.part(VOLUME, REPLICA)
    lvm.remove_logical_volume(*place.keys[0])
    later = start()
    assert later.storage.list_remains() == ()
    later.wipe()
    assert later.list_rooms() == [ROOM] * 3


def test_it_is_exported_and_fenced_as_any(start: Starter) -> None:
    agent = start()
    make(agent)
    consumer = Consumer("nqn.2026-11.io.trilith:host:test")
    prepared = agent.replicas.prepare(PrepareSpec(VOLUME, REPLICA, 1, 5, consumer))
    assert prepared.target is not None
    (export,) = agent.machine.target.list_exports(prepared.target.nqn)
    assert export.device == agent.place.device
    with pytest.raises(FailedPrecondition):
        agent.storage.part(VOLUME, REPLICA)
    agent.replicas.release(VOLUME, REPLICA, 1)
    assert agent.machine.target.list_exports(prepared.target.nqn) == ()
    agent.storage.part(VOLUME, REPLICA)
    assert agent.storage.find_remains(VOLUME, REPLICA)
    agent.storage.refresh()
    assert agent.storage.find_remains(VOLUME, REPLICA) == ()
