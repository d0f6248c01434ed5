"""Calls that wait for each other."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from replication.agent.storage import Place, Storage
from replication.agent.together import Together
from replication.errors import CommandFailed, OutOfSpace, TrilithError
from replication.model import MIB
from tests.unit.agent.fake_disk import DISK, Node

VOLUME = "v00000000000000aa"


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@pytest.fixture
def storage(node: Node) -> Storage:
    """Of which everything is wiped."""
    made = Storage(node, node.run, node, node.wholes)
    made.ensure_pool("fast", (DISK,))
    made.doubt_free_space(group_of(made))
    for dirty in made.list_dirty(group_of(made)):
        made.cut(group_of(made), dirty.name, 0)
    return made


def group_of(storage: Storage) -> str:
    (group,) = storage.list_volume_groups()
    return group.name


class Crowd:
    """Calls that all wait until one that came first has LVM's answer."""

    def __init__(self, node: Node) -> None:
        self._create = node.lvm._lvcreate
        self._entered, self._go = threading.Event(), threading.Event()
        node.lvm._lvcreate = self._wait  # type: ignore[method-assign]

    def _wait(self, words: list[str]) -> str:
        self._entered.set()
        assert self._go.wait(10)
        return self._create(words)

    def run(self, storage: Storage, sizes: Sequence[int]) -> list[Place | TrilithError]:
        """What became of replicas r1, r2 and so on, of these sizes; r0 came first."""
        group = group_of(storage)

        def make(number: int, size_bytes: int) -> Place | TrilithError:
            try:
                return storage.ensure_volume(VOLUME, f"r{number}", group, size_bytes)
            except TrilithError as error:
                return error

        with ThreadPoolExecutor(len(sizes) + 1) as pool:
            first = pool.submit(make, 0, MIB)
            assert self._entered.wait(10)
            others = [pool.submit(make, number, size) for number, size in enumerate(sizes, start=1)]
            wait_for(lambda: len(storage._together._waiting) == len(sizes))
            self._go.set()
            assert not isinstance(first.result(), TrilithError)
            return [other.result() for other in others]


def wait_for(is_so: Callable[[], bool]) -> None:
    end = threading.Event()
    for _ in range(1000):
        if is_so():
            return
        end.wait(0.01)
    raise AssertionError("it has not come to that")


def test_replicas_that_wait_for_each_other_are_made_by_one_run(storage: Storage, node: Node) -> None:
    started = node.lvm.starts
    made = Crowd(node).run(storage, [100 * MIB] * 5)
    assert made == [storage.get_place(VOLUME, f"r{number}") for number in range(1, 6)]
    assert node.lvm.starts == started + 2
    assert set(storage.list_places()) == set(Storage(node, node.run, node, node.wholes).list_places())


def test_of_those_that_wait_each_is_told_its_own_error(storage: Storage, node: Node) -> None:
    big, small = 900 * MIB, 8 * MIB
    free, _ = room(storage)
    first, second, third = Crowd(node).run(storage, [small, 2 * big, small])
    assert isinstance(second, OutOfSpace)
    assert [place for place in (first, third) if isinstance(place, TrilithError)] == []
    assert room(storage)[0] == free - 2 * small - 4 * MIB


def test_one_that_lvm_refuses_keeps_no_other_from_being_made(storage: Storage, node: Node) -> None:
    crowd, create = Crowd(node), node.lvm._lvcreate

    def refuse(words: list[str]) -> str:
        if f"{VOLUME}_r2" in words:
            raise CommandFailed(("lvm", "lvcreate", *words), 5, f"  {VOLUME}_r2: not this one")
        return create(words)

    node.lvm._lvcreate = refuse  # type: ignore[method-assign]
    made = crowd.run(storage, [8 * MIB] * 3)
    assert [isinstance(place, CommandFailed) for place in made] == [False, True, False]
    assert {place.replica_id for place in storage.list_places()} == {"r0", "r1", "r3"}
    assert set(storage.list_places()) == set(Storage(node, node.run, node, node.wholes).list_places())


def test_a_replica_goes_without_waiting_for_lvm_and_stays_gone(storage: Storage, node: Node) -> None:
    gone = storage.ensure_volume(VOLUME, "r9", group_of(storage), 100 * MIB)
    before = room(storage)

    def discard(words: list[str]) -> str:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(storage.discard_volume, gone).result(timeout=10)
        assert storage.list_places() == ()
        return create(words)

    create, node.lvm._lvcreate = node.lvm._lvcreate, discard  # type: ignore[method-assign]
    made = storage.ensure_volume(VOLUME, "r1", group_of(storage), 4 * MIB)
    assert storage.list_places() == (made,)
    assert room(storage) == (before[0] - 4 * MIB, before[1] + 100 * MIB)


def room(storage: Storage) -> tuple[int, int]:
    """Free and reserved."""
    (group,) = storage.list_volume_groups()
    return group.free_bytes, group.reserved_bytes


def test_whoever_waits_is_told_of_an_error_that_nobody_foresaw() -> None:
    def serve(wishes: Sequence[int]) -> list[Exception | None]:
        raise ZeroDivisionError(str(wishes))

    together = Together(threading.RLock(), serve)
    for number in range(2):
        with pytest.raises(ZeroDivisionError, match=rf"\[{number}\]"):
            together.call(number)
