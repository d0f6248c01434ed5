"""Replicas that are made, and go, at once on one disk."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from replication.agent.machine import Machine
from replication.agent.replicas import Replicas
from replication.agent.storage import Storage
from replication.agent.wiping import Wiping
from replication.errors import OutOfSpace, TrilithError
from replication.kernel.dm import DeviceMapper
from replication.kernel.lvm import Lvm
from replication.kernel.nvmet import Nvmet
from replication.kernel.run import run
from replication.kernel.sysfs import Tree
from replication.kernel.wholes import Wholes
from replication.model import GIB, MIB, PrepareSpec, ReplicaFacts, ReplicaSpec
from tests.root.conftest import TAGS
from tests.root.stand import CLOCK, wait
from tests.unit.agent.fake_machine import fake_machine

pytestmark = pytest.mark.root
GROUP = "test1"
CALLERS = 8
SIZE = 32 * MIB


class OneDisk(Storage):
    """The other tests' groups are left alone."""

    def __init__(self, tree: Tree, disk: str) -> None:
        self._disk = disk
        super().__init__(tree, run, CLOCK, Wholes(DeviceMapper(), tree))

    def _candidates(self) -> tuple[str, ...]:
        return (self._disk,)


@pytest.fixture
def disk(lvm: Lvm) -> Iterator[str]:
    """Whose group counts as wiped."""
    (found,) = lvm.get_volume_group(GROUP).disks
    lvm.add_tag(GROUP, "trilith.wiped")
    yield found
    lvm._lvm("vgchange", "--deltag", "trilith.wiped", GROUP)


@pytest.fixture
def machine(tree: Tree) -> Machine:
    made = fake_machine(tree)
    return replace(made, runner=run, target=Nvmet(tree, made.blocking))


def spec(number: int, size_bytes: int = SIZE) -> ReplicaSpec:
    return ReplicaSpec(f"v{number:016x}", "r0", GROUP, size_bytes, 65536)


def at_once(act: Callable[[int], object]) -> list[float]:
    """How long each of eight took, sorted."""

    def timed(number: int) -> float:
        begun = CLOCK.now()
        act(number)
        return CLOCK.now() - begun

    with ThreadPoolExecutor(CALLERS) as pool:
        return sorted(pool.map(timed, range(CALLERS)))


def show(what: str, took: list[float]) -> None:
    print(f"{what}: median {took[len(took) // 2]:.2f} s, longest {took[-1]:.2f} s")


def test_eight_are_made_made_ready_and_taken_away_at_once(tree: Tree, machine: Machine, disk: str) -> None:
    storage = OneDisk(tree, disk)
    wiping = Wiping(machine, storage)
    replicas = Replicas(machine, storage, wiping)
    before = storage.list_volume_groups()
    show("made", at_once(lambda number: replicas.ensure(spec(number))))
    assert {facts.volume_id for facts in replicas.list_facts()} == {spec(n).volume_id for n in range(CALLERS)}
    assert storage.list_volume_groups() == OneDisk(tree, disk).list_volume_groups()
    at_once(lambda number: replicas.prepare(PrepareSpec(spec(number).volume_id, "r0", 1, 1, None)))
    show("taken away", at_once(lambda number: replicas.remove(spec(number).volume_id, "r0")))
    later = OneDisk(tree, disk)  # of an agent that starts before any of them is named
    Replicas(machine, later, wiping).take_up_discarded()
    assert later.list_places() == storage.list_places() == ()
    assert later.list_volume_groups() == storage.list_volume_groups()
    wiping.follow()
    wait(lambda: storage.list_volume_groups() == before, "everything is wiped", timeout=100)
    wiping.stop()
    assert OneDisk(tree, disk).list_volume_groups() == before


def test_of_those_that_come_at_once_only_the_one_that_does_not_fit_is_refused(
    tree: Tree, machine: Machine, disk: str
) -> None:
    storage = OneDisk(tree, disk)
    replicas = Replicas(machine, storage, Wiping(machine, storage))
    answers: dict[int, ReplicaFacts | TrilithError] = {}

    def make(number: int) -> None:
        try:
            answers[number] = replicas.ensure(spec(number, 64 * GIB if number == 3 else SIZE))
        except TrilithError as error:
            answers[number] = error

    at_once(make)
    assert [n for n, answer in answers.items() if isinstance(answer, TrilithError)] == [3]
    assert isinstance(answers[3], OutOfSpace)
    at_once(lambda number: replicas.remove(spec(number).volume_id, "r0"))
    assert OneDisk(tree, disk).list_places() == ()


def test_one_that_lvm_refuses_keeps_no_other_from_being_made(
    tree: Tree, machine: Machine, disk: str, lvm: Lvm
) -> None:
    """Its name is taken, which this agent does not know."""
    storage = OneDisk(tree, disk)
    replicas = Replicas(machine, storage, Wiping(machine, storage))
    strange = f"{spec(2).volume_id}_r0"
    lvm.ensure_logical_volume(GROUP, strange, 4 * MIB, TAGS - {"trilith"})
    answers: dict[int, ReplicaFacts | TrilithError] = {}

    def make(number: int) -> None:
        try:
            answers[number] = replicas.ensure(spec(number))
        except TrilithError as error:
            answers[number] = error

    at_once(make)
    failed = {number: answer for number, answer in answers.items() if isinstance(answer, TrilithError)}
    assert failed.keys() == {2}
    assert strange in str(failed[2])
    lvm.remove_logical_volume(GROUP, strange)
    at_once(lambda number: replicas.remove(spec(number).volume_id, "r0"))
    assert OneDisk(tree, disk).list_places() == ()
