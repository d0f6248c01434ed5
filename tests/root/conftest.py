"""Fixtures of the tests that need root and a machine of their own: hack/lab runs them in one."""

import itertools
from collections.abc import Callable, Iterator

import pytest

from replication.kernel import modules
from replication.kernel.disks import read_disks
from replication.kernel.lvm import Lvm
from replication.kernel.run import run
from replication.kernel.sysfs import Tree
from tests.root.stand import Stand

TAGS = frozenset({"trilith"})
_ROOM = 500 << 20
_names = itertools.count(1)


@pytest.fixture(scope="session")
def tree() -> Tree:
    """The machine's own, with every module loaded."""
    machine = Tree()
    modules.ensure_loaded(machine, run)
    modules.ensure_configfs(machine, run)
    return machine


@pytest.fixture(scope="session")
def disks(tree: Tree) -> tuple[str, ...]:
    """Paths of the machine's empty disks: three at least, or the tests cannot run."""
    usable = tuple(disk.path for disk in read_disks(tree, run) if disk.usable)
    assert len(usable) >= 3, f"three empty disks are needed, there are {usable}"
    return usable


@pytest.fixture(scope="session")
def lvm(disks: tuple[str, ...]) -> Iterator[Lvm]:
    """With a volume group `test0`… on every disk."""
    made = Lvm(run, disks)
    for index, disk in enumerate(disks):
        made.ensure_volume_group(f"test{index}", disk, TAGS)
    yield made
    for index in range(len(disks)):
        made.remove_volume_group(f"test{index}")


@pytest.fixture(scope="session")
def volumes(lvm: Lvm) -> Iterator[tuple[str, ...]]:
    """Device numbers of three logical volumes with room for replicas that grow."""
    groups = ("test0", "test1", "test2")
    made = [lvm.ensure_logical_volume(group, "stand", _ROOM, TAGS) for group in groups]
    yield tuple(volume.number for volume in made)
    for group in groups:
        lvm.remove_logical_volume(group, "stand")


StandMaker = Callable[..., Stand]


@pytest.fixture
def make_stand(volumes: tuple[str, ...]) -> Iterator[StandMaker]:
    """A stand of three replicas; `remote=()` keeps all of them off the network."""
    made: list[Stand] = []

    def make(remote: tuple[int, ...] = (1, 2)) -> Stand:
        made.append(Stand(f"t{next(_names)}", volumes, remote))
        return made[-1]

    yield make
    for stand in made:
        stand.close()


@pytest.fixture
def stand(make_stand: StandMaker) -> Stand:
    """Replica 0 local, 1 and 2 over loopback NVMe/TCP."""
    return make_stand()


@pytest.fixture
def local(make_stand: StandMaker) -> Stand:
    """All three local, which is quicker."""
    return make_stand(remote=())
