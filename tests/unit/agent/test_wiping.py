"""Old bytes: nothing is free before it has been overwritten, whatever happens in between."""

from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event, Semaphore

import pytest

from replication.agent.storage import Storage
from replication.agent.wiping import (
    BUSY_PAUSE,
    IDLE_PAUSE,
    LOOK,
    PATIENCE,
    PIECE_BYTES,
    SLICE_BYTES,
    WAITING,
    Cut,
    Wiper,
    Wiping,
    Zero,
    choose_step,
)
from replication.clock import SystemClock, wait_until
from replication.errors import KernelError, NotWiped
from replication.model import GIB, MIB
from tests.unit.agent.fake_disk import DISK, Node
from tests.unit.agent.fake_machine import fake_machine

VOLUME = "v00000000000000aa"
CALL = "a call"


class Surface:
    """Which MiB of each device hold zeroes; from its `failing`th command on it errs."""

    def __init__(self) -> None:
        self.zeroes: defaultdict[str, set[int]] = defaultdict(set)
        self.failing = 1 << 30
        self.done = 0

    def zero(self, device: str, begin: int, length: int) -> None:
        self.done += 1
        if self.done > self.failing:
            raise KernelError(f"{device} errs")
        self.zeroes[device] |= set(range(begin // MIB, (begin + length) // MIB))


class Careful(Storage):
    """Refuses to free what is not zero."""

    def __init__(self, node: Node, surface: Surface) -> None:
        self._surface = surface
        super().__init__(node, node.run, node, node.wholes)

    def cut(self, group: str, name: str, size_bytes: int) -> None:
        size = self._books.sizes[group, name]
        assert set(range(size_bytes // MIB, size // MIB)) <= self._surface.zeroes[f"/dev/{group}/{name}"]
        super().cut(group, name, size_bytes)

    def remove_pool(self, pool: str) -> None:
        """What is given back need not be wiped."""
        for group in self.list_volume_groups():
            self.name_discarded(group.name)
            for dirty in self.list_dirty(group.name):
                self._surface.zeroes[dirty.device] = set(range(dirty.size_bytes // MIB))
        super().remove_pool(pool)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@pytest.fixture
def surface() -> Surface:
    return Surface()


@pytest.fixture
def storage(node: Node, surface: Surface) -> Careful:
    made = Careful(node, surface)
    made.ensure_pool("fast", (DISK,))
    return made


def new_wiper(node: Node, storage: Storage, surface: Surface) -> Wiper:
    (group,) = storage.list_volume_groups()
    return Wiper(replace(fake_machine(node), clock=node), storage, group, surface.zero)


@pytest.fixture
def wiper(node: Node, storage: Careful, surface: Surface) -> Wiper:
    return new_wiper(node, storage, surface)


def room(storage: Storage) -> tuple[int, int]:
    (group,) = storage.list_volume_groups()
    return group.free_bytes, group.reserved_bytes


def wipe_all(wiper: Wiper) -> None:
    while wiper.step() != IDLE_PAUSE:
        pass


@pytest.mark.parametrize("size", [4 * MIB, PIECE_BYTES, PIECE_BYTES + 4 * MIB, SLICE_BYTES, 5 * GIB])
@pytest.mark.parametrize("lacking", [-GIB, 0, 4 * MIB, PIECE_BYTES + 4 * MIB, 3 * GIB, 1 << 40])
def test_what_is_cut_is_clean_and_everything_is_cut_in_the_end(size: int, lacking: int) -> None:
    clean = 0
    while size:
        step = choose_step(size, clean, lacking)
        if isinstance(step, Zero):
            assert step.begin_bytes + step.length_bytes == size - clean
            assert 0 < step.length_bytes <= PIECE_BYTES
            clean += step.length_bytes
        else:
            assert step.size_bytes == size - clean
            assert 0 < clean <= SLICE_BYTES
            size, clean = step.size_bytes, 0


def test_who_waits_gets_what_is_lacking_and_need_not_wait_for_a_slice() -> None:
    more = Zero(8 * GIB - 2 * PIECE_BYTES, PIECE_BYTES)
    assert choose_step(8 * GIB, PIECE_BYTES, PIECE_BYTES) == Cut(8 * GIB - PIECE_BYTES)
    assert choose_step(8 * GIB, PIECE_BYTES, PIECE_BYTES + 4 * MIB) == more
    assert choose_step(8 * GIB, PIECE_BYTES, 0) == more


def test_a_new_disk_is_wiped_and_free(wiper: Wiper, storage: Careful) -> None:
    (group,) = storage.list_volume_groups()
    wipe_all(wiper)
    assert room(storage) == (group.size_bytes, 0)


def test_a_wipe_that_is_interrupted_anywhere_resumes(
    node: Node, storage: Careful, surface: Surface, wiper: Wiper
) -> None:
    """Another agent does not know what was clean, and finds what there is to do."""
    wiper.want(CALL, 200 * MIB)
    surface.failing = 20
    with pytest.raises(KernelError, match="errs"):
        wipe_all(wiper)
    free, reserved = room(storage)
    assert free
    assert reserved
    surface.failing = 1 << 30
    surface.zeroes.clear()
    later = Careful(node, surface)
    assert room(later) == (free, reserved)
    wipe_all(new_wiper(node, later, surface))
    assert room(later) == (free + reserved, 0)


def test_after_an_error_nothing_is_taken_for_clean(storage: Careful, surface: Surface, wiper: Wiper) -> None:
    surface.failing = 3
    with pytest.raises(KernelError):
        wipe_all(wiper)
    surface.failing = 1 << 30
    surface.zeroes.clear()
    wipe_all(wiper)
    assert room(storage)[1] == 0


def test_a_replica_that_went_is_wiped(storage: Careful, wiper: Wiper) -> None:
    wipe_all(wiper)
    before = room(storage)
    (group,) = storage.list_volume_groups()
    for _ in range(2):
        storage.discard_volume(storage.ensure_volume(VOLUME, "r0", group.name, 100 * MIB))
    assert room(storage) == (before[0] - 200 * MIB, 200 * MIB)
    wipe_all(wiper)
    assert room(storage) == before


def test_it_yields_to_who_uses_the_disk_and_hurries_for_who_waits(
    node: Node, monkeypatch: pytest.MonkeyPatch, wiper: Wiper
) -> None:
    assert [wiper.step() for _ in range(3)] == [0.0, 0.0, 0.0]
    assert node.time == pytest.approx(3 * LOOK)
    monkeypatch.setattr(node, "sleep", lambda _: node.use_disk(7))
    assert wiper.step() == BUSY_PAUSE
    wiper.want(CALL, GIB)
    assert wiper.step() == 0.0
    wiper.want(CALL, 0)
    node.use_disk(8)
    assert wiper.step() == BUSY_PAUSE


def waits_until(node: Node, time: float) -> Callable[[], str]:
    def act() -> str:
        if node.time < time:
            raise NotWiped("still to be wiped")
        return "made"

    return act


def test_a_call_waits_for_room_and_not_for_ever(node: Node, storage: Careful) -> None:
    wiping = Wiping(replace(fake_machine(node), clock=node), storage)
    (group,) = storage.list_volume_groups()
    assert wiping.with_room(group.name, waits_until(node, 40.0)) == "made"
    assert node.time == pytest.approx(40.0, abs=0.1)
    with pytest.raises(NotWiped, match="still to be wiped"):
        wiping.with_room(group.name, waits_until(node, 1000.0))
    assert node.time == pytest.approx(40.0 + PATIENCE, abs=0.2)


def test_calls_that_wait_leave_threads_to_those_that_let_writes_go(
    node: Node, storage: Careful, surface: Surface
) -> None:
    """One more than may wait is told at once; when they are done, the next may."""
    wiping, wiped = Wiping(fake_machine(node), storage, surface.zero), Event()
    tries = [Semaphore(0) for _ in range(WAITING)]

    def make(tried: Semaphore) -> str:
        tried.release()
        if not wiped.is_set():
            raise NotWiped("none is wiped")
        return "made"

    with ThreadPoolExecutor(WAITING) as pool:
        waiting = [pool.submit(wiping.with_room, "group", partial(make, tried)) for tried in tries]
        for tried in tries:
            assert all(tried.acquire(timeout=20) for _ in range(2)), "it has tried again, so it waits"
        with pytest.raises(NotWiped):
            wiping.with_room("group", partial(make, Semaphore(0)))
        wiped.set()
        assert {each.result() for each in waiting} == {"made"}


def test_threads_wipe_what_comes_and_a_pool_can_go_and_come_back(
    node: Node, storage: Careful, surface: Surface
) -> None:
    wiping = Wiping(fake_machine(node), storage, surface.zero)  # by the clock that its threads go by
    wiping.follow()
    for _ in range(2):
        (group,) = storage.list_volume_groups()
        make = partial(storage.ensure_volume, VOLUME, "r0", group.name, 100 * MIB)
        storage.discard_volume(wiping.with_room(group.name, make))
        wiping.wake(group.name)
        wait_until(lambda: room(storage)[1] == 0, "all is wiped", timeout=20, clock=SystemClock())
        assert room(storage) == (group.size_bytes, 0)
        storage.discard_volume(make())
        with wiping.paused([group.name]):
            storage.remove_pool("fast")
        surface.zeroes.clear()
        storage.ensure_pool("fast", (DISK,))
        wiping.follow()
    wiping.stop()
